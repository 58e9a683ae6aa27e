"""What the best output that ignores its input scores, from the targets of a training part."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np


def of_classes(shares: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Cross-entropy, with `weights` of the classes, and share of errors; `shares` [C] sum to 1."""
    weighted = shares if weights is None else shares * weights
    weighted = weighted[weighted > 0]
    return float(-(weighted * np.log(weighted / weighted.sum())).sum()), float(1 - shares.max())


def of_labels(labels: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Binary cross-entropy, with `weights` [n] of the rows, summed over labels [n, O]; and share of wrong labels."""
    plain = labels.mean(0, dtype=np.float64)
    total = 1.0 if weights is None else float(weights.mean())
    shares = plain if weights is None else weights @ labels.astype(np.float64) / weights.sum()
    # labels that never or always hold have no entropy, and 0 log 0 is NaN
    mixed = shares[(shares > 0) & (shares < 1)]
    entropy = -(mixed * np.log(mixed) + (1 - mixed) * np.log1p(-mixed)).sum()
    return total * float(entropy), float(np.minimum(plain, 1 - plain).mean())


Blocks = Iterable[tuple[np.ndarray, np.ndarray | None]]
"""Values [n, O] and weights [n] of rows that come one after the other; no weights: all alike."""


def mean_of(blocks: Blocks) -> np.ndarray:
    """Weighted mean, float64 [O]."""
    total, weight = np.zeros(()), 0.0
    for block, weights in blocks:
        values = block.astype(np.float64)
        total = total + (values.sum(0) if weights is None else (values * weights[:, None]).sum(0))
        weight += len(values) if weights is None else float(weights.sum())
    return total / weight


def of_numbers(blocks: Callable[[], Blocks], tolerance: float) -> tuple[float, float]:
    """Squared error of the mean, summed over outputs, and share of rows that are off by more than `tolerance`.

    With weights of the rows both, but the share, are weighted. The blocks are read twice.

    The second is at least one row's share, or nothing could be better.
    """
    mean, loss, wrong, count = mean_of(blocks()), 0.0, 0, 0
    for values, weights in blocks():
        squares = (values.astype(np.float64) - mean) ** 2
        loss += float((squares.sum(1) if weights is None else squares.sum(1) * weights).sum())
        wrong += int((np.sqrt(squares.mean(1)) > tolerance).sum())
        count += len(values)
    return loss / count, max(wrong / count, 1 / count)
