"""Rules that say which sequences are wrong. A non-finite output is wrong under every rule."""

from __future__ import annotations

import torch
from torch import Tensor


def argmax_errors(logits: Tensor, classes: Tensor) -> Tensor:
    """Whether the largest logit (of equal ones the first) is not the class: [..., O] and [...] -> bool [...]."""
    finite = torch.isfinite(logits).all(-1)
    return (logits.argmax(-1) != classes) | ~finite


def squared_errors(outputs: Tensor, targets: Tensor, limit: float) -> Tensor:
    """Whether the squared error, summed over outputs, exceeds `limit`: [..., O] -> bool [...]."""
    error = outputs - targets
    return ~((error * error).sum(-1) <= limit)


def absolute_errors(outputs: Tensor, targets: Tensor, limit: float) -> Tensor:
    """Whether some output is off by more than `limit`: [..., O] -> bool [...]."""
    return ~((outputs - targets).abs() <= limit).all(-1)
