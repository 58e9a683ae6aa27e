"""Scores of a whole evaluation that are no means over its sequences: what a mini-batch keeps, and what is made of it.

Shapes: P rows · n sequences (or steps) of an evaluation · C classes.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from torch import Tensor


def confusion(
    logits: Float[Tensor, "P n C"], classes: Int64[Tensor, "P n"], counted: Shaped[Tensor, "P n"]
) -> Float64[Tensor, "P 1 C C1"]:
    """How often each class [C] was taken for each [C + 1]; the last column is for outputs that are not finite.

    Numerics:
        Counts, so that sums are exact in any order.
    """
    P, _, C = logits.shape
    named = torch.where(torch.isfinite(logits).all(-1), logits.argmax(-1), torch.full_like(classes, C))
    found = torch.zeros(P, C * (C + 1), dtype=torch.float64, device=logits.device)
    found.scatter_add_(1, classes * (C + 1) + named, counted.double())
    return found.view(P, 1, C, C + 1)


def balanced_accuracy(counts: Float64[Tensor, "P n C C1"]) -> Float64[Tensor, " P"]:
    """Mean share of right answers over the classes that occur, as scikit-learn's `balanced_accuracy_score`."""
    total = counts.sum(1)
    right, support = total.diagonal(dim1=1, dim2=2), total.sum(2)
    share = right / support.clamp(min=1)
    return share.sum(1) / (support > 0).sum(1)


def f1_macro(counts: Float64[Tensor, "P n C C1"]) -> Float64[Tensor, " P"]:
    """Mean F1 over the classes that occur or are named, 0 where one is never right; as scikit-learn's `f1_score`."""
    total = counts.sum(1)
    right, support, named = total.diagonal(dim1=1, dim2=2), total.sum(2), total.sum(1)[:, :-1]
    f1 = 2 * right / (support + named).clamp(min=1)
    return f1.sum(1) / (support + named > 0).sum(1)


def label_counts(logits: Float[Tensor, "P n C"], labels: Float[Tensor, "P n C"]) -> Float64[Tensor, "P 1 C 3"]:
    """Of each label: how often it was there and named, there, and named; not finite is the wrong answer."""
    there = labels > 0
    named = torch.where(torch.isfinite(logits), logits > 0, ~there)
    return torch.stack([(there & named).sum(1), there.sum(1), named.sum(1)], -1).double()[:, None]


def label_f1_macro(counts: Float64[Tensor, "P n C 3"]) -> Float64[Tensor, " P"]:
    """Mean F1 over labels, 0 of one that is never there and never named; as scikit-learn's with `zero_division=0`."""
    right, there, named = counts.sum(1).unbind(-1)
    return (2 * right / (there + named).clamp(min=1)).sum(1) / right.shape[1]


def auroc(scores: Float[Tensor, "P n"], positive: Bool[Tensor, "P n"]) -> Float64[Tensor, " P"]:
    """Area under the ROC curve, ties counted half; NaN where one of the two kinds is absent or a score is not finite.

    References:
        Mann and Whitney's U over the number of pairs.
    """
    scores = scores.double()
    ordered = scores.sort(1).values
    below = torch.searchsorted(ordered, scores.contiguous())
    upto = torch.searchsorted(ordered, scores.contiguous(), right=True)
    # twice the mean rank of equal scores, from 1: whole numbers, whose sums are exact
    ranks = (below + upto + 1) * positive
    ones = positive.sum(1)
    pairs = ones * (positive.shape[1] - ones)
    area = (ranks.sum(1) - ones * (ones + 1)).double() / (2 * pairs)
    return torch.where(torch.isfinite(scores).all(1), area, torch.full_like(area, torch.nan))


def auroc_macro(scores: Float[Tensor, "P n C"], positive: Bool[Tensor, "P n C"]) -> Float64[Tensor, " P"]:
    """Mean of `auroc` over those of C kinds, each against the rest, that are there and not everywhere.

    Numerics:
        1/2 where there is no such kind, for nothing can be told apart; NaN where a score is not finite.
    """
    each = torch.stack([auroc(scores[..., c], positive[..., c]) for c in range(scores.shape[2])], 1)
    ones = positive.sum(1)
    nothing = ((ones == 0) | (ones == positive.shape[1])).all(1)
    area = torch.where(nothing, torch.full_like(each[:, 0], 0.5), each.nanmean(1))
    finite = torch.isfinite(scores).flatten(1).all(1)
    return torch.where(finite, area, torch.full_like(area, torch.nan))
