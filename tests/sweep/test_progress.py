"""What a person who waits is told."""

from __future__ import annotations

import pytest

from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.progress import Rate, progress
from rnnsweep.sweep.rebuild import Records, rebuild
from rnnsweep.sweep.records import OpenTrial, Row, SweepMemory
from rnnsweep.sweep.rungs import remember_best
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


def training(memory: SweepMemory, number: int, steps: tuple[int, int], *values: float) -> None:
    rows = [Row(replica, worker="w", step=step) for replica, step in enumerate(steps)]
    memory.open[number] = OpenTrial(number, {}, rows, TrialState.RUNNING, values=values, step=min(steps))
    memory.counts[TrialState.RUNNING] += 1


def test_updates_are_counted_not_trials() -> None:
    """Four trials of two replicas and 40 updates: one has ended, one stands at 20 and 35 of 40."""
    memory, _ = rebuild(plan(4, updates=40), 1, 0.0, Records())
    memory.counts[TrialState.PRUNED] = 1
    training(memory, 1, (20, 35))
    seen = progress(memory, 1.0)
    assert seen.whole == 4 * 2 * 40
    assert seen.shares[TrialState.PRUNED] == 1 / 4
    assert seen.shares[TrialState.RUNNING] == 55 / 320
    assert seen.in_training == (10 + 5) / 320  # a rung is 10 updates, and the second row has 5 left


@pytest.mark.parametrize(("goal", "value"), [("minimize", 0.0), ("maximize", 0.75)])
def test_an_open_trial_leads_where_it_stands_better_than_the_best_complete_one(goal: str, value: float) -> None:
    memory, _ = rebuild(plan(4, objectives=(Objective("valid/error", goal),)), 1, 0.0, Records())
    training(memory, 2, (10, 10), 0.625)
    training(memory, 3, (20, 20), value)
    assert progress(memory, 0.0).leading == (3, value, 20)
    remember_best(memory, TrialView(0, TrialState.COMPLETE, {}, (value,)))
    assert progress(memory, 0.0).leading is None  # as good is not better
    assert progress(memory, 0.0).best == (0, value)
