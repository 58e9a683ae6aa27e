"""The censored median against values worked out by hand."""

from __future__ import annotations

import pytest

from rnnsweep.sweep.censoring import censored_median


@pytest.mark.parametrize(
    ("values", "total", "expected"),
    [
        ([], 0, None),
        ([5.0], 1, 5.0),
        ([5.0], 2, 5.0),
        ([5.0], 3, None),
        ([9.0, 5.0], 3, 9.0),
        ([3.0, 1.0, 2.0], 3, 2.0),
        ([100, 200], 4, 200),  # two of four never solved: half of them had by 200
        ([1, 2, 3, 4], 4, 2),  # the lower of the two in the middle
    ],
)
def test_censored_median(values, total, expected):
    assert censored_median(values, total) == expected
