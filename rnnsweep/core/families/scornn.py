"""Scaled Cayley orthogonal recurrent network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from rnnsweep.core.activations import ACTIVATIONS, Activation, activation
from rnnsweep.core.families.base import Family, Values, loop_parts, readout_parameters
from rnnsweep.core.families.orthogonal import cayley, cayley_blocks, cayley_pullback, cayley_step, signs
from rnnsweep.core.parameters import ParameterSpec
from rnnsweep.core.types import LoopGradients, LoopWeights
from rnnsweep.core.unit import SHARE, Range


@dataclass(frozen=True)
class Scornn(Family):
    """Simple loop with an exactly orthogonal recurrent matrix.

        W = (I + A)^{-1} (I - A) D        h_t = f(h_{t-1} W + u_t W_in)        A skew, D diagonal +-1

    Attributes:
        hidden: H, number of units.
        negatives: share of entries -1 in D, per row, 0..1; the paper's rho is round(negatives * H).
        activation: f; modReLU, whose bias is the only one, in the paper.

    Numerics:
        W^T W = I to 1e-12 in float64, 1e-5 in float32. The gradient of A is the paper's V^T - V, in closed form. A is
        drawn by the cayley rule unless the init draws role ``skew`` itself; its parameter group is ``skew``.

    References:
        Helfrich, Willmott, Ye (2018). W[from, to] is applied on the right, so our W is their W transposed: D scales
        what a unit receives.
    """

    negatives: float = 0.5
    activation: str = "modrelu"

    rows: ClassVar[Mapping[str, Range]] = {"negatives": SHARE}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "hidden": Range(2, 8192, integer=True),
        "activation": tuple(name for name in ACTIVATIONS if name != "oplu"),
    }

    @property
    def cell_activation(self) -> Activation:
        """The activation object."""
        return activation(self.activation)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """a_skew, w_in, act_bias (modReLU) or b, w_out, b_out."""
        H = self.hidden
        bias = "act_bias" if self.cell_activation.has_bias else "b"
        return (
            ParameterSpec("a_skew", (H, H), "skew", group="skew"),
            ParameterSpec("w_in", (n_inputs, H), "input"),
            ParameterSpec(bias, (H,), "bias"),
            *readout_parameters(H, n_outputs),
        )

    def initial(self, drawn: Values, specs: Sequence[ParameterSpec], keys: Tensor) -> dict[str, Tensor]:
        """Skew blocks with angles U(0, pi/2)."""
        del specs
        return {} if "a_skew" in drawn else {"a_skew": cayley_blocks(keys, "a_skew", self.hidden)}

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The loop's weights; W by the scaled Cayley map."""
        w = cayley(values["a_skew"], signs(hypers["negatives"], self.hidden))
        return LoopWeights(w, values["w_in"], values.get("b"), values.get("act_bias"))

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Tensor]:
        """Gradients of A and of what the loop takes as it is."""
        named = loop_parts(gradients)
        d = signs(hypers["negatives"], self.hidden)
        named["a_skew"] = cayley_pullback(values["a_skew"], d, cayley(values["a_skew"], d), named.pop("w_rec"))
        return named

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Tensor:
        """The first-order change of W."""
        d = signs(hypers["negatives"], self.hidden)
        return cayley_step(values["a_skew"], d, cayley(values["a_skew"], d), step["a_skew"])
