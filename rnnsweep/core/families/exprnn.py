"""Orthogonal recurrent network by the exponential map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.families.base import Values
from rnnsweep.core.families.exponential_map import Exponential, exponential
from rnnsweep.core.families.mapping import push
from rnnsweep.core.families.orthogonal_maps import skew, skew_gradient
from rnnsweep.core.families.skew_loop import SkewFamily
from rnnsweep.core.remembered import Remembered
from rnnsweep.core.types import LoopGradients, LoopWeights, ParameterSpec


@dataclass(frozen=True)
class ExpRnn(SkewFamily):
    """Simple loop with an orthogonal recurrent matrix of determinant 1.

        W = exp(A)        h_t = f(h_{t-1} W + u_t W_in)        A skew

    Attributes:
        hidden: H, number of units.
        activation: f; modReLU, whose bias is the only one, in the paper.

    Numerics:
        `exponential_map.exponential` and its exact derivative; W^T W = I to 1e-12 in float64. Initially
        planes rotate by U(-pi, pi), or by the angles of an init that draws role ``skew``. Parameter group ``skew``.

    References:
        Lezcano-Casado, Martinez-Rubio (2019). Ours differs with ``init=cayley``: planes rotate by t ~ U(0, pi/2), as
        the init says; their code hands -tan(t / 2), made for the Cayley map, to exp and so rotates by that.
    """

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Angles: an init's skew entries are tan(t / 2), those of the Cayley map; here the entry is t itself."""
        del specs
        if "a_skew" in drawn:
            return {"a_skew": 2 * torch.atan(drawn["a_skew"])}
        angles = torch.zeros(len(keys), self.hidden, self.hidden, dtype=torch.float64)
        # A last odd unit stays alone, with eigenvalue 1.
        even = torch.arange(0, self.hidden - 1, 2)
        uniform = rng.uniforms53(keys, self.hidden // 2, rng.stream_of("a_skew"))
        angles[:, even, even + 1] = math.pi * (2 * uniform - 1)
        return {"a_skew": angles}

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The loop's weights; W by the exponential map."""
        del hypers
        return LoopWeights(_value(values), values["w_in"], values.get("b"), values.get("act_bias"))

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Gradients of A and of what the loop takes as it is."""
        del hypers
        named = gradients.parts()
        named["a_skew"] = skew_gradient(_exponential(values["a_skew"]).pullback(named.pop("w_rec")))
        return named

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The first-order change of W."""
        del hypers
        return push(_value, {"a_skew": values["a_skew"]}, step)


def _value(values: Values) -> Tensor:
    return _exponential(values["a_skew"]).value


@Remembered
def _exponential(stored: Tensor) -> Exponential:
    return exponential(skew(stored))
