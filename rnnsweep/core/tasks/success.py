"""Rules that say which sequences are wrong. A non-finite output is wrong under every rule."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from torch import Tensor


def argmax_errors(logits: Float[Tensor, "*shape O"], classes: Int64[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
    """Whether the largest logit (of equal ones the first) is not the class: [..., O] and [...] -> bool [...]."""
    finite = torch.isfinite(logits).all(-1)
    return (logits.argmax(-1) != classes) | ~finite


def squared_errors(
    outputs: Float[Tensor, "*shape O"], targets: Float[Tensor, "*shape O"], limit: float
) -> Bool[Tensor, "*shape"]:
    """Whether the squared error, summed over outputs, exceeds `limit`: [..., O] -> bool [...]."""
    error = outputs - targets
    # "not within" and never "beyond": a NaN compares false with everything, and must count as wrong
    return ~((error * error).sum(-1) <= limit)


def absolute_errors(
    outputs: Float[Tensor, "*shape O"], targets: Float[Tensor, "*shape O"], limit: float
) -> Bool[Tensor, "*shape"]:
    """Whether some output is off by more than `limit`: [..., O] -> bool [...]."""
    return ~((outputs - targets).abs() <= limit).all(-1)


def any_step(wrong: Bool[Tensor, "P T B"], counted: Shaped[Tensor, "P T ..."]) -> Bool[Tensor, "P B"]:
    """Whether any step that counts is wrong: bool [P, T, B] and [P, T] or [P, T, B] -> bool [P, B]."""
    return (wrong & _per_sequence(counted.bool(), wrong)).any(1)


def share_of_steps(wrong: Bool[Tensor, "P T B"], counted: Shaped[Tensor, "P T ..."]) -> Float64[Tensor, "P B"]:
    """Share of wrong steps among those that count, float64 [P, B]; 0 where none counts."""
    counted = _per_sequence(counted.bool(), wrong)
    return (wrong & counted).sum(1).double() / counted.sum(1).clamp(min=1)


def mean_squared_errors(
    outputs: Float[Tensor, "P T B O"],
    targets: Float[Tensor, "P T B O"],
    counted: Shaped[Tensor, "P T ..."],
    limit: float,
) -> Bool[Tensor, "P B"]:
    """Whether the squared error, summed over outputs and averaged over the steps that count, exceeds `limit`.

    Args:
        outputs, targets: [P, T, B, O]. counted: [P, T] or [P, T, B].
        limit: squared units.

    Returns:
        bool [P, B].

    Numerics:
        A non-finite output at a step that does not count does not count. Sums in float64.
    """
    error = (outputs - targets).double()
    counted = _per_sequence(counted.bool(), error[..., 0])
    # where, not a product with the mask: 0 * inf is NaN
    square = torch.where(counted, (error * error).sum(-1), torch.zeros_like(error[..., 0]))
    return ~(square.sum(1) / counted.sum(1).clamp(min=1) <= limit)


def _per_sequence(counted: Tensor, like: Tensor) -> Tensor:
    return counted if counted.ndim == 3 else counted[:, :, None].expand(like.shape)
