"""Cells whose step is one iteration of an optimiser on an energy of the state.

    F_t(h) = |h - relu(h W + d_t)|^2 / 2
    grad F = r - (r * relu'(a)) W^T,  r = h - relu(a),  a = h W + d_t

The loop's product gives h W; the second product, with W^T, takes the cell's own matrix ``w_back``, which is the same W:
its gradient is added by the family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.recurrence.cells import Drive, Kept, Own, State
from rnnsweep.core.recurrence.described_cells import FUSED, DescribedCell
from rnnsweep.core.recurrence.step_formulas import GradientDescent, HeavyBall, NesterovDescent, StepFormulas


@dataclass(frozen=True)
class DescentCell(DescribedCell):
    """Base: the energy has one relu.

    A subclass reads what the family trains: ``eta`` and ``mu``, [P, B, 1], and ``w_back``, [P, H, H].

    Attributes:
        method: the name by which a config chooses it.
    """

    method: ClassVar[str]
    additive: ClassVar[bool] = True
    apart: ClassVar[bool] = False  # w_back

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of the energy's relu."""
        del d, s, own
        return (kept[..., : self.hidden] > 0).to(kept.dtype)


@dataclass(frozen=True)
class GradientDescentCell(DescentCell):
    """h - eta grad F.

    References:
        Zhang et al. (2021), SBO-RNN, with relu and alpha = 1, one inner step per time step.
    """

    method: ClassVar[str] = "sgd"
    formulas: ClassVar[StepFormulas] = GradientDescent()
    fused: ClassVar[Mapping[str, str]] = FUSED


@dataclass(frozen=True)
class HeavyBallCell(DescentCell):
    """s = [h, v]; v <- mu v - eta grad F, h <- h + v."""

    method: ClassVar[str] = "heavy_ball"
    formulas: ClassVar[StepFormulas] = HeavyBall()
    fused: ClassVar[Mapping[str, str]] = FUSED


@dataclass(frozen=True)
class NesterovCell(DescentCell):
    """s = [h, v]; v_t = h - eta grad F, h <- v_t + mu (v_t - v_{t-1}), v_0 = 0."""

    method: ClassVar[str] = "nesterov"
    formulas: ClassVar[StepFormulas] = NesterovDescent()
    fused: ClassVar[Mapping[str, str]] = FUSED


def descent_cells() -> dict[str, type[DescentCell]]:
    """The cells of this module, by the names that they declare."""
    return {cell.method: cell for cell in DescentCell.__subclasses__() if cell.__module__ == __name__}
