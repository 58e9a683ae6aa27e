"""Linear recurrent unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.activations import Activation, activation
from rnnsweep.core.families.base import Family, Values, readout_parameters
from rnnsweep.core.families.mapping import push
from rnnsweep.core.recurrence.diagonal import DiagonalWeights, from_diagonals, own_diagonals
from rnnsweep.core.remembered import Remembered
from rnnsweep.core.types import LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.errors import ConfigError
from rnnsweep.unit import POSITIVE, Range

_MAPPED = ("nu_log", "theta_log")


@dataclass(frozen=True)
class Lru(Family):
    """Linear, diagonal, complex recurrence, stable by construction.

        x_t = lambda * x_{t-1} + gamma * (u_t B),  lambda = exp(-exp(nu) + i exp(theta)),  gamma = sqrt(1 - |lambda|^2)

    The read-out is linear in [Re x, Im x]: one layer, without the nonlinear block that follows it in the paper.

    Attributes:
        hidden: H, number of complex units; the read-out sees 2 H numbers.
        r_min, r_max: initially |lambda|^2 is uniform between their squares, per row; 0 <= r_min < r_max <= 1.
        max_phase: initially theta ~ U(0, max_phase), per row, > 0.

    Numerics:
        A simple loop with f = identity and the real form of the diagonal, 2H x 2H, whose zeros the CPU engine leaves
        out (`LoopWeights.diagonals`). With r_max = 1 too
        |lambda| stays below 1; in float32, where it may round to 1, gamma still stays above 0.

    References:
        Orvieto et al. (2023), eq. 6-8.
    """

    r_min: float = 0.4
    r_max: float = 0.99
    max_phase: float = 6.28

    rows: ClassVar[Mapping[str, Range]] = {
        "r_min": Range(0, 1, open_high=True),
        "r_max": Range(0, 1, open_low=True),
        "max_phase": POSITIVE,
    }
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {"hidden": Range(1, 8192, integer=True)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.r_min < self.r_max:
            problem = f"the ring is empty: r_min={self.r_min:g}"
            raise ConfigError(problem, key="family.r_max", value=self.r_max, allowed="r_min < r_max")

    @property
    def cell_activation(self) -> Activation:
        """Identity."""
        return activation("identity")

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """nu_log [H], theta_log [H], w_in [I, 2H], w_out [2H, O], b_out."""
        H = self.hidden
        return (
            ParameterSpec("nu_log", (H,), "diagonal"),
            ParameterSpec("theta_log", (H,), "phase"),
            ParameterSpec("w_in", (n_inputs, 2 * H), "input"),
            *readout_parameters(2 * H, n_outputs),
        )

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Uniform on a ring."""
        del drawn, specs
        radius, phase = (rng.uniforms53(keys, self.hidden, rng.stream_of(name)) for name in _MAPPED)
        # A radius or a phase of 0 has no logarithm; one of 1 does not come up, as the draw is U[0, 1).
        square = (self.r_min**2 + radius * (self.r_max**2 - self.r_min**2)).clamp_min(1e-12)
        angle = (phase * self.max_phase).clamp_min(1e-12)
        return {"nu_log": torch.log(-0.5 * torch.log(square)), "theta_log": torch.log(angle)}

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The real form of lambda, and B scaled by gamma."""
        del hypers
        made = _MADE(*(values[name] for name in _MAPPED))
        # gamma keeps the states' size alike, however close to the unit circle lambda is.
        return DiagonalWeights.of(_quarters(made.re, made.im), values["w_in"] * made.both)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Through lambda and gamma."""
        del hypers
        named = gradients.others()
        g = own_diagonals(gradients, 2)
        made = _MADE(*(values[name] for name in _MAPPED))
        re, im = made.re, made.im
        # The real and the imaginary part stand in the matrix twice each, the latter with both signs.
        of_re, of_im = g["pp"] + g["qq"], g["pq"] - g["qp"]
        # d lambda / d nu = -e^nu lambda, d lambda / d theta = i e^theta lambda
        of_decay, of_angle = of_re * re + of_im * im, of_im * re - of_re * im
        # Omega hands in the matrix's gradient alone.
        if "w_in" in named:
            # P I 2H -> P H: all inputs share one gamma, and both parts do.
            of_gamma = (named["w_in"] * values["w_in"]).unflatten(2, (2, -1)).sum((1, 2))
            # d gamma / d nu = e^nu |lambda|^2 / gamma
            of_decay = of_decay - of_gamma * made.by_gamma
            named["w_in"] = named["w_in"] * made.both
        return {**named, "nu_log": of_decay * made.slower, "theta_log": of_angle * made.pace}

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The change of the real form."""
        del hypers
        moved = push(lambda given: _mapped(*(given[name] for name in _MAPPED)), {n: values[n] for n in _MAPPED}, step)
        return from_diagonals(_quarters(*moved.chunk(2, 1)))


@dataclass(frozen=True)
class _Made:
    """What is made of nu and theta, for the loop and for the way back.

    Attributes:
        re, im: of lambda. both: gamma of real and imaginary parts, for a matrix's columns.
        slower, pace: -e^nu and e^theta. by_gamma: |lambda|^2 / gamma.
    """

    re: Float[Tensor, "P H"]
    im: Float[Tensor, "P H"]
    both: Float[Tensor, "P 1 2*H"]
    slower: Float[Tensor, "P H"]
    pace: Float[Tensor, "P H"]
    by_gamma: Float[Tensor, "P H"]


def _made(nu: Float[Tensor, "P H"], theta: Float[Tensor, "P H"]) -> _Made:
    slower, pace = -torch.exp(nu), torch.exp(theta)
    re, im, gamma = _parts(slower, pace)
    # `repeat` takes seven times as long as `cat`
    both = torch.cat((gamma, gamma), 1)[:, None, :]
    return _Made(re, im, both, slower, pace, (re * re + im * im) / gamma)


_MADE = Remembered(_made)


def _mapped(nu: Float[Tensor, "P H"], theta: Float[Tensor, "P H"]) -> Float[Tensor, "P 2*H"]:
    """Re lambda and Im lambda side by side."""
    return torch.cat(_parts(-torch.exp(nu), torch.exp(theta))[:2], 1)


def _parts(slower: Float[Tensor, "P H"], pace: Float[Tensor, "P H"]) -> tuple[Tensor, Tensor, Tensor]:
    """Re lambda, Im lambda and gamma.

    gamma is sqrt(1 - |lambda|^2), by expm1, which is exact near the unit circle.
    """
    size, angle = torch.exp(slower), torch.remainder(pace, 2 * math.pi)
    return size * torch.cos(angle), size * torch.sin(angle), torch.sqrt(-torch.expm1(2 * slower))


def _quarters(re: Float[Tensor, "P H"], im: Float[Tensor, "P H"]) -> dict[str, Float[Tensor, "P H"]]:
    """The diagonals of [[Re, Im], [-Im, Re]] of diag(lambda)."""
    # Vectors are rows, [Re x, Im x]: the minus of Re x lambda = Re Re - Im Im stands below.
    return {"pp": re, "pq": im, "qp": -im, "qq": re}
