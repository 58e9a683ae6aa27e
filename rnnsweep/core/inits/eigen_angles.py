"""Orthogonal recurrent matrices by their eigen-angles: what the skew initialisations share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.inits.base import Init
from rnnsweep.core.inits.draws import fans, per_row, square_blocks, standard_uniform, weights
from rnnsweep.core.types import ParameterSpec
from rnnsweep.unit import Range


@dataclass(frozen=True)
class SkewInit(Init):
    """Recurrent matrices that rotate the planes of units (0, 1), (2, 3), ... by random angles.

    A skew parameter [H, H] (role ``skew``, of which the strict upper triangle counts) gets blocks tan(t / 2): its
    Cayley map rotates by t. A recurrent weight gets the rotations themselves, in each of its square blocks (gates). A
    last odd unit keeps its state. Input weights ~ U(-bound, bound); the read-out is uniform as Glorot's; biases 0.

    Numerics:
        Closed forms in float64, no linear algebra.
    """

    roles: ClassVar[Mapping[str, tuple[str, ...]]] = {"bound": ("input",)}
    draws: ClassVar[tuple[str, ...]] = (*Init.draws, "skew")
    rows: ClassVar[Mapping[str, Range]] = {"bound": Range(0, open_high=True)}

    bound: float = 0.01

    @abstractmethod
    def angles(self, uniform: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
        """Angles of draws from U[0, 1)."""

    def draw(
        self,
        specs: Sequence[ParameterSpec],
        keys: Int64[Tensor, " P"],
        hypers: Mapping[str, Float64[Tensor, " P"]],
        gain: float,
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Weights by name, float64 [P, *shape]."""
        del gain
        values = {}
        for spec in weights(specs, "skew"):
            values[spec.name] = generators(self._angles(spec, keys, 1)[:, 0], spec.shape[-1])  # P 1 pairs -> P pairs
        for spec in weights(specs, "recurrent"):
            blocks, H = square_blocks(spec), min(spec.shape[-2:])
            count = blocks.down * blocks.across * math.prod(spec.shape[:-2])
            turned = rotations(self._angles(spec, keys, count), H).unflatten(1, (*spec.shape[:-2], -1))  # P ... G H H
            values[spec.name] = turned.flatten(-3, -2) if blocks.down > 1 else turned.movedim(-3, -2).flatten(-2)
        for spec in weights(specs, "input", "output"):
            ones = torch.ones(len(keys), dtype=torch.float64)
            width = hypers["bound"] if spec.role == "input" else ones * math.sqrt(6 / sum(fans(spec)))
            values[spec.name] = (2 * standard_uniform(spec, keys) - 1) * per_row(width, spec)
        return values

    def _angles(self, spec: ParameterSpec, keys: Tensor, blocks: int) -> Tensor:
        """[P, blocks, H // 2]."""
        pairs = min(spec.shape[-2:]) // 2
        # A single unit has no pair; one number is drawn and left.
        drawn = rng.uniforms53(keys, max(1, blocks * pairs), rng.stream_of(spec.name))
        return self.angles(drawn[:, : blocks * pairs]).unflatten(1, (blocks, pairs))


def generators(angles: Float64[Tensor, "P planes"], hidden: int) -> Float64[Tensor, "P H H"]:
    """Upper triangles of skew matrices [P, H, H] whose Cayley map rotates by `angles` [P, H // 2]."""
    triangles = torch.zeros(len(angles), hidden, hidden, dtype=torch.float64)
    even = torch.arange(0, 2 * angles.shape[1], 2)
    triangles[:, even, even + 1] = torch.tan(angles / 2)
    return triangles


def rotations(angles: Float64[Tensor, "*batch planes"], hidden: int) -> Float64[Tensor, "*batch H H"]:
    """Block-diagonal rotations [..., H, H] by `angles` [..., H // 2]; 1 for a last odd unit."""
    # Cloned: expanded rows share their memory, and are written to.
    matrices = torch.eye(hidden, dtype=torch.float64).expand(*angles.shape[:-1], -1, -1).clone()
    even = torch.arange(0, 2 * angles.shape[-1], 2)
    matrices[..., even, even], matrices[..., even + 1, even + 1] = angles.cos(), angles.cos()
    # The same sense of rotation as the Cayley map of `generators`.
    matrices[..., even, even + 1], matrices[..., even + 1, even] = -angles.sin(), angles.sin()
    return matrices
