"""Clipping of norms that are unusual for the row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.controllers.base import CLIPPED, Context, Transform, Transformed
from rnnsweep.core.controllers.clip import limited
from rnnsweep.unit import POSITIVE, SHARE, Metric, Range


@dataclass(frozen=True)
class ZClip(Transform):
    """Clip a norm n that lies far above its running mean mu, in units of its running deviation sigma.

        z = (n - mu) / sigma        z > z_max:  n <- mu + z_max^2 sigma / z

        mu <- decay mu + (1 - decay) n        sigma^2 <- decay sigma^2 + (1 - decay) (n - mu)^2    (n clipped, mu new)

    During the row's first `warmup` steps only `threshold` acts; mu and sigma start as mean and deviation of these
    norms (clipped by it). Later the smaller limit of the two counts. Refused mini-batches leave no trace.

    Attributes:
        z_max: largest z, per row; > 0, inf is off.
        decay: of mean and variance, per row, 0..1.
        threshold: fixed largest norm, per row; unit loss / parameter; > 0, inf is off.
        warmup: steps before z counts; whole, >= 1.

    Numerics:
        Both off: bit for bit the gradient itself. sigma is kept, not its square, and formed in float64, so that norms
        of 1e30 do not overflow in float32. sigma = 0: every n > mu has z = inf and comes back as mu. Non-finite norms
        are dropped and not remembered.

    References:
        Kumar, Owen, Chowdhury, Guera (2025), reciprocal clipping: z 2.5, decay .97, warm-up 25. Ours differs: their
        code also limits norms to 1 by default, and remembers them as they were before that limit; here `threshold` is
        off by default, since its meaning depends on how the cost is reduced, and norms are remembered as taken.
    """

    z_max: float = 2.5
    decay: float = 0.97
    threshold: float = math.inf
    warmup: int = 25

    metrics: ClassVar[Mapping[str, Metric]] = CLIPPED
    rows: ClassVar[Mapping[str, Range]] = {"z_max": POSITIVE, "decay": SHARE, "threshold": POSITIVE}
    fixed: ClassVar[Mapping[str, Range]] = {"warmup": Range(1, 1 << 20, integer=True)}

    def slot_shapes(self) -> dict[str, tuple[int, ...]]:
        """Norms seen (counted up to the end of the warm-up), their mean and deviation."""
        return {"seen": (), "mean": (), "deviation": ()}

    def transform(self, context: Context, norm: Float[Tensor, " P"]) -> Transformed:
        """See `Transform.transform`."""
        slots, hypers = context.slots, {name: value.double() for name, value in context.hypers.items()}
        seen, mean, deviation = (slots[name].double() for name in ("seen", "mean", "deviation"))
        warming = seen < self.warmup
        # While warming up this may be 0 / 0, and is not looked at.
        z = (norm.double() - mean) / deviation
        pulled = mean + hypers["z_max"].square() * deviation / z
        unusual = ~warming & (z > hypers["z_max"])
        limit = torch.where(unusual, torch.minimum(pulled, hypers["threshold"]), hypers["threshold"])  # P, float64
        result = limited(context, norm, limit.to(norm.dtype))
        # What is remembered is the clipped norm: one outlier must not raise the mean.
        n = torch.minimum(norm.double(), limit)
        # Warming up: the weights of a plain mean over seen + 1 norms.
        keep = torch.where(warming, seen / (seen + 1), hypers["decay"])
        centre = keep * mean + (1 - keep) * n
        # Welford's recursion while warming up (exact mean and variance), the moving one afterwards.
        spread = torch.where(warming, (n - mean) * (n - centre), (n - centre).square())
        variance = keep * deviation.square() + (1 - keep) * spread
        fresh = {"seen": torch.where(warming, seen + 1, seen), "mean": centre, "deviation": variance.sqrt()}
        # New tensors: a row whose step is refused keeps its old ones.
        slots.update({name: value.to(norm.dtype) for name, value in fresh.items()})
        return result
