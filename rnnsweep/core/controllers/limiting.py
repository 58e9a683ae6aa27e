"""Scaling each row's gradient down to a limit: what the clippers of the joint norm share."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnsweep.core.controllers.base import Context, Transformed


def limited(context: Context, norm: Tensor, limit: Tensor) -> Transformed:
    """The gradients scaled so that no row's norm exceeds its limit; both [P].

    Numerics:
        A row within its limit comes back bit for bit (strict comparison). A row with a non-finite norm is dropped.
    """
    finite = torch.isfinite(norm)
    over = finite & (norm > limit)
    factor = torch.where(over, limit / norm, torch.ones_like(norm))
    context.tally.mean("clip/share", over)
    return Transformed(context.gradients * factor[:, None], drop=~finite, norm=torch.where(over, limit, norm))
