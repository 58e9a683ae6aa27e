"""Scaled Cayley orthogonal recurrent network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core.families.base import Values
from rnnsweep.core.families.orthogonal_maps import cayley, cayley_blocks, cayley_pullback, cayley_step, signs
from rnnsweep.core.families.skew_loop import SkewFamily
from rnnsweep.core.types import LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.unit import SHARE, Range


@dataclass(frozen=True)
class Scornn(SkewFamily):
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
    rows: ClassVar[Mapping[str, Range]] = {"negatives": SHARE}

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Skew blocks with angles U(0, pi/2)."""
        del specs
        return {} if "a_skew" in drawn else {"a_skew": cayley_blocks(keys, "a_skew", self.hidden)}

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The loop's weights; W by the scaled Cayley map."""
        w = cayley(values["a_skew"], signs(hypers["negatives"], self.hidden))
        return LoopWeights(w, values["w_in"], values.get("b"), values.get("act_bias"))

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Gradients of A and of what the loop takes as it is."""
        named = gradients.parts()
        d = signs(hypers["negatives"], self.hidden)
        named["a_skew"] = cayley_pullback(d, cayley(values["a_skew"], d), named.pop("w_rec"))
        return named

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The first-order change of W."""
        d = signs(hypers["negatives"], self.hidden)
        return cayley_step(d, cayley(values["a_skew"], d), step["a_skew"])
