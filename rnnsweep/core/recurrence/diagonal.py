"""Simple loops whose matrix is 0 but on diagonals: its own (units see themselves only), or those of its four quarters.

The matrix of complex numbers that do not see each other is one of quarters, [[Re, Im], [-Im, Re]] of vectors
[Re x, Im x].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.described_cells import FUSED, DescribedCell
from rnnsweep.core.recurrence.step_formulas import OwnUnitsRelu, OwnUnitsTanh, PairedLinear, StepFormulas
from rnnsweep.core.types import LoopWeights


@dataclass(frozen=True)
class PairedCell(DescribedCell):
    """s = [p, q]; p <- p pp + q qp + d_p, q <- p pq + q qq + d_q; `hidden` counts pairs.

    Own: the diagonals ``pp``, ``pq``, ``qp``, ``qq`` [H] of the quarters, from the first to the second.
    """

    formulas: ClassVar[StepFormulas] = PairedLinear()
    read: ClassVar[int] = 0
    fused: ClassVar[Mapping[str, str]] = FUSED


@dataclass(frozen=True)
class OwnUnitsReluCell(DescribedCell):
    """h <- relu(w h + d). Own: the diagonal ``w`` [H]."""

    formulas: ClassVar[StepFormulas] = OwnUnitsRelu()
    read: ClassVar[int] = 0
    fused: ClassVar[Mapping[str, str]] = FUSED


@dataclass(frozen=True)
class OwnUnitsTanhCell(DescribedCell):
    """h <- tanh(w h + d). Own: the diagonal ``w`` [H]."""

    formulas: ClassVar[StepFormulas] = OwnUnitsTanh()
    read: ClassVar[int] = 0
    fused: ClassVar[Mapping[str, str]] = FUSED


CELLS: Mapping[tuple[int, str], type[DescribedCell]] = {
    (1, "relu"): OwnUnitsReluCell,
    (1, "tanh"): OwnUnitsTanhCell,
    (2, "identity"): PairedCell,
}
"""By `LoopWeights.diagonals` and activation; loops without one here multiply with the whole matrix."""
_QUARTERS = ("pp", "pq", "qp", "qq")
_OWN = "w"


def cell_of(weights: LoopWeights, activation: Activation) -> DescribedCell | None:
    """The cell that such a loop is, or None: where it is none, or has something else besides."""
    kind = CELLS.get((weights.diagonals, activation.name))
    if kind is None or weights.masks is not None or weights.leak is not None or weights.cell:
        return None
    return kind(weights.w_rec.shape[1] // weights.diagonals)


def diagonals(w: Float[Tensor, "P N N"], count: int) -> dict[str, Float[Tensor, "P H"]]:
    """Views of the diagonals of its count x count blocks, by the names that the cells have for them."""
    return {name: block.diagonal(dim1=1, dim2=2) for name, block in _blocks(w, count).items()}


def by_diagonals(weights: LoopWeights) -> LoopWeights:
    """The weights of the cell in those of a simple loop."""
    w, count = weights.w_rec, weights.diagonals
    return replace(weights, w_rec=w[:, :0, :0], cell=diagonals(w, count), diagonals=0)


def from_diagonals(own: Mapping[str, Float[Tensor, "P H"]]) -> Float[Tensor, "P N N"]:
    """The matrix that has them; differentiable."""
    like, count = next(iter(own.values())), 1 if _OWN in own else 2
    P, H = like.shape
    w = like.new_zeros(P, count * H, count * H)
    for name, diagonal in own.items():
        # A view at a time: in a graph the last copy has made another tensor of w.
        _blocks(w, count)[name].diagonal(dim1=1, dim2=2).copy_(diagonal)
    return w


def _blocks(w: Tensor, count: int) -> dict[str, Tensor]:
    if count == 1:
        return {_OWN: w}
    H = w.shape[1] // 2
    return dict(zip(_QUARTERS, (w[:, :H, :H], w[:, :H, H:], w[:, H:, :H], w[:, H:, H:]), strict=True))
