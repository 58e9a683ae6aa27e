"""What every engine of a cell of its own does as the simple engine does: products and norms beside the loops."""

from __future__ import annotations

from typing import Protocol

from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.filtering import DriveFilter, FilterEngine, FilterGradients, FilterRecord


class FilteringEngine(Engine, FilterEngine, Protocol):
    """An engine that runs filters too."""


class BesideLoops:
    """Hands them to a simple engine, which it wraps instead of deriving from it: that loop's tangents stay its own."""

    def __init__(self, plain: Engine) -> None:
        self._beside = plain

    def outer(
        self,
        left: Float[Tensor, "P T B K"],
        right: Float[Tensor, "P T B M"],
        weight: Float[Tensor, "P T B"] | None = None,
    ) -> Float[Tensor, "P K M"]:
        """See `Engine.outer`."""
        return self._beside.outer(left, right, weight)

    def square_norms(self, x: Float[Tensor, "P T B H"]) -> Float[Tensor, "P T B"]:
        """See `Engine.square_norms`."""
        return self._beside.square_norms(x)

    def matmul(self, left: Float[Tensor, "P M K"], right: Float[Tensor, "P K N"]) -> Float[Tensor, "P M N"]:
        """See `Engine.matmul`."""
        return self._beside.matmul(left, right)


class BesideFilteredLoops(BesideLoops):
    """Filters before the loop as well."""

    def __init__(self, plain: FilteringEngine) -> None:
        super().__init__(plain)
        self._filtering = plain

    def filtered(
        self, inputs: Float[Tensor, "P T B I"], filter_: DriveFilter, lengths: Int64[Tensor, "P ..."]
    ) -> FilterRecord:
        """See `FilterEngine.filtered`."""
        return self._filtering.filtered(inputs, filter_, lengths)

    def filtered_back(
        self, record: FilterRecord, gradient: Float[Tensor, "P T B G"], *, further: bool
    ) -> FilterGradients:
        """See `FilterEngine.filtered_back`."""
        return self._filtering.filtered_back(record, gradient, further=further)
