"""Cells whose step is one iteration of an optimiser on an energy of the state.

    F_t(h) = |h - relu(h W + d_t)|^2 / 2
    grad F = r - (r * relu'(a)) W^T,  r = h - relu(a),  a = h W + d_t

The loop's product gives h W; the second product, with W^T, takes the cell's own matrix ``w_back``, which is the same W:
its gradient is added by the family.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.recurrence.cells import Drive, Kept, Own, PreActivation, ProductCell, State


def energy_gradient(
    a: Float[Tensor, "P B H"], h: Float[Tensor, "P B H"], w_back: Float[Tensor, "P H H"]
) -> Float[Tensor, "P B H"]:
    """grad F at h, with a = h W + d."""
    # relu(a) = a on, relu'(a) = on: one mask serves both.
    on = (a > 0).to(a.dtype)
    residual = h - a * on
    # The relu's h W is a function of h too: W^T brings its part back.
    return residual - numerics.matmul(residual * on, w_back.transpose(1, 2))


@dataclass(frozen=True)
class DescentCell(ProductCell):
    """Base: the energy has one relu.

    A subclass reads what the family trains: ``eta`` and ``mu``, [P, B, 1], and ``w_back``, [P, H, H].

    Attributes:
        method: the name by which a config chooses it.
    """

    method: ClassVar[str]
    apart: ClassVar[bool] = False  # w_back

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of the energy's relu."""
        del s, own
        return (kept + d > 0).to(kept.dtype)


@dataclass(frozen=True)
class GradientDescentCell(DescentCell):
    """h - eta grad F.

    References:
        Zhang et al. (2021), SBO-RNN, with relu and alpha = 1, one inner step per time step.
    """

    method: ClassVar[str] = "sgd"

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """h."""
        return s - own["eta"] * energy_gradient(a + d, s, own["w_back"])


@dataclass(frozen=True)
class HeavyBallCell(DescentCell):
    """s = [h, v]; v <- mu v - eta grad F, h <- h + v."""

    method: ClassVar[str] = "heavy_ball"

    @property
    def state(self) -> int:
        """h and v."""
        return 2 * self.hidden

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """[h, v]."""
        h, v = s[..., : self.hidden], s[..., self.hidden :]
        v = own["mu"] * v - own["eta"] * energy_gradient(a + d, h, own["w_back"])
        return torch.cat((h + v, v), -1)


@dataclass(frozen=True)
class NesterovCell(DescentCell):
    """s = [h, v]; v_t = h - eta grad F, h <- v_t + mu (v_t - v_{t-1}), v_0 = 0."""

    method: ClassVar[str] = "nesterov"

    @property
    def state(self) -> int:
        """h and v."""
        return 2 * self.hidden

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """[h, v]."""
        # h is what the matrix reads and the read-out sees; v_{t-1} is only remembered.
        h, before = s[..., : self.hidden], s[..., self.hidden :]
        v = h - own["eta"] * energy_gradient(a + d, h, own["w_back"])
        return torch.cat((v + own["mu"] * (v - before), v), -1)


def descent_cells() -> dict[str, type[DescentCell]]:
    """The cells of this module, by the names that they declare."""
    return {cell.method: cell for cell in DescentCell.__subclasses__() if cell.__module__ == __name__}
