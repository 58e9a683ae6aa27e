"""Scaled Cayley unitary recurrent network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.families.base import CellFamily, Values, readout_parameters
from rnnsweep.core.families.orthogonal_maps import cayley_blocks
from rnnsweep.core.families.unitary_map import UnitaryParameters, unitary, unitary_pullback, unitary_step
from rnnsweep.core.recurrence.modrelu import ComplexModReluCell
from rnnsweep.core.types import LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Scurnn(CellFamily):
    """Complex loop with an exactly unitary recurrent matrix.

        W = (I + A)^{-1} (I - A) D        h_t = f(h_{t-1} W + u_t W_in)        A skew-Hermitian, D = diag(e^{i theta})
        f(z) = z relu(|z| + b) / (|z| + 1e-5),  |z| = sqrt(Re^2 + Im^2 + 1e-5)        read-out from [Re h, Im h]

    A = S + i Y with S skew (upper triangle stored) and Y symmetric (upper triangle with the diagonal stored). theta,
    h_0 and b are trained.

    Attributes:
        hidden: H, number of complex units; the read-out sees 2 H numbers.
        angle: initially the planes of A rotate by U(0, angle), per row, >= 0, unless the init draws role ``skew``.
        bias_bound: initially b ~ U(-bias_bound, bias_bound), per row, >= 0.

    Numerics:
        W^H W = I to 1e-12 in float64. Complex numbers are carried as [Re, Im], so the loop's matrix is real, 2H x 2H,
        orthogonal; I + A is inverted in that form too (`definite_inverse`). Parameter groups: ``skew`` (A), ``phase``
        (theta). Initially theta ~ U(0, 2 pi), h_0 ~ U(-.01, .01).

    References:
        Maduranga, Helfrich, Ye (2019), and their scripts: angles up to pi/2, 2 pi in the adding problem; b within .01.
        W[from, to] is applied on the right.
    """

    orthogonal: ClassVar[bool] = True
    first_values: ClassVar[Mapping[str, str]] = {"angle": "skew"}

    angle: float = math.pi / 2
    bias_bound: float = 0.0

    rows: ClassVar[Mapping[str, Range]] = {
        "angle": Range(0, open_high=True),
        "bias_bound": Range(0, open_high=True),
    }
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {"hidden": Range(2, 8192, integer=True)}

    @property
    def cell(self) -> ComplexModReluCell:
        """Complex modReLU."""
        return ComplexModReluCell(2 * self.hidden)  # in real numbers

    def visible(self, states: Float[Tensor, "... S"]) -> Float[Tensor, "... H"]:
        """[Re h, Im h]."""
        return states

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """a_skew, a_symmetric, theta, w_in [I, 2H], act_bias, h0 [2H], w_out [2H, O], b_out."""
        H = self.hidden
        return (
            ParameterSpec("a_skew", (H, H), "skew", group="skew"),
            ParameterSpec("a_symmetric", (H, H), "symmetric", group="skew"),
            ParameterSpec("theta", (H,), "phase", group="phase"),
            ParameterSpec("w_in", (n_inputs, 2 * H), "input"),
            # One per complex unit, so not aligned with the 2H columns of the loop: `into` keeps it apart.
            ParameterSpec("act_bias", (H,), "bias", into="amplitude"),
            ParameterSpec("h0", (2 * H,), "state"),
            *readout_parameters(2 * H, n_outputs),
        )

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """The paper's: blocks with angles U(0, angle), theta ~ U(0, 2 pi), h_0 ~ U(-.01, .01); b as in the scripts."""
        del specs
        H = self.hidden
        own = {
            "a_skew": cayley_blocks(keys, "a_skew", H, self.angle),
            "theta": 2 * math.pi * rng.uniforms53(keys, H, rng.stream_of("theta")),
            "h0": 0.02 * rng.uniforms53(keys, 2 * H, rng.stream_of("h0")) - 0.01,
            "act_bias": self.bias_bound * (2 * rng.uniforms53(keys, H, rng.stream_of("act_bias")) - 1),
        }
        return {name: value for name, value in own.items() if name not in drawn}

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The loop's weights; W by the complex scaled Cayley map."""
        del hypers
        own = {"act_bias": values["act_bias"]}
        return LoopWeights(unitary(_mapped(values)), values["w_in"], h0=values["h0"], cell=own)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Gradients of A and theta in closed form."""
        parameters = _mapped(values)
        mapped = unitary_pullback(parameters, unitary(parameters), gradients.w_rec)
        return super().pullback(values, hypers, gradients) | mapped._asdict()

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The first-order change of the real 2H x 2H matrix."""
        del hypers
        parameters = _mapped(values)
        return unitary_step(parameters, unitary(parameters), _mapped(step))


def _mapped(values: Values) -> UnitaryParameters:
    """What the map reads."""
    return UnitaryParameters(values["a_skew"], values["a_symmetric"], values["theta"])
