"""Layer norm of what a loop's nonlinearities are given, row by row of the last axis. Shapes: see `core.types`.

Numerics:
    Biased variance plus `EPSILON`, as `torch.nn.functional.layer_norm`; square root and quotient are exact to rounding,
    sums run over one axis alone, so that no vector of numbers depends on another one.

References:
    Ba, Kiros, Hinton (2016), *Layer normalization*, equations 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class NormedBlocks:
    """Layer norm of neighbouring blocks of the last axis, each by itself, over all steps of a mini-batch at once.

    Attributes:
        blocks, means, spreads: of each block, before the norm. hat: all of them after it.

    Numerics:
        Torch's own kernels, which make one pass where the formula has several; they take every vector by itself.
    """

    blocks: tuple[Float[Tensor, "P T B _"], ...]
    means: tuple[Float[Tensor, "P T B 1"], ...]
    spreads: tuple[Float[Tensor, "P T B 1"], ...]
    hat: Float[Tensor, "P T B A"]

    @classmethod
    def of(cls, z: Float[Tensor, "P T B A"], widths: Sequence[int]) -> NormedBlocks:
        """Of blocks of these widths."""
        blocks = tuple(part.contiguous() for part in z.split(list(widths), -1))
        found = [torch.native_layer_norm(part, part.shape[-1:], None, None, EPSILON) for part in blocks]
        hats, means, spreads = zip(*found, strict=True)
        return cls(blocks, means, spreads, hats[0] if len(hats) == 1 else torch.cat(hats, -1))

    def pulled_back(self, g: Float[Tensor, "P T B A"]) -> Float[Tensor, "P T B A"]:
        """Gradient of z from that of `hat`."""
        parts = zip(
            g.split([part.shape[-1] for part in self.blocks], -1), self.blocks, self.means, self.spreads, strict=True
        )
        back = torch.ops.aten.native_layer_norm_backward
        found = [
            back(own.contiguous(), z, z.shape[-1:], mean, spread, None, None, [True, False, False])[0]
            for own, z, mean, spread in parts
        ]
        return found[0] if len(found) == 1 else torch.cat(found, -1)


def summed(a: Float[Tensor, "*N H"], own: Mapping[str, Float[Tensor, ...]]) -> Float[Tensor, "*N H"]:
    """What f is given in a simple loop, of its sums: with layer norm they are normalised."""
    return a if "gain" not in own else own["gain"] * normalised(a)[0] + own["bias"]
