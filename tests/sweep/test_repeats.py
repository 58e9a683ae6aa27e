"""A point is trained once: later trials of it get its result, wait for it, or train it where it failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Budget, SweepPlan
from rnnsweep.sweep.rebuild import Reopen
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import SweepState, TrialState
from tests.kit.ledger import Killed, kill_at
from tests.kit.plans import plan
from tests.kit.sampler import ScriptedSampler
from tests.kit.trainer import Faults
from tests.sweep.simulation import World, after

C, P, F = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED


def once(trials: int | None = 4, **changes) -> SweepPlan:
    return plan(trials, **{"repeat": False, "replicas": 1, **changes})


def scripted(*points: float, rule=None) -> ScriptedSampler:
    return ScriptedSampler(lambda number: {"x": points[number]} if number < len(points) else None, rule)


def trained(world: World) -> list[int]:
    """Trials that took device time."""
    return sorted({trial for trial, _, _ in world.ledger.row_reports})


def same_as(world: World) -> list[int | None]:
    return [view.same_as for view in world.ledger.trials("s")]


def test_a_result_is_taken_over_to_the_bit_and_costs_nothing() -> None:
    world = World(once(), slots=1, workers=1)
    told = scripted(0.1, 0.2, 0.1, 0.1)
    assert world.run(sampler=told).reason == "all 4 trials finished"
    first, _, third, last = views = world.ledger.trials("s")
    assert (trained(world), same_as(world)) == ([0, 1], [None, None, 0, 0])
    for copy in (third, last):
        for field in ("state", "values", "step", "rung", "solved_at", "unsolved", "diverged_at", "engine"):
            assert getattr(copy, field) == getattr(first, field)
        assert copy.reason == "same point as trial 0: its result was taken over"
        assert (copy.attempts, copy.charged, copy.token) == (0, 0, "")
        assert copy.finished is not None and copy.started is not None
    rungs = world.ledger.rungs  # what mirrors show of them: the last rung
    assert {key for key in rungs if key[0] > 1} == {(2, first.rung), (3, first.rung)}
    assert rungs[2, first.rung].metrics == rungs[0, first.rung].metrics
    assert world.ledger.sweep("s").updates == 2 * 40  # type: ignore[union-attr]
    assert sorted(view.number for view in told.told) == [view.number for view in views]


def test_equal_to_what_a_training_would_have_given() -> None:
    points = (0.1, 0.2, 0.1, 0.2, 0.3)
    again, taken = World(once(5, repeat=True)), World(once(5))
    for world in (again, taken):
        world.faults = Faults(solves=lambda trial, replica, rung: rung == 3)
        world.run(sampler=scripted(*points))
    assert taken.table() == again.table()
    assert (trained(again), trained(taken)) == ([0, 1, 2, 3, 4], [0, 1, 4])


def test_a_trial_waits_for_one_that_trains_its_point_and_takes_no_place() -> None:
    world = World(once(4), slots=2, workers=1)
    world.run(sampler=scripted(0.1, 0.1, 0.1, 0.2))
    assert (trained(world), same_as(world)) == ([0, 3], [None, 0, 0, None])
    begun = {view.trial: view.started for view in world.ledger.attempts("s")}
    assert begun[0] == begun[3]  # two places: those that wait were in nobody's way


def test_pruned_is_taken_over_too_and_a_trial_that_a_user_ended_is_not() -> None:
    world = World(once(3), slots=1, workers=1)
    world.run(sampler=scripted(0.9, 0.9, 0.1, rule=lambda number, step, value: number == 0 and step == 20))
    assert (world.states(), same_as(world)) == ([P, P, C], [None, 0, None])
    assert world.ledger.trials("s")[1].step == 20

    world = World(once(2), slots=1, workers=1)
    end = after(3, lambda: world.ledger.post("s", "end_trial", {"trial": 0}))
    world.run(executor=end(world.trainer, 1), sampler=scripted(0.1, 0.1))
    assert (world.states(), same_as(world), trained(world)) == ([P, C], [None, None], [0, 1])


def test_whoever_waits_for_a_trial_that_fails_is_trained_in_its_place() -> None:
    world = World(
        once(3), slots=1, workers=1, faults=Faults(bug=lambda trial, replica, rung: "bug" if trial == 0 else "")
    )
    world.run(sampler=scripted(0.1, 0.1, 0.1))
    assert (world.states(), same_as(world)) == ([F, C, C], [None, None, 1])


@pytest.mark.parametrize("commit", range(2, 14))
def test_killed_at_any_commit_nobody_is_trained_twice_or_lost(commit: int) -> None:
    points = (0.1, 0.2, 0.1, 0.3, 0.2, 0.1)
    rule = lambda number, step, value: number == 1 and step == 20  # noqa: E731
    calm = World(once(6), slots=1, workers=1)
    calm.run(sampler=scripted(*points, rule=rule))
    world = World(once(6), slots=1, workers=1)
    world.ledger.before_commit = kill_at(commit)
    with pytest.raises(Killed):
        world.run(sampler=scripted(*points, rule=rule))
    world.ledger.before_commit = None
    world.run(sampler=scripted(*points, rule=rule))
    assert (world.table(), same_as(world)) == (calm.table(), same_as(calm))
    assert trained(world) == trained(calm) == [0, 1, 3]


def test_who_waits_for_a_paused_trial_waits_and_the_sweep_says_what_would_go_on() -> None:
    world = World(once(2), slots=1, workers=1)
    pause = after(3, lambda: world.ledger.post("s", "pause_trial", {"trial": 0}))
    outcome = world.run(executor=pause(world.trainer, 1), sampler=scripted(0.1, 0.1))
    assert outcome.state is SweepState.STOPPED
    assert outcome.reason.startswith("only paused trials are left: 0;")
    assert world.run(reopen=Reopen(trials=(0,)), sampler=scripted(0.1, 0.1)).exit_code == 0
    assert (world.states(), same_as(world)) == ([C, C], [None, 0])


def test_one_that_was_paused_before_it_began_asks_again_when_it_goes_on() -> None:
    world = World(once(2), slots=1, workers=1)
    pause = after(2, lambda: world.ledger.post("s", "pause_trial", {"trial": 1}))
    assert world.run(executor=pause(world.trainer, 1), sampler=scripted(0.1, 0.1)).state is SweepState.STOPPED
    assert world.states() == [C, TrialState.PAUSED]
    world.run(reopen=Reopen(trials=(1,)), sampler=scripted(0.1, 0.1))
    assert (world.states(), same_as(world), trained(world)) == ([C, C], [None, 0], [0])


def test_a_result_of_a_smaller_budget_or_other_code_is_none() -> None:
    world = World(once(1, updates=20))
    world.run(sampler=scripted(0.1))
    world.plan = once(2)  # 40 updates
    world.run(sampler=scripted(0.1, 0.1))
    assert (same_as(world), world.ledger.trials("s")[1].step) == ([None, None], 40)

    world = World(once(1))
    world.run(sampler=scripted(0.1))
    world.plan = once(2, fingerprint=1)
    world.run(sampler=scripted(0.1, 0.1))
    assert (same_as(world), trained(world)) == ([None, None], [0, 1])


def test_a_result_of_an_earlier_session_is_taken_over_with_its_metrics() -> None:
    world = World(once(1))
    world.run(sampler=scripted(0.1))
    world.plan = once(3)
    world.run(sampler=scripted(0.1, 0.1, 0.2))
    assert (same_as(world), trained(world)) == ([None, 0, None], [0, 2])
    rungs, last = world.ledger.rungs, world.ledger.trials("s")[0].rung
    assert rungs[1, last].metrics == rungs[0, last].metrics


def test_what_took_a_result_over_is_not_extended_but_its_source() -> None:
    world = World(once(2, updates=20))
    world.run(sampler=scripted(0.1, 0.1))
    world.plan = once(2, updates=40)
    world.run(reopen=Reopen(extend=True), sampler=scripted(0.1, 0.1))
    assert [view.step for view in world.ledger.trials("s")] == [40, 20]
    with pytest.raises(ConfigError, match="the result of trial 0, which can go on"):
        world.run(reopen=Reopen(trials=(1,), extend=True))


def test_an_enqueued_point_that_was_trained_is_taken_over() -> None:
    world = World(once(2))
    world.run(sampler=scripted(0.125, 0.2))
    world.ledger.post("s", "enqueue", {"points": [{"x": 0.125}]})
    world.plan = once(3)
    world.run(sampler=scripted(0.125, 0.2, 0.3))
    view = world.ledger.trials("s")[2]
    assert (view.same_as, view.enqueued) == (0, True)


THREE = Space((Dimension("x", "categorical", choices=(0.1, 0.2, 0.3)),))


def test_a_space_that_is_used_up_ends_the_sweep_with_a_word() -> None:
    world = World(once(None, space=THREE), slots=2, workers=1)
    cycle = ScriptedSampler(lambda number: {"x": (0.1, 0.1, 0.2, 0.3)[number % 4]})
    outcome = world.run(sampler=cycle)
    assert (outcome.state, outcome.reason) == (SweepState.COMPLETE, "the space is used up: 4 trials")
    assert len(cycle.asked) == 4  # asks that were on their way are not put to the sampler
    # a resume has nothing to do, and points that a user gives are taken over, one by one
    world.ledger.post("s", "enqueue", {"points": [{"x": 0.3}, {"x": 0.2}]})
    assert world.run(sampler=ScriptedSampler(cycle.point)).reason == "the space is used up: 6 trials"
    assert (same_as(world), trained(world)) == ([None, 0, None, None, 3, 2], [0, 2, 3])
    assert world.run(sampler=ScriptedSampler(cycle.point)).reason == "the space is used up: 6 trials", "nothing waits"


def test_a_sampler_that_finds_nothing_new_ends_the_sweep_with_a_word() -> None:
    world = World(once(None, space=THREE))
    outcome = world.run(sampler=ScriptedSampler(lambda number: {"x": 0.1}))
    assert outcome.state is SweepState.COMPLETE
    assert "the last 100 points were known, 1 of 3 tried; 101 trials" in outcome.reason
    assert trained(world) == [0]


def test_points_may_be_trained_again_where_that_is_asked_for() -> None:
    world = World(replace(once(5, space=THREE), repeat=True))
    assert world.run(sampler=ScriptedSampler(lambda number: {"x": 0.1})).reason == "all 5 trials finished"
    assert trained(world) == [0, 1, 2, 3, 4]


def test_a_budget_that_was_reached_is_the_reason_all_the_same() -> None:
    world = World(once(3, space=THREE, budget=Budget(3, 40)))
    cycle = ScriptedSampler(lambda number: {"x": (0.1, 0.2, 0.3)[number]})
    assert world.run(sampler=cycle).reason == "all 3 trials finished"
