"""xLSTM's scalar memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core.families.base import CellFamily, Values, readout_parameters
from rnnsweep.core.families.heads import HEADS, check_heads, gather_heads, spread_heads
from rnnsweep.core.families.lstm import forget_biases
from rnnsweep.core.recurrence.exponential_gates import ExponentialForgetCell, ScalarMemoryCell
from rnnsweep.core.types import LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.unit import ANY, Range


@dataclass(frozen=True)
class Slstm(CellFamily):
    """LSTM with exponential gates, a normaliser n and, in heads, memory that is mixed within each head only.

        i = exp(..), f = sigmoid(..) or exp(..), o = sigmoid(..), z = tanh(..), each of u W_in + h W_rec + b
        c_t = f c_{t-1} + i z        n_t = f n_{t-1} + i        h_t = o c_t / n_t

    Attributes:
        hidden: H, number of units.
        heads: N, a divisor of H: W_rec is block-diagonal, N blocks for each gate.
        forget_gate: ``sigmoid`` or ``exp``. An exponential above 1 (a bias above 0) weighs what is old the more: no
            time constant, so inits of gate biases (chrono) are refused.
        forget_bias: initial bias of the forget gate, per row; left alone where the init sets gate biases (chrono).

    Numerics:
        Carried with the stabiliser m, so that no exponent is above 0: see `ScalarMemoryCell`. Gradients in closed form.
        The blocks [H / N, 4H] are the parameter; the loop's matrix is the whole one, with zeros.

    References:
        Beck et al. (2024), eq. 8-17 and appendix A; gate order and first step as in their code. Ours differs: the loop
        alone, without norm, convolution and projections of their block; forget_bias is one number.
    """

    heads: int = 1
    forget_gate: str = "sigmoid"
    forget_bias: float = 1.0

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
    def cell(self) -> ScalarMemoryCell:
        """The gated cell."""
        return (ScalarMemoryCell if self._sigmoid else ExponentialForgetCell)(self.hidden)

    @property
    def _sigmoid(self) -> bool:
        return self.forget_gate == "sigmoid"

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w_rec [H / N, 4H], w_in [I, 4H], b [4H] (i, f, z, o), w_out, b_out."""
        H = self.hidden
        return (
            # Each column has the weights from its own head's units: square blocks, one per gate and head.
            ParameterSpec("w_rec", (H // self.heads, 4 * H), "recurrent"),
            ParameterSpec("w_in", (n_inputs, 4 * H), "input"),
            ParameterSpec("b", (4 * H,), "bias", gates=("write", "keep", "new", "out") if self._sigmoid else ()),
            *readout_parameters(H, n_outputs),
        )

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """The forget gate's bias."""
        del specs
        return {} if "b" in drawn else {"b": forget_biases(len(keys), self.hidden, self.forget_bias)}

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The block-diagonal matrix."""
        return super().weights({**values, "w_rec": spread_heads(values["w_rec"], self.hidden)}, hypers)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """The blocks' gradients."""
        blocks = replace(gradients, w_rec=gather_heads(gradients.w_rec, self.heads))
        return super().pullback(values, hypers, blocks)

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The change of the block-diagonal matrix."""
        del values, hypers
        return spread_heads(step["w_rec"], self.hidden)
