"""The few statistics that a report states."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""


def wilson(successes: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson score interval of a share; sensible at 0, at n, and for few observations.

    Args:
        successes: 0 ... n.
        n: number of observations; 0 gives (0, 1): nothing is known.
        z: normal quantile; the default makes a 95 % interval.

    Returns:
        Lower and upper bound, within [0, 1].

    References:
        E. B. Wilson (1927), JASA 22, 209-212.

    Example:
        >>> [round(bound, 3) for bound in wilson(5, 5)]
        [0.566, 1.0]
    """
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else max(0.0, (centre - spread) / scale)
    high = 1.0 if successes == n else min(1.0, (centre + spread) / scale)
    return low, high


def censored_median(values: list[float], total: int) -> float | None:
    """Median of `total` times of which only `values` were observed; None while fewer than half were.

    Unobserved times count as later than every observed one; with an even count the upper of the two middle values
    counts, as half of the replicas must have solved.

    Example:
        >>> censored_median([300.0, 100.0], 3), censored_median([100.0], 3)
        (300.0, None)
    """
    needed = (total + 1) // 2
    if total == 0 or len(values) < needed:
        return None
    return sorted(values)[needed - 1]


def mean_interval(values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """95 % confidence interval of a mean by Student's t, cut to the range that the quantity has.

    Args:
        values: observations; fewer than two tell nothing about their spread, and give the whole range.
        low, high: the quantity's range.

    References:
        Student (1908), Biometrika 6, 1-25.

    Example:
        >>> [round(bound, 2) for bound in mean_interval([1.0, 2.0, 3.0], 0.0, 10.0)]
        [0.0, 4.48]
    """
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return low, high
    mean = sum(values) / n
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    reach = float(t.ppf(0.975, n - 1)) * deviation / math.sqrt(n)
    return max(low, mean - reach), min(high, mean + reach)
