"""Long expressive memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.families.base import CellFamily, readout_parameters
from rnnsweep.core.recurrence.gated_cells import LongMemoryCell
from rnnsweep.core.types import ParameterSpec
from rnnsweep.unit import POSITIVE, Range


@dataclass(frozen=True)
class Lem(CellFamily):
    """Two states whose steps in time are learnt, each unit's at each step: many time scales at once.

        t_1, t_2 = dt sigmoid(y_{t-1} W_1,2 + u_t V_1,2 + b_1,2)
        z_t = (1 - t_1) z_{t-1} + t_1 tanh(y_{t-1} W_z + u_t V_z + b_z)
        y_t = (1 - t_2) y_{t-1} + t_2 tanh(z_t W_y + u_t V_y + b_y)

    Attributes:
        hidden: H, number of units; the read-out sees y.
        dt: largest step, per row, > 0; up to 1 both states are averages.

    Numerics:
        ``w_rec`` is [W_1, W_2, W_z]; ``w_y`` is a matrix of its own, as it reads the new z. Omega's gradient is for
        ``w_rec``. Gradients in closed form.

    References:
        Rusch, Mishra, Erichson, Mahoney (2022), eq. 3; dt 1 as in their code. Ours differs: one bias per gate.
    """

    dt: float = 1.0

    rows: ClassVar[Mapping[str, Range]] = {"dt": POSITIVE}
    own: ClassVar[tuple[str, ...]] = ("w_y",)
    constants: ClassVar[tuple[str, ...]] = ("dt",)

    @property
    def cell(self) -> LongMemoryCell:
        """Both states."""
        return LongMemoryCell(self.hidden)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w_rec [H, 3H], w_y [H, H], w_in [I, 4H], b [4H], w_out, b_out."""
        H = self.hidden
        return (
            ParameterSpec("w_rec", (H, 3 * H), "recurrent"),
            ParameterSpec("w_y", (H, H), "recurrent", first=3 * H),  # into y's candidate alone
            ParameterSpec("w_in", (n_inputs, 4 * H), "input"),
            # A large step writes: chrono's small ones keep.
            ParameterSpec("b", (4 * H,), "bias", gates=("write", "write", "new", "new")),
            *readout_parameters(H, n_outputs),
        )
