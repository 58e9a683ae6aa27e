"""Clipping at a percentile of the row's own gradient norms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from rnnsweep.core.controllers.base import CLIPPED, Context, Transform, Transformed
from rnnsweep.core.controllers.clip import limited
from rnnsweep.unit import Metric, Range

STEPS = 64
"""Bins per power of two."""
_LOWEST = -31  # frexp's exponent of 2^-32, as mantissas lie in [1/2, 1)
_POWERS = 64
BINS = STEPS * _POWERS
_BEYOND = 1e300  # finite: 0 * inf in the interpolation would be NaN


@dataclass(frozen=True)
class AutoClip(Transform):
    """Clip at the p-th percentile of all norms that the row has seen, the present one included.

    The norms are kept as a histogram, because a list would grow with training: what a row remembers of every norm,
    from the first on, is its bin. Bins divide each power of two from 2^-32 to 2^32 into 64 equal parts, and a bin
    stands for its upper end. So the threshold is never below the exact percentile, and at most 1/64 above it; ranks
    and counts are exact, and so is the interpolation between ranks. Only mini-batches whose step was taken count.

    Attributes:
        percentile: p per row, 0 <= p <= 100, linear between ranks as `numpy.percentile`; 100 is off, bit for bit.

    Numerics:
        The bin comes from exponent and mantissa, exactly. Norms below 2^-32 share the first bin and are never clipped;
        norms above 2^32 share the last one, which clips nothing. Counts are exact up to 2^24 per bin in float32.
        Non-finite norms are dropped and not remembered.

    References:
        Seetharaman, Wichern, Pardo, Le Roux (2020), p = 10; ours differs: the histogram.
    """

    percentile: float = 10.0

    metrics: ClassVar[Mapping[str, Metric]] = CLIPPED
    rows: ClassVar[Mapping[str, Range]] = {"percentile": Range(0, 100)}

    def slot_shapes(self) -> dict[str, tuple[int, ...]]:
        """Counts per bin."""
        return {"histogram": (BINS,)}

    def transform(self, context: Context, norm: Float[Tensor, " P"]) -> Transformed:
        """See `Transform.transform`."""
        index = bin_of(norm)
        # A new tensor: a row whose step is refused keeps its old counts.
        counts = context.slots["histogram"].clone()
        counts.scatter_add_(1, index[:, None], torch.ones_like(counts[:, :1]))
        context.slots["histogram"] = counts
        # In float32 the last bin's end becomes inf, which clips nothing.
        limit = percentile_of(counts, context.hypers["percentile"]).to(norm.dtype)
        return limited(context, norm, limit)


def bin_of(norm: Float[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """Bin of each norm, int64; non-finite norms count as 0."""
    mantissa, power = torch.frexp(torch.where(torch.isfinite(norm), norm, torch.zeros_like(norm)).double())
    step = ((mantissa - 0.5) * (2 * STEPS)).floor().to(torch.int64)
    index = (power.to(torch.int64) - _LOWEST) * STEPS + step
    # 0 has no exponent: it goes into the lowest bin.
    return torch.where(mantissa > 0, index, torch.zeros_like(index)).clamp(0, BINS - 1)


def edge_of(index: Int64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """Upper end of each bin, float64, exact; beyond all numbers for the last one."""
    power = torch.div(index, STEPS, rounding_mode="floor")
    mantissa = 0.5 + (index - power * STEPS + 1).double() / (2 * STEPS)
    edge = torch.ldexp(mantissa, power + _LOWEST)
    return torch.where(index == BINS - 1, torch.full_like(edge, _BEYOND), edge)


def percentile_of(counts: Shaped[Tensor, "P bins"], percentile: Float[Tensor, " P"]) -> Float64[Tensor, " P"]:
    """Linear percentile of the binned norms, float64 [P]; counts [P, BINS]."""
    # float64: sums over all bins pass 2^24 long before a single bin does.
    below = counts.double().cumsum(1)
    place = percentile.double() / 100 * (below[:, -1] - 1)
    rank = place.floor()
    ranks = torch.stack((rank, (rank + 1).minimum(below[:, -1] - 1)), 1)
    # right=True: ranks count from 0, so the bin wanted is the first whose count exceeds the rank.
    low, high = edge_of(torch.searchsorted(below, ranks, right=True).clamp(max=BINS - 1)).unbind(1)
    return low + (place - rank) * (high - low)
