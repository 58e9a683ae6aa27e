"""xLSTM's matrix memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core.families.base import CellFamily, Values, readout_parameters
from rnnsweep.core.families.heads import HEADS, check_heads
from rnnsweep.core.recurrence.exponential_gates import MatrixMemoryCell
from rnnsweep.core.types import Capability, LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.unit import ANY, Range

_PARTS = {"w_in": "w_gates", "b": "b_gates"}
"""What the loop has side by side, and the part of it that leads into the heads' gates."""


@dataclass(frozen=True)
class Mlstm(CellFamily):
    """A matrix as memory of each head, written by key and value, read by a query; all of them of the input only.

        q, k, v = u W + b        i = exp(..), f = sigmoid(..) or exp(..) of each head, o = sigmoid(..) of each unit
        C_t = f C_{t-1} + i v k^T / sqrt(D)        n_t = f n_{t-1} + i k / sqrt(D)
        h_t = o C_t q / max(|n_t q|, 1)

    There is no recurrent matrix: Omega is refused.

    Attributes:
        hidden: H, number of units.
        heads: N, a divisor of H; each has D = H / N units and a memory of D x D numbers.
        forget_gate: ``sigmoid`` or ``exp``. An exponential above 1 (a bias above 0) weighs what is old the more: no
            time constant, so inits of gate biases (chrono) are refused.
        forget_bias: initial bias of the forget gates, per row; left alone where the init sets gate biases (chrono).

    Numerics:
        Carried with the stabiliser m, so that no exponent is above 0: see `MatrixMemoryCell`. Gradients in closed form.
        Nothing but the memory goes from step to step: chunks of steps are products, see `MatrixMemoryEngine`. A state
        has H (D + 2) + N numbers; a record has one per chunk. What looks at every step's whole state (rules forward in
        time, zoneout) has the cell step by step.

    References:
        Beck et al. (2024), eq. 19-27 and appendix A. Ours differs: the loop alone, without norm, convolution and
        projections of their block; forget_bias is one number, theirs 3 to 6 over the heads.
    """

    heads: int = 1
    forget_gate: str = "sigmoid"
    forget_bias: float = 3.0

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.LOCAL})
    rows: ClassVar[Mapping[str, Range]] = {"forget_bias": ANY}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        **CellFamily.fixed,
        "heads": HEADS,
        "forget_gate": ("sigmoid", "exp"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads(self.hidden, self.heads)

    @property
    def cell(self) -> MatrixMemoryCell:
        """The memory."""
        return MatrixMemoryCell(self.hidden, self.heads, self._sigmoid)

    @property
    def _sigmoid(self) -> bool:
        return self.forget_gate == "sigmoid"

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w_in [I, 4H] and b [4H] (q, k, v, o), w_gates [I, 2N] and b_gates [2N] (i, f), w_out, b_out."""
        H, N = self.hidden, self.heads
        return (
            ParameterSpec("w_in", (n_inputs, 4 * H), "input"),
            ParameterSpec("w_gates", (n_inputs, 2 * N), "input", first=4 * H),
            ParameterSpec("b", (4 * H,), "bias"),
            ParameterSpec("b_gates", (2 * N,), "bias", first=4 * H, gates=("write", "keep") if self._sigmoid else ()),
            *readout_parameters(H, n_outputs),
        )

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """The forget gates' bias."""
        del specs
        if "b_gates" in drawn:
            return {}
        bias = torch.zeros(len(keys), 2 * self.heads, dtype=torch.float64)
        bias[:, self.heads :] = self.forget_bias
        return {"b_gates": bias}

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """Both input paths side by side."""
        joined = {name: torch.cat((values[name], values[part]), -1) for name, part in _PARTS.items()}
        return super().weights({**values, **joined}, hypers)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Of each path its own columns."""
        named = super().pullback(values, hypers, gradients)
        for name, part in _PARTS.items():
            if name in named:
                named[name], named[part] = named[name].split([4 * self.hidden, 2 * self.heads], -1)
        return named
