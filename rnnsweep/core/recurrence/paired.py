"""Linear units in pairs: a simple loop whose matrix is 0 but on the diagonals of its four quarters.

The matrix of complex numbers that do not see each other is one, [[Re, Im], [-Im, Re]] of vectors [Re x, Im x].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.recurrence.described_cells import FUSED, DescribedCell
from rnnsweep.core.recurrence.step_formulas import PairedLinear, StepFormulas
from rnnsweep.core.types import LoopWeights


@dataclass(frozen=True)
class PairedCell(DescribedCell):
    """s = [p, q]; p <- p pp + q qp + d_p, q <- p pq + q qq + d_q; `hidden` counts pairs.

    Own: the diagonals ``pp``, ``pq``, ``qp``, ``qq`` [H] of the quarters, from the first to the second.
    """

    formulas: ClassVar[StepFormulas] = PairedLinear()
    read: ClassVar[int] = 0
    fused: ClassVar[Mapping[str, str]] = FUSED


def diagonals(w: Float[Tensor, "P N N"]) -> dict[str, Float[Tensor, "P H"]]:
    """Views of the diagonals of the four quarters, by the names that `PairedCell` has for them."""
    return {name: quarter.diagonal(dim1=1, dim2=2) for name, quarter in _quarters(w).items()}


def by_pairs(weights: LoopWeights) -> LoopWeights:
    """The weights of `PairedCell` in those of a simple loop."""
    w = weights.w_rec
    return replace(weights, w_rec=w[:, :0, :0], cell=diagonals(w), paired=False)


def from_diagonals(own: Mapping[str, Float[Tensor, "P H"]]) -> Float[Tensor, "P N N"]:
    """The matrix that has them; differentiable."""
    (P, H), like = own["pp"].shape, own["pp"]
    w = like.new_zeros(P, 2 * H, 2 * H)
    for name, diagonal in own.items():
        # A view at a time: in a graph the last copy has made another tensor of w.
        _quarters(w)[name].diagonal(dim1=1, dim2=2).copy_(diagonal)
    return w


def _quarters(w: Tensor) -> dict[str, Tensor]:
    H = w.shape[1] // 2
    return {"pp": w[:, :H, :H], "pq": w[:, :H, H:], "qp": w[:, H:, :H], "qq": w[:, H:, H:]}
