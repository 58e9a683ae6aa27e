"""What the best output that ignores its input scores, from the targets of a training part."""

from __future__ import annotations

import numpy as np


def of_classes(shares: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Cross-entropy, with `weights` of the classes, and share of errors; `shares` [C] sum to 1."""
    weighted = shares if weights is None else shares * weights
    weighted = weighted[weighted > 0]
    return float(-(weighted * np.log(weighted / weighted.sum())).sum()), float(1 - shares.max())


def of_labels(labels: np.ndarray) -> tuple[float, float]:
    """Binary cross-entropy, summed over labels [n, O] of 0 and 1, and share of wrong labels."""
    shares = labels.mean(0, dtype=np.float64)
    # labels that never or always hold have no entropy, and 0 log 0 is NaN
    mixed = shares[(shares > 0) & (shares < 1)]
    entropy = -(mixed * np.log(mixed) + (1 - mixed) * np.log1p(-mixed)).sum()
    return float(entropy), float(np.minimum(shares, 1 - shares).mean())


def of_numbers(values: np.ndarray, tolerance: float) -> tuple[float, float]:
    """Squared error of the mean, summed over outputs [n, O], and share of rows that are off by more than `tolerance`.

    The second is at least one row's share, or nothing could be better.
    """
    values = values.astype(np.float64)
    squares = (values - values.mean(0)) ** 2
    wrong = np.sqrt(squares.mean(1)) > tolerance
    return float(squares.sum(1).mean()), max(float(wrong.mean()), 1 / len(wrong))
