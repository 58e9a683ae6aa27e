"""What every engine of a cell of its own does as the simple engine does: products and norms beside the loops."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.activations import ACTIVATIONS, Activation
from rnnsweep.core.recurrence.base import Engine, Tangent
from rnnsweep.core.recurrence.cells import Cell, KeptRecord
from rnnsweep.core.recurrence.filtering import DriveFilter, FilterEngine, FilterGradients, FilterRecord
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record, Trace
from rnnsweep.errors import ConfigError


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


class Filtering:
    """Hands filters before the loop to that engine as well."""

    def __init__(self, plain: FilterEngine) -> None:
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


@runtime_checkable
class LoopsOfCell(Protocol):
    """Fused loops of one cell, as an engine launches them."""

    def forward(
        self, inputs: Float[Tensor, "P T B I"], weights: LoopWeights, lengths: Int64[Tensor, "P ..."]
    ) -> KeptRecord:
        """See `Engine.forward`; without w_in, drives are given."""
        ...

    def backward(self, record: KeptRecord, direct: Direct, *, keep: bool) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`; `direct` may cover the leading entries of the state only."""
        ...


class OfOneCell(BesideLoops):
    """Base of engines of one cell: what they refuse.

    Attributes:
        cell: what runs.
    """

    def __init__(self, plain: Engine, cell: Cell) -> None:
        super().__init__(plain)
        self.cell = cell

    def refuses(self, activation: Activation, dtype: torch.dtype) -> str | None:
        """What the simple engine refuses of a type, and of the machine; a cell has its own activations."""
        del activation
        return self._beside.refuses(ACTIVATIONS["tanh"], dtype)

    def tangent(
        self, trace: Trace, step: Float[Tensor, "P R A"], horizon: Int64[Tensor, " P"], activation: Activation
    ) -> Tangent:
        """Refused: the recursion is defined for the simple cell only (configs are checked before)."""
        del trace, step, horizon, activation
        raise ConfigError(f"{type(self.cell).__name__} has no tangent recursion", key="controllers.sampling")


class OneCellEngine(OfOneCell):
    """Base of those whose loops a helper runs: records and traces are those of `CellEngine`, but for the drives."""

    def __init__(self, plain: Engine, cell: Cell, loops: LoopsOfCell) -> None:
        super().__init__(plain, cell)
        self._loops = loops

    def forward(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> KeptRecord:
        """See `Engine.forward`; without w_in, drives are given."""
        del activation
        return self._loops.forward(inputs, weights, lengths)

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`; `direct` may cover the leading entries of the state only."""
        del activation
        assert isinstance(record, KeptRecord)
        return self._loops.backward(record, direct, keep=keep)
