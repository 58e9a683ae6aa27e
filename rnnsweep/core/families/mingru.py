"""Minimal gated recurrent unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.families.base import CellFamily, readout_parameters
from rnnsweep.core.recurrence.continuous import MinimalGateCell
from rnnsweep.core.types import Capability, ParameterSpec


@dataclass(frozen=True)
class MinGru(CellFamily):
    """h_t = (1 - z_t) h_{t-1} + z_t n_t, z_t = sigmoid(u_t W_z + b_z), n_t = u_t W_n + b_n.

    Gate and candidate see the input only, so there is no recurrent matrix: Omega is refused.

    Attributes:
        hidden: H, number of units.

    Numerics:
        Gradients in closed form. Steps run one after the other, not as a parallel scan.

    References:
        Feng, Tung, Ahmed, Bengio, Hajimirsadeghi (2024), section 3.1.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.LOCAL})

    @property
    def cell(self) -> MinimalGateCell:
        """The gate."""
        return MinimalGateCell(self.hidden)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w_in [I, 2H], b [2H] (gate, candidate), w_out, b_out."""
        H = self.hidden
        return (
            ParameterSpec("w_in", (n_inputs, 2 * H), "input"),
            ParameterSpec("b", (2 * H,), "bias", gates=("write", "new")),
            *readout_parameters(H, n_outputs),
        )
