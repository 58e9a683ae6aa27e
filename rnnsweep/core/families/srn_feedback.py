"""The simple recurrent network with its outputs fed back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.families.base import Values
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.types import LoopGradients, LoopWeights, ParameterSpec


@dataclass(frozen=True)
class SrnFeedback(Srn):
    """Simple network whose own outputs of the step before come in again, for tasks with values to produce.

        a_t = h_{t-1} W_rec + y_{t-1} W_fb + u_t W_in + b        y_t = h_t W_out + b_out

    Left to itself it is the simple network with W_rec + W_out W_fb and b + b_out W_fb, and runs as such on every
    engine (y_0 is the output of h_0 = 0). ``learner=teacher_forcing`` puts targets in place of y.

    Attributes:
        hidden, activation, leak, output_bias: as `Srn`.

    Numerics:
        Gradients of W_out and b_out are the sum of both their uses.

    References:
        docs/maths.md#teacher-forcing; Jaeger, Haas (2004) for the form.
    """

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """Those of the simple network and w_fb [O, H]."""
        return (*super().parameters(n_inputs, n_outputs), ParameterSpec("w_fb", (n_outputs, self.hidden), "input"))

    def open_weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The loop's weights without what is fed back."""
        return super().weights(values, hypers)

    def open_pullback(
        self, values: Values, hypers: Values, gradients: LoopGradients
    ) -> dict[str, Float[Tensor, "P ..."]]:
        """Gradients of the raw parameters from those of `open_weights`."""
        return super().pullback(values, hypers, gradients)

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The loop's weights with the outputs' way round in them."""
        loop = self.open_weights(values, hypers)
        # Replaced, not written to: the object is new, its tensors are the parameters.
        loop.w_rec = loop.w_rec + numerics.matmul(values["w_out"], values["w_fb"])
        if "b_out" in values:
            # P 1 O x P O H -> P 1 H: a product like all others, row by row.
            loop.bias = values["b"] + numerics.matmul(values["b_out"][:, None, :], values["w_fb"])[:, 0]
        return loop

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Gradients of the raw parameters; of w_out and b_out as far as they are fed back."""
        named = super().pullback(values, hypers, gradients)
        # With G the gradient of W_rec + W_out W_fb: dW_fb = W_out^T G, dW_out = G W_fb^T.
        out, back = values["w_out"].transpose(1, 2), values["w_fb"].transpose(1, 2)
        named["w_fb"] = numerics.matmul(out, gradients.w_rec)
        named["w_out"] = numerics.matmul(gradients.w_rec, back)
        # Omega hands in no gradient of the bias.
        if "b_out" in values and gradients.bias is not None:
            bias = gradients.bias[:, None, :]
            named["w_fb"] = named["w_fb"] + values["b_out"][:, :, None] * bias
            named["b_out"] = numerics.matmul(bias, back)[:, 0]
        return named

    def recurrent_step(
        self, values: Values, hypers: Values, step: Mapping[str, Float[Tensor, "P ..."]]
    ) -> Float[Tensor, "P R A"]:
        """First-order change of W_rec + W_out W_fb."""
        del hypers
        # The product rule over W_out W_fb.
        through_out = numerics.matmul(step["w_out"].contiguous(), values["w_fb"])
        return step["w_rec"] + through_out + numerics.matmul(values["w_out"], step["w_fb"].contiguous())
