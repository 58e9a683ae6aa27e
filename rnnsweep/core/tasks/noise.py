"""Gaussian noise of made sequences, addressed like all their numbers and the same to the bit on every device."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import torch
from jaxtyping import Float64
from torch import Tensor

from rnnsweep.core.rng import Draws

_VALUES = 1 << 16


def gaussian(draws: Draws, n: int, stream: int) -> Float64[Tensor, "P B n"]:
    """N(0, 1) per sequence, float64 [P, B, n].

    Numerics:
        One of 2**16 values, each with the same probability: the normal quantiles of the middles of as many parts,
        scaled to variance 1; |x| <= 4.4. A table is read, nothing is computed: logarithms of whole tensors end in other
        bits on another device, or at another place.
    """
    words = draws.words((n + 1) // 2, stream)
    # two numbers per word
    halves = torch.stack([words & (_VALUES - 1), words >> 16], -1).flatten(2)[..., :n]
    return _quantiles_on(draws.device)[halves]


@lru_cache(maxsize=1)
def _quantiles() -> Tensor:
    half = [NormalDist().inv_cdf((i + 0.5) / _VALUES) for i in range(_VALUES // 2, _VALUES)]
    scale = math.sqrt(len(half) / math.fsum(x * x for x in half))
    upper = torch.tensor(half, dtype=torch.float64) * scale
    return torch.cat([-upper.flip(0), upper])


@lru_cache(maxsize=8)
def _quantiles_on(device: torch.device) -> Tensor:
    return _quantiles().to(device)
