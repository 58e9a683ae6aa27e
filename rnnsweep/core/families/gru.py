"""Gated recurrent unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.families.base import CellFamily, readout_parameters
from rnnsweep.core.recurrence.gated_cells import GruCell
from rnnsweep.core.types import ParameterSpec


@dataclass(frozen=True)
class Gru(CellFamily):
    """GRU with torch's equations and gate order (r, z, n side by side).

        r, z = sigmoid(u W_in + h W_rec + b)    n = tanh(u W_n + b + r (h U_n + b_n))    h_t = (1 - z) n + z h_{t-1}

    Attributes:
        hidden: H, number of units.

    Numerics:
        Equals `torch.nn.GRU` to rounding (``b`` is the sum of torch's biases, except that ``b_n`` is bias_hh of n);
        gradients in closed form.

    References:
        Cho et al. (2014), in torch's form: the reset gate acts on h U_n + b_n.
    """

    own: ClassVar[tuple[str, ...]] = ("b_n",)

    @property
    def cell(self) -> GruCell:
        """The gated cell."""
        return GruCell(self.hidden)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w_rec [H, 3H], w_in [I, 3H], b [3H], b_n [H], w_out, b_out."""
        H = self.hidden
        return (
            ParameterSpec("w_rec", (H, 3 * H), "recurrent"),
            ParameterSpec("w_in", (n_inputs, 3 * H), "input"),
            # z multiplies h in torch's form, so it is the gate that keeps: chrono draws its bias.
            ParameterSpec("b", (3 * H,), "bias", gates=("reset", "keep", "new")),
            ParameterSpec("b_n", (H,), "bias", first=2 * H),  # of the new state alone
            *readout_parameters(H, n_outputs),
        )
