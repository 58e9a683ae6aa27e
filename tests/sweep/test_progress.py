"""What a person who waits is told."""

from __future__ import annotations

import pytest

from rnnsweep.sweep.progress import Rate, progress
from rnnsweep.sweep.rebuild import Records, rebuild
from rnnsweep.sweep.states import TrialState
from tests.kit.plans import plan


def test_a_rate_needs_two_points_and_forgets_what_is_older_than_its_window() -> None:
    rate = Rate(window=10.0)
    assert rate.add(0.0, 0) == 0.0
    assert rate.add(0.0, 5) == 0.0  # no time has passed
    assert rate.add(1.0, 100) == 100.0
    for second in range(2, 40):
        last = rate.add(float(second), 100 + second)
    assert last == pytest.approx(1.0)


def test_time_left_counts_what_is_trained_already_and_is_unknown_without_a_rate_or_a_limit() -> None:
    memory, _ = rebuild(plan(3, updates=40), 1, 0.0, Records())
    assert progress(memory, 0.0).left_s is None
    assert progress(memory, 24.0).left_s == 3 * 2 * 40 / 24.0
    memory.counts[TrialState.COMPLETE] = 2
    seen = progress(memory, 8.0)
    assert (seen.left_s, seen.total, seen.best, seen.trials[TrialState.COMPLETE]) == (10.0, 3, None, 2)
    endless, _ = rebuild(plan(None), 1, 0.0, Records())
    assert progress(endless, 10.0).left_s is None
