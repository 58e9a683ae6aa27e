"""Clipping of every gradient entry by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.controllers.base import CLIPPED, Context, Transform, Transformed
from rnnsweep.unit import POSITIVE, Metric, Range


@dataclass(frozen=True)
class ElementwiseClip(Transform):
    """Move every entry of the gradient into [-threshold, threshold]; the direction may change.

    Attributes:
        threshold: largest absolute value of an entry, per row; unit loss / parameter; > 0, inf is off, bit for bit.

    Numerics:
        An entry at the threshold is untouched. A row with a non-finite entry is dropped whole: unlike in the source's
        code, an infinite entry is not taken for a large one.

    References:
        Mikolov (2012), thesis, section 3.2.2: threshold 15.
    """

    threshold: float = 15.0

    metrics: ClassVar[Mapping[str, Metric]] = CLIPPED
    rows: ClassVar[Mapping[str, Range]] = {"threshold": POSITIVE}

    def transform(self, context: Context, norm: Float[Tensor, " P"]) -> Transformed:
        """See `Transform.transform`."""
        threshold = context.hypers["threshold"][:, None]
        # Each row has a bound of its own, P 1; NaN stays NaN in both.
        clipped = torch.minimum(torch.maximum(context.gradients, -threshold), threshold)
        # A row that is dropped is not clipped, and NaN differs from itself.
        context.tally.mean("clip/share", (clipped != context.gradients).any(1) & torch.isfinite(norm))
        return Transformed(clipped, drop=~torch.isfinite(norm))
