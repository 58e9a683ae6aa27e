"""The linear recurrent unit within its block."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.families.base import Values
from rnnsweep.core.families.state_space_block import StateSpaceBlock, normal
from rnnsweep.core.types import ParameterSpec
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Range

_OPEN = 1e-12
"""Logarithms are taken of numbers above 0."""


@dataclass(frozen=True)
class LruBlock(StateSpaceBlock):
    """Norm, LRU, gelu, gated linear unit, skip: one block of the paper's deep networks; `layers` stacks them.

        x_t = lambda x_{t-1} + gamma (z_t B),  lambda = exp(-exp(nu) + i exp(theta)),  y_t = Re(x_t C) + d z_t

    Attributes:
        hidden, states, gate, norm: see `StateSpaceBlock`.
        r_min, r_max: initially |lambda|^2 is uniform between their squares; 0 <= r_min < r_max <= 1.
        max_phase: initially theta ~ U(0, max_phase), > 0.

    Numerics:
        gamma is trained, as in the authors' code, and begins at sqrt(1 - |lambda|^2). Ours differs: the gate's matrices
        begin at N(0, 1 / H), not truncated; layer norm in place of batch norm.

    References:
        Orvieto et al. (2023), figure 1, eq. 6-8 and appendix A.
    """

    r_min: float = 0.0
    r_max: float = 1.0
    max_phase: float = 6.28

    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        **StateSpaceBlock.fixed,
        "r_min": Range(0, 1, open_high=True),
        "r_max": Range(0, 1, open_low=True),
        "max_phase": Range(0, open_low=True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.r_min < self.r_max:
            problem = f"the ring is empty: r_min={self.r_min:g}"
            raise ConfigError(problem, key="family.r_max", value=self.r_max, allowed="r_min < r_max")

    @property
    def raw(self) -> tuple[ParameterSpec, ...]:
        """nu_log, theta_log, gamma_log [N]; w_b [H, 2N], w_c [2N, H]."""
        H, N = self.hidden, self.states
        names = ("nu_log", "theta_log", "gamma_log")
        return (
            *(ParameterSpec(name, (N,), "block") for name in names),
            ParameterSpec("w_b", (H, 2 * N), "block"),
            ParameterSpec("w_c", (2 * N, H), "block"),
        )

    def rates(self, values: Values) -> dict[str, Float[Tensor, "P N"]]:
        """See `StateSpaceBlock.rates`."""
        size, angle = torch.exp(-torch.exp(values["nu_log"])), torch.exp(values["theta_log"])
        return {
            "lam_re": size * torch.cos(angle),
            "lam_im": size * torch.sin(angle),
            "in_re": torch.exp(values["gamma_log"]),
        }

    def drawn(self, keys: Int64[Tensor, " P"]) -> dict[str, Float64[Tensor, "P ..."]]:
        """lambda uniform on a ring, B ~ N(0, 1 / 2H), C ~ N(0, 1 / N), each of Re and Im."""
        H, N = self.hidden, self.states
        radius, phase = (rng.uniforms53(keys, N, rng.stream_of(name)) for name in ("nu_log", "theta_log"))
        square = (self.r_min**2 + radius * (self.r_max**2 - self.r_min**2)).clamp(_OPEN, 1 - _OPEN)
        return {
            "nu_log": torch.log(-0.5 * torch.log(square)),
            "theta_log": torch.log((phase * self.max_phase).clamp_min(_OPEN)),
            "gamma_log": 0.5 * torch.log1p(-square),
            "w_b": normal(keys, "w_b", (H, 2 * N), 1 / math.sqrt(2 * H)),
            "w_c": normal(keys, "w_c", (2 * N, H), 1 / math.sqrt(N)),
        }
