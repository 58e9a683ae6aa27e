"""The range of clipping thresholds of Pascanu et al."""

from __future__ import annotations

import math

from rnnsweep.core.metrics.clipping_range import threshold_range


def test_half_to_ten_times_the_mean_of_what_is_finite():
    assert threshold_range([2.0, 4.0, math.inf, math.nan]) == (1.5, 30.0)
    assert threshold_range([]) is None
    assert threshold_range([math.nan]) is None
