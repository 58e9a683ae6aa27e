"""The simplified state space layer within its block."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from jaxtyping import Complex128, Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.families.base import Values
from rnnsweep.core.families.state_space_block import StateSpaceBlock, normal
from rnnsweep.core.types import ParameterSpec
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Range

_LEAST = -1e-4
"""Real parts of eigenvalues are clipped here, so that states cannot grow."""


@dataclass(frozen=True)
class S5(StateSpaceBlock):
    """Norm, diagonal state space model by zero-order hold, gelu, gate, skip; `layers` stacks such blocks.

        x' = Lambda x + B z in steps of length Delta:   lambda = exp(Lambda Delta),  y_t = 2 Re(x_t C) + d z_t
        x_t = lambda x_{t-1} + (lambda - 1) / Lambda * (z_t B)

    Attributes:
        hidden, states, gate, norm: see `StateSpaceBlock`; states are one of each conjugate pair of 2 N.
        dt_min, dt_max: initially Delta is log-uniform between them; 0 < dt_min < dt_max.

    Numerics:
        Lambda begins at the eigenvalues of the normal part of HiPPO-LegS of size 2 N, those with positive imaginary
        part; B = V^-1 N(0, 1 / 2N), C = N(0, 1 / 2N) V. Real parts are clipped at -1e-4 (the authors' `clip_eigs`).
        Ours differs: one block of HiPPO, layer norm in place of batch norm, no rescaling of Delta for other rates.

    References:
        Smith, Warrington, Linderman (2023), and their code.
    """

    gate: str = "half_glu"
    dt_min: float = 0.001
    dt_max: float = 0.1

    factor: ClassVar[float] = 2.0
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        **StateSpaceBlock.fixed,
        "states": Range(1, 512, integer=True),  # eigenvectors of 2 N x 2 N
        "dt_min": Range(0, open_low=True),
        "dt_max": Range(0, open_low=True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dt_min < self.dt_max:
            problem = f"the range of steps is empty: dt_min={self.dt_min:g}"
            raise ConfigError(problem, key="family.dt_max", value=self.dt_max, allowed="dt_min < dt_max")

    @property
    def raw(self) -> tuple[ParameterSpec, ...]:
        """eig_re, eig_im, log_step [N]; w_b [H, 2N], w_c [2N, H]."""
        H, N = self.hidden, self.states
        return (
            *(ParameterSpec(name, (N,), "block") for name in ("eig_re", "eig_im", "log_step")),
            ParameterSpec("w_b", (H, 2 * N), "block"),
            ParameterSpec("w_c", (2 * N, H), "block"),
        )

    def rates(self, values: Values) -> dict[str, Float[Tensor, "P N"]]:
        """See `StateSpaceBlock.rates`."""
        re, im = values["eig_re"].clamp_max(_LEAST), values["eig_im"]
        step = torch.exp(values["log_step"])
        size, angle = torch.exp(re * step), im * step
        lam_re, lam_im = size * torch.cos(angle), size * torch.sin(angle)
        # (lambda - 1) / Lambda = (lambda - 1) conj(Lambda) / |Lambda|^2; re is never 0
        square = re * re + im * im
        held_re = ((lam_re - 1) * re + lam_im * im) / square
        held_im = (lam_im * re - (lam_re - 1) * im) / square
        return {"lam_re": lam_re, "lam_im": lam_im, "in_re": held_re, "in_im": held_im}

    def drawn(self, keys: Int64[Tensor, " P"]) -> dict[str, Float64[Tensor, "P ..."]]:
        """See `Numerics`."""
        H, N, P = self.hidden, self.states, len(keys)
        eigenvalues, v = hippo(N)
        scale = 1 / math.sqrt(2 * N)
        b = normal(keys, "w_b", (H, 2 * N), scale).to(v.dtype) @ v.conj()  # V^-1 = V^H
        c = torch.complex(*(normal(keys, name, (2 * N, H), scale) for name in ("w_c", "w_c imaginary")))
        c = v.T @ c
        uniform = rng.uniforms53(keys, N, rng.stream_of("log_step"))
        low, high = math.log(self.dt_min), math.log(self.dt_max)
        return {
            "eig_re": eigenvalues.real.expand(P, -1),
            "eig_im": eigenvalues.imag.expand(P, -1),
            "log_step": low + uniform * (high - low),
            "w_b": torch.cat((b.real, b.imag), -1),
            "w_c": torch.cat((c.real, c.imag), 1),
        }


@cache
def hippo(states: int) -> tuple[Complex128[Tensor, " N"], Complex128[Tensor, "N2 N"]]:
    """Eigenvalues [N] and eigenvectors [2N, N] of the normal part of HiPPO-LegS, of one of each conjugate pair.

    Numerics:
        An eigenvector's first entry is real and positive: libraries of linear algebra differ in its phase.

    References:
        Gu et al. (2022), S4: A = V Lambda V^H - P P^T with P_n = sqrt(n + 1/2).
    """
    n = torch.arange(2 * states, dtype=torch.float64)
    root, low = torch.sqrt(1 + 2 * n), torch.sqrt(n + 0.5)
    matrix = n.diag() - (root[:, None] * root).tril() + low[:, None] * low
    real = matrix.diagonal().mean()
    skew = matrix - real * torch.eye(len(n), dtype=torch.float64)
    imaginary, vectors = torch.linalg.eigh(-1j * skew)
    keep = imaginary > 0
    kept = vectors[:, keep]
    return torch.complex(real.expand(states), imaginary[keep]), kept * (kept[0].abs() / kept[0])
