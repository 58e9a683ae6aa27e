"""What the best output that ignores its input scores, from the targets of a training part."""

from __future__ import annotations

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


def of_numbers(values: np.ndarray, tolerance: float, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Squared error of the mean, summed over outputs [n, O], and share of rows that are off by more than `tolerance`.

    With `weights` [n] of the rows both, but the share, are weighted.

    The second is at least one row's share, or nothing could be better.
    """
    values = values.astype(np.float64)
    squares = (values - np.average(values, 0, weights)) ** 2
    weighed = squares.sum(1) if weights is None else squares.sum(1) * weights
    wrong = np.sqrt(squares.mean(1)) > tolerance
    return float(weighed.mean()), max(float(wrong.mean()), 1 / len(wrong))
