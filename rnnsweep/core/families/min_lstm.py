"""Minimal long short-term memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.families.base import CellFamily, readout_parameters
from rnnsweep.core.recurrence.continuous import SharedGatesCell
from rnnsweep.core.types import Capability, ParameterSpec


@dataclass(frozen=True)
class MinLstm(CellFamily):
    """h_t = f' h_{t-1} + i' n_t, f' = f / (f + i), i' = i / (f + i); f, i = sigmoid(u_t W + b), n_t = u_t W_n + b_n.

    Gates and candidate see the input only, so there is no recurrent matrix: Omega is refused.

    Attributes:
        hidden: H, number of units.

    Numerics:
        The scaled gates depend on the difference of two exponents, as in the paper's form in logarithms: closed gates
        give no 0 / 0. Gradients in closed form. Steps run one after the other, not as a parallel scan.

    References:
        Feng, Tung, Ahmed, Bengio, Hajimirsadeghi (2024), section 3.2: the form independent of the length.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.LOCAL})

    @property
    def cell(self) -> SharedGatesCell:
        """The gates."""
        return SharedGatesCell(self.hidden)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w_in [I, 3H], b [3H] (forget gate, input gate, candidate), w_out, b_out."""
        H = self.hidden
        return (
            ParameterSpec("w_in", (n_inputs, 3 * H), "input"),
            ParameterSpec("b", (3 * H,), "bias", gates=("keep", "write", "new")),
            *readout_parameters(H, n_outputs),
        )
