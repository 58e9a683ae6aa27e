"""Embeddings: their contract, and the look-up of symbols in a table with its gradient, row by row.

Shapes: see `core.types`; V symbols, E entries of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core.types import ParameterLayout, ParameterSpec
from rnnsweep.unit import Unit

TABLE = "embedding"
"""Name of the parameter [V, E] that symbols are looked up in."""


@dataclass(frozen=True)
class Embedding(Unit):
    """Base of embeddings; inputs as they come, unless a subclass has a table.

    Attributes:
        size: E, entries of a symbol's vector; 0: there is no table.
        tied: whether the read-out's ``w_out`` is the table's transpose.
    """

    unit_group: ClassVar[str] = "embedding"

    @property
    def size(self) -> int:
        """See `Attributes`."""
        return 0

    @property
    def tied(self) -> bool:
        """See `Attributes`."""
        return False

    def width(self, n_inputs: int) -> int:
        """Inputs of the family where the task has so many."""
        return self.size or n_inputs

    def parameters(self, n_inputs: int) -> tuple[ParameterSpec, ...]:
        """The table, where there is one."""
        return (ParameterSpec(TABLE, (n_inputs, self.size), TABLE, into=TABLE),) if self.size else ()

    def initial(self, n_inputs: int, keys: Int64[Tensor, " P"]) -> dict[str, Float64[Tensor, "P ..."]]:
        """First values of `parameters`, drawn on the CPU from each row's key; left out: zeros."""
        del n_inputs, keys
        return {}


def with_tied(values: Mapping[str, Float[Tensor, "P ..."]], embedding: Embedding) -> dict[str, Float[Tensor, "P ..."]]:
    """Values by name, and a tied ``w_out``: a view of the table."""
    return {**values, "w_out": values[TABLE].transpose(1, 2)} if embedding.tied else dict(values)


class TiedLayout(ParameterLayout):
    """A layout whose ``w_out`` has no entries of its own: it is the table's transpose."""

    def __init__(self, specs: Sequence[ParameterSpec], embedding: Embedding) -> None:
        super().__init__(specs)
        self._embedding = embedding

    def view(self, flat: Float[Tensor, "P N"]) -> dict[str, Float[Tensor, "P ..."]]:
        """Views [P, *shape] by name; entries of the table have two names."""
        return with_tied(super().view(flat), self._embedding)

    def flatten(self, values: Mapping[str, Float[Tensor, "P ..."]], out: Float[Tensor, "P N"]) -> Float[Tensor, "P N"]:
        """As `ParameterLayout`; what is called ``w_out`` is a gradient, and is added to that of the table."""
        return self._with_tied(values, super().flatten(values, out))

    def gathered(
        self, values: Mapping[str, Float[Tensor, "P ..."]], like: Float[Tensor, "P N"]
    ) -> Float[Tensor, "P N"]:
        """As `ParameterLayout`, with the gradient of ``w_out`` as in `flatten`."""
        own = {name: value for name, value in values.items() if name != "w_out"}
        return self._with_tied(values, super().gathered(own, like))

    def _with_tied(self, values: Mapping[str, Tensor], out: Tensor) -> Tensor:
        if "w_out" in values:
            self.part(out, self.spec(TABLE)).add_(values["w_out"].transpose(1, 2))
        return out


def look_up(table: Float[Tensor, "P V E"], codes: Int64[Tensor, "P T B"]) -> Float[Tensor, "P T B E"]:
    """Each code's line of the row's own table, [P, T, B, E]; zeros for the code -1.

    Numerics:
        Entries are copied. Differentiable; see `collected` for the order of sums.
    """
    return _LookUp.apply(table, codes)  # type: ignore[return-value]


def collected(gradient: Float[Tensor, "P T B E"], codes: Int64[Tensor, "P T B"], count: int) -> Float[Tensor, "P V E"]:
    """The transpose of `look_up`: sums over the places of each code, [P, count, E].

    Numerics:
        Sums run in the order of the places, which is the same for a row alone and in a pack. Code -1 adds nothing.
    """
    P, E = len(codes), gradient.shape[-1]
    places = _places(codes, count).flatten()
    # what does not count goes to a line of its own behind the tables
    places = torch.where(codes.flatten() < 0, P * count, places)
    # torch's embedding: one pass over the places on a CPU, sorted first on a GPU; no atomic additions in either
    sums = torch.ops.aten.embedding_dense_backward(gradient.reshape(-1, E), places, P * count + 1, -1, False)
    return sums[:-1].unflatten(0, (P, count))


def _places(codes: Tensor, count: int) -> Tensor:
    """Lines of all rows' tables, one below the other."""
    first = torch.arange(len(codes), device=codes.device) * count
    return codes.clamp(min=0) + first[:, None, None]


class _LookUp(torch.autograd.Function):
    """`look_up` in a graph."""

    @staticmethod
    def forward(ctx, table: Tensor, codes: Tensor) -> Tensor:
        ctx.save_for_backward(codes)
        ctx.count = table.shape[1]
        found = table.flatten(0, 1)[_places(codes, table.shape[1])]  # P T B E
        # selected: what stands at code 0 may be NaN
        return torch.where((codes >= 0)[..., None], found, torch.zeros_like(found))

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        (codes,) = ctx.saved_tensors
        return _Collected.apply(gradient, codes, ctx.count), None  # type: ignore[return-value]


class _Collected(torch.autograd.Function):
    """`collected` in a graph: gradients of gradients (Omega's full one) go through it."""

    @staticmethod
    def forward(ctx, gradient: Tensor, codes: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(codes)
        return collected(gradient, codes, count)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        (codes,) = ctx.saved_tensors
        return look_up(gradient.contiguous(), codes), None, None
