"""Independently recurrent network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.activations import ACTIVATIONS, Activation, activation
from rnnsweep.core.families.base import Family, Values, readout_parameters
from rnnsweep.core.recurrence.diagonal import DiagonalWeights, own_diagonals
from rnnsweep.core.types import LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.unit import NOT_NEGATIVE, Range


@dataclass(frozen=True)
class IndRnn(Family):
    """Each unit sees itself only: h_t = f(w * h_{t-1} + u_t W_in + b).

    Attributes:
        hidden: H, number of units.
        spread: initially w ~ U(0, spread), per row, >= 0.
        activation: f; ReLU in the paper.

    Numerics:
        A simple loop with a diagonal matrix, whose zeros fused engines leave out for relu and tanh
        (`LoopWeights.diagonals`); Omega and sampling act on the diagonal. The paper's bound on |w|
        is not enforced: clip gradients instead.

    References:
        Li, Li, Cook, Zhu, Gao (2018), eq. 2.
    """

    activation: str = "relu"
    spread: float = 1.0

    rows: ClassVar[Mapping[str, Range]] = {"spread": NOT_NEGATIVE}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "hidden": Range(1, 8192, integer=True),
        # No pairs: each unit sees itself only. No bias of f: there is no parameter for it.
        "activation": tuple(name for name, f in ACTIVATIONS.items() if not f.has_bias and not f.paired),
    }

    @property
    def cell_activation(self) -> Activation:
        """The activation object."""
        return activation(self.activation)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w_diagonal [H], w_in, b, w_out, b_out."""
        H = self.hidden
        return (
            ParameterSpec("w_diagonal", (H,), "diagonal"),
            ParameterSpec("w_in", (n_inputs, H), "input"),
            ParameterSpec("b", (H,), "bias"),
            *readout_parameters(H, n_outputs),
        )

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """w ~ U(0, spread)."""
        del drawn, specs
        # Inits know no role "diagonal": nothing that was drawn is lost.
        return {"w_diagonal": self.spread * rng.uniforms53(keys, self.hidden, rng.stream_of("w_diagonal"))}

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The diagonal matrix."""
        del hypers
        return DiagonalWeights.of({"w": values["w_diagonal"]}, values["w_in"], values["b"])

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """The diagonal of the matrix's gradient."""
        del values, hypers
        # Off the diagonal there are no parameters.
        return {**gradients.others(), "w_diagonal": own_diagonals(gradients, 1)["w"]}

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The diagonal's step as a matrix."""
        del values, hypers
        return torch.diag_embed(step["w_diagonal"])
