"""Intervals and medians against values worked out elsewhere."""

from __future__ import annotations

import pytest

from rnnsweep.report.statistics import censored_median, wilson


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.27753),  # z²/(n + z²) with z² = 3.84146
        (10, 10, 0.72247, 1.0),  # its mirror image
        (5, 10, 0.23659, 0.76341),  # ½ ± z/√(n + z²) / 2
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson(k, n, low, high):
    assert wilson(k, n) == pytest.approx((low, high), abs=1e-5)


def test_wilson_lies_around_the_share():
    for n in range(1, 30):
        for k in range(n + 1):
            low, high = wilson(k, n)
            assert 0 <= low <= k / n <= high <= 1


@pytest.mark.parametrize(
    ("values", "total", "expected"),
    [
        ([], 0, None),
        ([5.0], 1, 5.0),
        ([5.0], 2, 5.0),
        ([5.0], 3, None),
        ([9.0, 5.0], 3, 9.0),
        ([3.0, 1.0, 2.0], 3, 2.0),
    ],
)
def test_censored_median(values, total, expected):
    assert censored_median(values, total) == expected
