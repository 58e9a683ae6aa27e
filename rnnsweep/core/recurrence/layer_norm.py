"""Layer norm of what a loop's nonlinearities are given, row by row of the last axis. Shapes: see `core.types`.

Numerics:
    Biased variance plus `EPSILON`, as `torch.nn.functional.layer_norm`; square root and quotient are exact to rounding,
    sums run over one axis alone, so that no vector of numbers depends on another one.

References:
    Ba, Kiros, Hinton (2016), *Layer normalization*, equations 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.types import Record

EPSILON = 1e-5
"""torch.nn.LayerNorm's."""


@dataclass
class NormedRecord(Record):
    """A record of a simple loop with layer norm.

    Attributes:
        hat: [P, T, B, H], the normalised sums, before gain and bias. spread: [P, T, B, 1], 1 / standard deviation.
    """

    hat: Float[Tensor, "P T B H"] = field(default_factory=lambda: torch.empty(0, 0, 0, 0))
    spread: Float[Tensor, "P T B 1"] = field(default_factory=lambda: torch.empty(0, 0, 0, 1))


def normalised(a: Float[Tensor, "*N K"]) -> tuple[Float[Tensor, "*N K"], Float[Tensor, "*N 1"]]:
    """Mean 0 and variance 1 over the last axis, and one over the standard deviation."""
    centred = a - a.mean(-1, keepdim=True)
    spread = 1 / torch.sqrt((centred * centred).mean(-1, keepdim=True) + EPSILON)
    return centred * spread, spread


def pulled_back(
    g: Float[Tensor, "*N K"], hat: Float[Tensor, "*N K"], spread: Float[Tensor, "*N 1"]
) -> Float[Tensor, "*N K"]:
    """Gradient of a from that of the normalised one."""
    return spread * (g - g.mean(-1, keepdim=True) - hat * (g * hat).mean(-1, keepdim=True))


def summed(a: Float[Tensor, "*N H"], own: Mapping[str, Float[Tensor, ...]]) -> Float[Tensor, "*N H"]:
    """What f is given in a simple loop, of its sums: with layer norm they are normalised."""
    return a if "gain" not in own else own["gain"] * normalised(a)[0] + own["bias"]
