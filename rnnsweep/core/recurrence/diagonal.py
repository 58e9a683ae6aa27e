"""Simple loops whose matrix is 0 but on diagonals: its own (units see themselves only), or those of its four quarters.

The matrix of complex numbers that do not see each other is one of quarters, [[Re, Im], [-Im, Re]] of vectors
[Re x, Im x].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.described_cells import FUSED, DescribedCell
from rnnsweep.core.recurrence.step_formulas import OwnUnitsRelu, OwnUnitsTanh, PairedLinear, StepFormulas
from rnnsweep.core.types import LoopGradients, LoopWeights


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


class _OfDiagonals:
    """Has a matrix w_rec that is formed of its diagonals where it is first asked for.

    The loops of `CELLS` and most families' ways back never ask: a row's matrix has N times as many entries.
    """

    _own: Mapping[str, Float[Tensor, "P H"]] | None = None
    _matrix: Float[Tensor, "P N N"] | None = None

    @property
    def w_rec(self) -> Float[Tensor, "P N N"]:
        """The matrix."""
        if self._matrix is None:
            assert self._own is not None
            self._matrix = from_diagonals(self._own)
        return self._matrix

    @w_rec.setter
    def w_rec(self, value: Float[Tensor, "P N N"]) -> None:
        # of a copy by `dataclasses.replace`, which has asked for it; `of` has none to give
        self._matrix = value if value.shape[1] else None


class DiagonalWeights(_OfDiagonals, LoopWeights):  # pyright: ignore[reportIncompatibleVariableOverride] - formed
    """Weights of a loop with a matrix of diagonals."""

    @classmethod
    def of(
        cls,
        own: Mapping[str, Float[Tensor, "P H"]],
        w_in: Float[Tensor, "P I D"] | None = None,
        bias: Float[Tensor, "P D"] | None = None,
    ) -> DiagonalWeights:
        """Those with these diagonals, named as the cells name them."""
        found = cls.__new__(cls)
        found._own = own
        found.__init__(_nothing(own), w_in, bias, diagonals=1 if _OWN in own else 2)
        return found


class DiagonalGradients(_OfDiagonals, LoopGradients):  # pyright: ignore[reportIncompatibleVariableOverride] - formed
    """Gradients of such a loop: that of w_rec is 0 but on the diagonals."""

    @classmethod
    def of(cls, found: LoopGradients) -> DiagonalGradients:
        """Those of a simple loop, from those of the cell that it is."""
        gradients = cls.__new__(cls)
        gradients._own = found.cell
        gradients.__init__(_nothing(found.cell), found.w_in, found.bias, found.act_bias, found.h0, found.inputs)
        return gradients


def _nothing(own: Mapping[str, Tensor]) -> Tensor:
    like = next(iter(own.values()))
    return like.new_empty(len(like), 0, 0)


def own_diagonals(of: LoopWeights | LoopGradients, count: int) -> Mapping[str, Float[Tensor, "P H"]]:
    """The diagonals of w_rec's count x count blocks, by the names that the cells have for them."""
    if isinstance(of, _OfDiagonals) and of._own is not None:
        return of._own
    return diagonals(of.w_rec, count)


def cell_of(weights: LoopWeights, activation: Activation) -> DescribedCell | None:
    """The cell that such a loop is, or None: where it is none, or has something else besides."""
    kind = CELLS.get((weights.diagonals, activation.name))
    if kind is None or weights.masks is not None or weights.leak is not None or weights.cell:
        return None
    return kind(next(iter(own_diagonals(weights, weights.diagonals).values())).shape[1])


def diagonals(w: Float[Tensor, "P N N"], count: int) -> dict[str, Float[Tensor, "P H"]]:
    """Views of the diagonals of its count x count blocks, by the names that the cells have for them."""
    return {name: block.diagonal(dim1=1, dim2=2) for name, block in _blocks(w, count).items()}


def by_diagonals(weights: LoopWeights) -> LoopWeights:
    """The weights of the cell in those of a simple loop."""
    own = own_diagonals(weights, weights.diagonals)
    return LoopWeights(_nothing(own), weights.w_in, weights.bias, h0=weights.h0, cell=own)


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
