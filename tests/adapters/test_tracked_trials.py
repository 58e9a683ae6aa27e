"""What trackers show, and the one fact by which no point is doubled."""

from __future__ import annotations

from rnnsweep.adapters.tracked_trials import KnownPoints, TrackedSweep, TrackerFacts, kept
from rnnsweep.sweep.edits import Edit, edited
from rnnsweep.sweep.plan import Budget
from rnnsweep.sweep.space import Dimension, fixed
from tests.kit.demo_sweep import KEYS, Journal, make_plan, story


def test_a_store_knows_its_points_by_the_last_step_alone():
    known = KnownPoints()
    assert known.new(1, [("a", 10, 1.0), ("b", 10, 2.0), ("a", 10, 3.0)]) == [("a", 10, 1.0), ("b", 10, 2.0)]
    assert known.new(1, [("a", 10, 1.0), ("c", 10, 1.0), ("a", 5, 0.0), ("a", 20, 4.0)]) == [
        ("c", 10, 1.0),
        ("a", 20, 4.0),
    ]
    assert known.new(2, [("a", 10, 1.0)]) == [("a", 10, 1.0)]
    assert known.new(None, [("a", 1, 1.0)]) == [("a", 1, 1.0)]


def test_the_choice_of_points_keeps_the_last_and_no_more_than_asked():
    plan = make_plan(budget=Budget(1, 1000), report_every=10)
    steps = [10 * rung for rung in range(1, 101) if kept(plan, 7, 10 * rung)]
    assert len(steps) == 7 and steps[-1] == 1000
    assert sum(kept(plan, 100, 10 * rung) for rung in range(1, 101)) == 100


def test_what_failed_to_be_written_stays_pending_and_does_not_grow():
    sweep, changes = TrackedSweep(make_plan(), TrackerFacts(metrics=lambda: KEYS)), story()
    sweep.take(changes)
    before = {trial.number: list(trial.points) for trial in sweep.pending}
    sweep.take(changes)
    assert {trial.number: list(trial.points) for trial in sweep.pending} == before
    assert list(before) == [0, 1, 2, 3] and len(sweep.points) > 0
    sweep.written()
    assert sweep.pending == [] and sweep.points == []
    sweep.take(changes)
    assert sweep.pending == []


def test_a_replay_asks_for_no_metrics_which_need_torch():
    def refuse():
        raise AssertionError("asked")

    sweep = TrackedSweep(make_plan(), TrackerFacts(metrics=refuse))
    sweep.replay([story()])
    assert sweep.pending == [] and {trial.ended_at is not None for trial in sweep.trials.values()} == {True}
    assert sweep.trials[0].reported["objective"] == 10


def test_a_trial_that_ends_again_gets_no_second_stand_ins():
    journal = Journal()
    journal.trial(0, "RUNNING")
    journal.trial(0, "FAILED", step=0)
    journal.trial(0, "RUNNING", attempts=1)
    journal.rung(0, 1, 0.5)
    journal.trial(0, "COMPLETE", (0.5,), step=10)
    sweep = TrackedSweep(make_plan(), TrackerFacts(metrics=lambda: KEYS))
    sweep.take(journal.changes)
    points = sweep.pending[0].points
    assert sorted(key for key, step, _ in points if step == 0) == sorted(KEYS)
    assert sorted(key for key, step, _ in points if step == 10) == ["objective", "train/loss", "valid/error"]


def test_keys_that_an_edit_brought_or_took_are_among_a_trial_s_params():
    plan = make_plan()
    momentum = Dimension("optimizer.momentum", "float", 0.0, 0.9)
    edit = Edit("1", put=(momentum,), drop=("family.activation",), pins=(fixed("family.activation", "tanh"),))
    journal, point = (
        Journal(),
        {"controllers.clip.threshold": 0.5, "optimizer.momentum": 0.3, "family.activation": "tanh"},
    )
    journal.add("sweep", None, {"state": "RUNNING", "config": {"edits": [edit.entry(edited(plan, edit, 0), 1.0)]}})
    journal.trial(0, "RUNNING", params=point, space=1)
    journal.trial(0, "COMPLETE", (0.5,), params=point, space=1, same_as=None)
    sweep = TrackedSweep(plan, TrackerFacts(metrics=lambda: KEYS))
    sweep.take(journal.changes)
    assert sweep.params(sweep.trials[0]) == point
    assert sweep.plan.keys == ("controllers.clip.threshold", "optimizer.momentum", "family.activation")
    tags = sweep.tags(sweep.trials[0])
    assert (tags["space"], "same_as" in tags) == ("1", False)
