"""Orthogonal weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from rnnsweep.core.inits.base import Init
from rnnsweep.core.inits.draws import (
    Blocks,
    each_matrix,
    gains,
    has_square_blocks,
    per_row,
    square_blocks,
    standard_normal,
    weights,
)
from rnnsweep.core.types import ParameterSpec
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Orthogonal(Init):
    """Weights are uniformly distributed (semi-)orthogonal matrices times the gain, biases 0.

    Recurrent weights made of square blocks (gates) are orthogonal block by block.

    Attributes:
        gain: of the weights that feed the activation (input and recurrent); > 0; null: `calculate_gain` of the
            activation. The read-out is linear and has gain 1.

    Numerics:
        QR of a Gaussian matrix in float64, each matrix by itself, with the signs of R's diagonal moved into Q, so that
        Q is uniformly distributed; a wide matrix is the transpose of a tall one. The error of Q^T Q is of order 1e-15.

    References:
        Saxe, McClelland, Ganguli (2014); as `torch.nn.init.orthogonal_`, except for the blocks.
    """

    roles: ClassVar[Mapping[str, tuple[str, ...]]] = {"gain": ("input", "recurrent")}
    rows: ClassVar[Mapping[str, Range]] = {"gain": Range(0, open_low=True, open_high=True, optional=True)}

    gain: float | None = None

    def draw(
        self,
        specs: Sequence[ParameterSpec],
        keys: Int64[Tensor, " P"],
        hypers: Mapping[str, Float64[Tensor, " P"]],
        gain: float,
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Weights by name, float64 [P, *shape]."""
        values = {}
        for spec in weights(specs):
            blocks = square_blocks(spec) if spec.role == "recurrent" and has_square_blocks(spec) else Blocks()
            factors = per_row(gains(spec, keys, hypers, gain), spec)
            values[spec.name] = each_matrix(standard_normal(spec, keys), blocks, _orthogonal) * factors
        return values


def _orthogonal(row: int, gaussian: Tensor) -> Tensor:
    del row
    tall = gaussian.shape[0] >= gaussian.shape[1]
    # QR makes columns orthonormal, so the longer side goes down.
    q, r = torch.linalg.qr(gaussian if tall else gaussian.T.contiguous())
    # LAPACK's signs are a convention, not chance; `where`, as `sign` would make a column of zeros of a 0.
    signs = torch.where(r.diagonal() < 0, -1.0, 1.0).to(q.dtype)
    q = q * signs
    return q if tall else q.T
