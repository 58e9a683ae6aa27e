"""The statistics that a report states: intervals of shares and means, tests of pairs, what so many pairs can show."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Z95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""


def wilson(successes: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Wilson score interval of a share; sensible at 0, at n, and for few observations.

    Args:
        successes: 0 ... n; need not be whole where `n` is an effective number of observations.
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
    # exact at the ends, where rounding would leave 1e-17
    low = 0.0 if successes == 0 else max(0.0, (centre - spread) / scale)
    high = 1.0 if successes >= n else min(1.0, (centre + spread) / scale)
    return low, high


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


@dataclass(frozen=True)
class PairedDifference:
    """How two treatments differ that were tried on the same seeds.

    Attributes:
        pairs: how many seeds both have.
        mean: mean of first minus second; NaN without a pair.
        low, high: 95 % confidence interval, None where the pairs are too few for one.
        p: two-sided; 1 where nothing differs or nothing was paired.
        spread: standard deviation of the differences; NaN with fewer than two pairs.
    """

    pairs: int
    mean: float
    low: float | None
    high: float | None
    p: float
    spread: float = math.nan


EXACT_PAIRS = 14
"""Up to so many pairs every way to flip their signs is tried (16 384); above, as many are drawn."""


def paired_difference(first: Sequence[float], second: Sequence[float]) -> PairedDifference:
    """Mean difference of pairs with the sign-flip test and the interval that belongs to it.

    Under the hypothesis that treatment makes no difference, each difference is as likely to have the other sign: the p
    value is the share of all ways to flip signs whose mean is at least as far from 0. The interval is Hartigan's: the
    means of all non-empty subsets cut the line into intervals that hold the centre of a symmetric distribution with
    equal probability. Neither assumes a normal distribution; both need six pairs to reach 95 %.

    Args:
        first, second: values by pair, in the same order.

    References:
        Fisher (1935), The Design of Experiments, section 21; Hartigan (1969), JASA 64, 1303-1317.

    Example:
        >>> test = paired_difference([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
        >>> test.mean, test.p, test.low
        (2.0, 0.25, None)
    """
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    n = len(differences)
    if n == 0:
        return PairedDifference(0, math.nan, None, None, 1.0)
    mean = float(differences.mean())
    spread = float(differences.std(ddof=1)) if n > 1 else math.nan
    signs = _signs(n)
    # Rounding must not decide whether a flipped sum reaches the observed one.
    reached = np.abs(signs @ differences) >= abs(differences.sum()) * (1 - 1e-12)
    low, high = _typical_values(differences, signs > 0)
    return PairedDifference(n, mean, low, high, float(reached.mean()), spread)


def _signs(n: int) -> np.ndarray:
    """All 2^n rows of signs, or as many drawn ones as `EXACT_PAIRS` give; the row that flips nothing is first."""
    if n <= EXACT_PAIRS:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1  # 2**n n
        return 1.0 - 2.0 * bits
    # a fixed seed: the same replicas must give the same p in every report
    drawn = 1.0 - 2.0 * np.random.default_rng(0).integers(0, 2, (2**EXACT_PAIRS, n))
    drawn[0] = 1.0  # the observed one belongs to the reference set, so that p is never 0
    return drawn


def _typical_values(differences: np.ndarray, chosen: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """Hartigan's 95 % interval from subset means; None below six pairs, where even the widest one misses 95 %."""
    if 2.0 ** (1 - len(differences)) > 0.05:
        return None, None
    kept = chosen[chosen.any(axis=1)]
    means = np.sort((kept @ differences) / kept.sum(axis=1))
    outside = math.floor(0.025 * (len(means) + 1))
    return float(means[outside - 1]), float(means[-outside])


def paired_shares(first: Sequence[bool], second: Sequence[bool]) -> PairedDifference:
    """Difference of two shares on the same seeds: exact McNemar test, Agresti and Min's interval.

    Only pairs that differ tell anything about the sign; the interval adds half a pair to each cell of the 2 x 2 table,
    so that it has a width even where all pairs agree.

    References:
        McNemar (1947), Psychometrika 12, 153-157; Agresti, Min (2005), Statistics in Medicine 24, 729-740.

    Example:
        >>> test = paired_shares([True] * 8, [False] * 8)
        >>> test.mean, round(test.p, 4)  # 2 / 2^8
        (1.0, 0.0078)
    """
    from scipy.stats import binomtest

    gained = sum(a and not b for a, b in zip(first, second, strict=True))
    lost = sum(b and not a for a, b in zip(first, second, strict=True))
    n, differing = len(first), gained + lost
    if n == 0:
        return PairedDifference(0, math.nan, None, None, 1.0)
    p = float(binomtest(gained, differing, 0.5).pvalue) if differing else 1.0
    centre = (gained - lost) / (n + 2)
    reach = Z95 * math.sqrt((differing + 1) - (gained - lost) ** 2 / (n + 2)) / (n + 2)
    share = (gained - lost) / n
    spread = math.sqrt((differing / n - share**2) * n / (n - 1)) if n > 1 else math.nan
    return PairedDifference(n, share, max(-1.0, centre - reach), min(1.0, centre + reach), p, spread)


RELABELLED = 20_000
"""Up to so many ways to deal labels all are tried; above, as many are drawn."""


def permutation_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of a difference in means by dealing the values out anew; no distribution is assumed.

    Example:
        >>> round(permutation_p([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]), 3)  # 2 of the 20 ways to deal are as far apart
        0.1
    """
    values = np.array([*first, *second], dtype=float)
    n, k = len(values), len(first)
    if k == 0 or k == n:
        return 1.0
    if math.comb(n, k) <= RELABELLED:
        chosen = np.array(list(itertools.combinations(range(n), k)))
    else:
        random = np.random.default_rng(0)
        chosen = np.array([random.permutation(n)[:k] for _ in range(RELABELLED)])
        chosen[0] = np.arange(k)  # the observed one belongs to the reference set, so that p is never 0
    sums = values[chosen].sum(axis=1)
    gaps = np.abs(sums / k - (values.sum() - sums) / (n - k))
    observed = abs(values[:k].mean() - values[k:].mean())
    # as above: rounding must not decide who reaches the observed gap; 1e-15 where it is 0
    return float((gaps >= observed * (1 - 1e-12) - 1e-15).mean())


def share_difference(
    first: tuple[float, float, float], second: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Difference of two independent shares with its 95 % interval, from each share and its Wilson interval.

    Args:
        first, second: share, lower and upper bound.

    References:
        Newcombe (1998), Statistics in Medicine 17, 873-890, method 10.

    Example:
        >>> [round(value, 4) for value in share_difference((0.7, *wilson(56, 80)), (0.6, *wilson(48, 80)))]
        [0.1, -0.0472, 0.2414]
    """
    (p, low, high), (q, least, most) = first, second
    down, up = math.hypot(p - low, most - q), math.hypot(high - p, q - least)
    return p - q, p - q - down, p - q + up


def shares_alike(cells: Sequence[tuple[int, int, int, int]]) -> float:
    """p of the exact test, two-sided, that two samples have the same share in every cell, of all cells together.

    Args:
        cells: successes and size of the one sample, successes and size of the other.

    Given each cell's totals, the first sample's successes are a hypergeometric number; their sum over cells is compared
    with all that it could have been. Of one cell it is Fisher's test.

    References:
        Mantel, Haenszel (1959); Agresti (2013), Categorical Data Analysis, section 16.5.

    Example:
        >>> round(shares_alike([(0, 5, 5, 5)]), 4), round(shares_alike([(0, 5, 5, 5), (1, 5, 5, 5)]), 5)
        (0.0079, 0.00019)
    """
    odds = np.ones(1)
    for won, count, other, others in cells:
        total = won + other
        own = [math.comb(count, k) * math.comb(others, total - k) for k in range(min(count, total) + 1)]
        odds = np.convolve(odds, np.array(own, float) / math.comb(count + others, total))
    seen = odds[sum(won for won, *_ in cells)]
    # a hair more, as equal odds come out of different sums
    return float(min(1.0, odds[odds <= seen * (1 + 1e-9)].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number: reject those below 0.05, and 5 % is the chance of any false alarm.

    References:
        Holm (1979), Scandinavian Journal of Statistics 6, 65-70.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        # never below an earlier one: a larger p must not be corrected to a smaller
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def pairs_needed(comparisons: int = 1, alpha: float = 0.05) -> int:
    """The fewest pairs with which a sign-flip test can fall below `alpha` after correction for so many comparisons.

    n pairs that all point the same way give 2^(1-n).

    Example:
        >>> pairs_needed(), pairs_needed(9)
        (6, 9)
    """
    # log2 of an exact power may come out above it
    return math.ceil(1 + math.log2(max(1, comparisons) / alpha) - 1e-12)


def detectable(pairs: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """The true mean difference, in standard deviations of the differences, that `pairs` find with probability `power`.

    By the paired t test, which the sign-flip test comes close to for nearly normal differences; infinite below the
    pairs that any outcome needs.

    References:
        Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, chapter 2.

    Example:
        >>> round(detectable(10), 2), detectable(5)
        (1.0, inf)
    """
    if pairs < pairs_needed(alpha=alpha):
        return math.inf
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    limit = float(t.ppf(1 - alpha / 2, pairs - 1))

    def missed(noncentrality: float) -> float:
        return float(nct.cdf(limit, pairs - 1, noncentrality)) - (1 - power)

    # The root lies near limit + 0.84, and scipy's distribution loses its precision far beyond.
    root: Any = brentq(missed, 1e-6, 8.0)
    return float(root) / math.sqrt(pairs)


def effective_size(successes: Sequence[int], sizes: Sequence[int]) -> float:
    """How many independent observations clustered ones are worth, for the interval of their share.

    Replicas of one trial share its hyperparameters and so fail or succeed together. The design effect is the variance
    between clusters over the variance that independent observations would have; where all agree, nothing can be told
    about it and a cluster counts once.

    Args:
        successes, sizes: per cluster.

    Returns:
        Between the number of clusters and the number of observations.

    References:
        Korn, Graubard (1998), Survey Methodology 24, 193-201.

    Example:
        >>> effective_size([3, 0, 3, 0], [3, 3, 3, 3])
        4.0
    """
    clusters, n = len(sizes), sum(sizes)
    if clusters < 2 or n == clusters:
        return float(n)  # one cluster: its replicas are all that there is to speak of
    share = sum(successes) / n
    if share in (0.0, 1.0):
        return float(clusters)
    residuals = sum((k - share * m) ** 2 for k, m in zip(successes, sizes, strict=True))
    variance = clusters / (clusters - 1) * residuals / n**2
    return min(float(n), max(float(clusters), share * (1 - share) / variance)) if variance > 0 else float(n)
