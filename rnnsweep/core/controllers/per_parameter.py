"""Clipping of each parameter's gradient norm by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.controllers.base import CLIPPED, Context, Transform, Transformed
from rnnsweep.unit import POSITIVE, Metric, Range


@dataclass(frozen=True)
class PerParameterClip(Transform):
    """Shrink the gradient of each named parameter (w_rec, w_in, b, ...) so that its own 2-norm is at most `threshold`.

    Attributes:
        threshold: largest norm of one parameter's gradient, per row; unit loss / parameter; > 0, inf is off.

    Numerics:
        Strict comparison, no epsilon; a parameter within its limit comes back bit for bit. A row with a non-finite
        gradient anywhere is dropped whole.

    References:
        docs/maths.md#clipping; as `torch.nn.utils.clip_grad_norm_` called for one parameter at a time.
    """

    threshold: float = 1.0

    metrics: ClassVar[Mapping[str, Metric]] = CLIPPED
    rows: ClassVar[Mapping[str, Range]] = {"threshold": POSITIVE}

    def transform(self, context: Context, norm: Float[Tensor, " P"]) -> Transformed:
        """See `Transform.transform`."""
        threshold = context.hypers["threshold"]
        # A copy: its views are scaled in place.
        gradients = context.gradients.clone()
        clipped = torch.zeros_like(norm, dtype=torch.bool)
        # not the views by name: entries that have two names would be shrunk twice
        for spec in context.layout.specs:
            part = context.layout.part(gradients, spec)
            own = numerics.row_norm(part.flatten(1))
            # Not inf: threshold / inf is 0, and 0 * inf NaN; the row is dropped whole.
            over = torch.isfinite(own) & (own > threshold)
            factor = torch.where(over, threshold / own, torch.ones_like(own))
            part.mul_(factor.reshape(-1, *(1 for _ in part.shape[1:])))
            clipped |= over
        context.tally.mean("clip/share", clipped)
        return Transformed(gradients, drop=~torch.isfinite(norm))
