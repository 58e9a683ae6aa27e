"""The identity as recurrent matrix (IRNN)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from rnnsweep.core.inits.base import Init
from rnnsweep.core.inits.draws import per_row, square_blocks, standard_normal, weights
from rnnsweep.core.types import ParameterSpec
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Identity(Init):
    """W_rec = scale * I in each of its blocks; input and output weights ~ N(0, sigma**2); biases 0. Meant for ReLU.

    Attributes:
        scale: factor on the identity; any number.
        sigma: standard deviation of input and output weights; >= 0.

    Raises:
        ConfigError: the recurrent weight is not made of square matrices.

    Numerics:
        Exact: no recurrent entry is drawn.

    References:
        Le, Jaitly, Hinton (2015).
    """

    roles: ClassVar[Mapping[str, tuple[str, ...]]] = {"scale": ("recurrent",)}
    rows: ClassVar[Mapping[str, Range]] = {
        "scale": Range(open_low=True, open_high=True),
        "sigma": Range(0, open_high=True),
    }

    scale: float = 1.0
    sigma: float = 0.001

    def draw(
        self,
        specs: Sequence[ParameterSpec],
        keys: Int64[Tensor, " P"],
        hypers: Mapping[str, Float64[Tensor, " P"]],
        gain: float,
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Weights by name, float64 [P, *shape]."""
        del gain
        values = {
            spec.name: standard_normal(spec, keys) * per_row(hypers["sigma"], spec)
            for spec in weights(specs, "input", "output")
        }
        # min: the side of a block, on whichever side the blocks stand.
        for spec in weights(specs, "recurrent"):
            eyes = torch.eye(min(spec.shape[-2:]), dtype=torch.float64).repeat(*square_blocks(spec))  # H GH or GH H
            values[spec.name] = eyes.expand(keys.shape[0], *spec.shape) * per_row(hypers["scale"], spec)
        return values
