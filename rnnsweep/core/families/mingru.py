"""Minimal gated recurrent unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.families.base import CellFamily, Values, readout_parameters
from rnnsweep.core.recurrence.continuous import MinimalGateCell
from rnnsweep.core.types import Capability, LoopGradients, LoopWeights, ParameterSpec


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

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """An empty recurrent matrix."""
        del hypers
        w_in = values["w_in"]
        # P 0 0: the loop's product then has no entries, and no other case is needed.
        return LoopWeights(w_in.new_zeros(len(w_in), 0, 0), w_in, values["b"])

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """The input path's gradients."""
        named = super().pullback(values, hypers, gradients)
        del named["w_rec"]  # no parameter
        return named
