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


def looked(rate: Rate, at: float, updates: int, *trained: str, busy: tuple[str, ...] = ("a",)) -> float:
    for worker in trained:
        rate.heard(worker)
    return rate.add(at, updates, busy)


def test_the_first_rung_with_its_compilation_is_no_part_of_a_rate() -> None:
    """100 updates in the first 60 s, then 100 in each second."""
    rate = Rate(window=10.0)
    assert looked(rate, 0.0, 0) == 0.0
    assert looked(rate, 60.0, 100, "a") == 0.0
    assert looked(rate, 60.5, 100) == 0.0
    assert looked(rate, 61.0, 200, "a") == 100.0
    assert looked(rate, 62.0, 300, "a") == 100.0


def test_a_rate_forgets_what_is_older_than_its_window() -> None:
    rate = Rate(window=10.0)
    looked(rate, 0.0, 100, "a")
    last = [looked(rate, float(second), 100 + 50 * min(second, 20) + second, "a") for second in range(1, 40)]
    assert last[0] == 51.0
    assert last[-1] == pytest.approx(1.0)


def test_every_worker_is_measured_before_there_is_a_rate() -> None:
    """Two workers of 10 updates per 10 s each, whose first rungs come 0.1 s apart: 2 per second, never 100."""
    rate, both = Rate(), ("a", "b")
    seen = [looked(rate, 30.0, 10, "a", busy=both), looked(rate, 30.1, 20, "b", busy=both)]
    seen += [looked(rate, 40.0, 30, "a", busy=both)]
    assert seen == [0.0, 0.0, 0.0]
    assert looked(rate, 40.1, 40, "b", busy=both) == pytest.approx(2.0)
    assert looked(rate, 41.0, 40, busy=both) == pytest.approx(2.0)  # no news is no standstill


def test_rungs_that_are_longer_than_the_window_keep_their_rate() -> None:
    """Two workers, each 60 updates per minute, 20 s apart."""
    rate, both = Rate(window=30.0), ("a", "b")
    updates, last = 0, 0.0
    for minute in range(5):
        for worker, at in (("a", 60.0 * minute), ("b", 60.0 * minute + 20)):
            updates += 60
            last = looked(rate, at, updates, worker, busy=both)
        last = looked(rate, 60.0 * minute + 59, updates, busy=both)
    assert last == pytest.approx(2.0)


def test_a_worker_that_was_lost_or_has_nothing_to_train_is_not_waited_for() -> None:
    rate, both = Rate(), ("a", "b")
    looked(rate, 0.0, 20, "a", "b", busy=both)
    assert looked(rate, 10.0, 30, "a", busy=("a",)) == 1.0


def test_a_long_first_rung_has_a_rate_when_it_has_told_twice() -> None:
    """What it tells first holds compilation; from there on 10 updates in 5 s, and the rung's end is no break."""
    rate = Rate()
    assert looked(rate, 0.0, 0) == 0.0
    assert looked(rate, 60.0, 5, "a") == 0.0
    assert looked(rate, 65.0, 15, "a") == 2.0
    assert looked(rate, 70.0, 25, "a") == 2.0
    assert looked(rate, 70.1, 25, "a") == 2.0


def test_what_is_done_within_rungs_counts_and_leaves_less_of_them() -> None:
    memory, _ = rebuild(plan(3, updates=40), 1, 0.0, Records())
    training(memory, 0, (10, 10), 0.5)
    before, seen = progress(memory, 2.0), progress(memory, 2.0, within=6)
    whole = 3 * 2 * 40
    assert seen.updates == before.updates + 6
    assert seen.shares[TrialState.RUNNING] == pytest.approx((20 + 6) / whole)
    assert before.in_training - seen.in_training == pytest.approx(min(6 / whole, before.in_training))
    assert seen.left_s == (whole - 20 - 6) / 2.0


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


def test_a_value_of_a_smaller_fidelity_leads_nobody() -> None:
    memory, _ = rebuild(plan(4, objectives=(Objective("valid/error"),)), 1, 0.0, Records())
    training(memory, 2, (10, 10), 0.5)
    training(memory, 3, (10, 10), 0.1)
    memory.open[3].full = False
    assert progress(memory, 0.0).leading == (2, 0.5, 10)


def test_a_time_to_solve_that_has_not_come_is_no_best_value() -> None:
    memory, _ = rebuild(plan(4, updates=40, objectives=(Objective("solved_at"),)), 1, 0.0, Records())
    assert not progress(memory, 0.0).unsolved
    training(memory, 1, (10, 10), 40.0)
    assert progress(memory, 0.0).unsolved
    remember_best(memory, TrialView(0, TrialState.COMPLETE, {}, (40.0,)))
    assert progress(memory, 0.0).unsolved
    remember_best(memory, TrialView(2, TrialState.COMPLETE, {}, (30.0,), solved_at=30))
    assert not progress(memory, 0.0).unsolved


def test_a_mean_with_times_that_have_not_come_is_a_bound() -> None:
    """Of an open trial it can only become smaller, as whoever has not solved counts as the budget."""
    memory, _ = rebuild(plan(4, updates=40, objectives=(Objective("solved_at"),)), 1, 0.0, Records())
    training(memory, 1, (10, 10), 30.0)
    seen = progress(memory, 0.0)
    assert (seen.leading, seen.bound, seen.unsolved) == ((1, 30.0, 10), "≤ ", False)
    remember_best(memory, TrialView(0, TrialState.COMPLETE, {}, (25.0,), solved_at=10, unsolved=1))
    assert (progress(memory, 0.0).best, progress(memory, 0.0).bound) == ((0, 25.0), "> ")
    remember_best(memory, TrialView(2, TrialState.COMPLETE, {}, (20.0,), solved_at=20))
    assert progress(memory, 0.0).bound == ""


def test_trials_that_wait_for_a_promotion_leave_nothing_to_do_most_likely() -> None:
    memory, _ = rebuild(plan(4, updates=40), 1, 0.0, Records())
    for number in range(3):
        training(memory, number, (10, 10), 0.5)
        memory.open[number].unpromoted = True
        memory.move(memory.open[number], TrialState.PAUSED)
    training(memory, 3, (20, 10), 0.5)
    seen = progress(memory, 2.0)
    assert seen.shares[TrialState.PAUSED] == 3 / 4
    assert seen.shares[TrialState.RUNNING] == 30 / 320
    assert seen.left_s == (80 - 30) / 2.0
