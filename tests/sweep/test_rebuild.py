"""Memory from the ledger: equal to what the driver had, and what users reopen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.ports import AttemptView, PutAttempt, TrialView
from rnnsweep.sweep.rebuild import Records, Reopen, load_sweep, rebuild, restore_sampler, still_waiting
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import RowState, TrialState
from tests.kit.ledger import Killed, MemoryLedger, kill_at
from tests.kit.plans import opened, plan
from tests.kit.sampler import ScriptedSampler
from tests.sweep.simulation import World


def reports(rungs: int, replicas: int = 2, last: RowState = RowState.ACTIVE) -> list[RowReport]:
    """Reports of trial 0; the last rung in the given state."""
    states = [RowState.ACTIVE] * (rungs - 1) + [last]
    return [
        RowReport(0, replica, "t", rung, 10 * rung, {"valid/error": 1 / rung}, state)
        for rung, state in enumerate(states, 1)
        for replica in range(replicas)
    ]


def records(view: TrialView, given: list[RowReport], verdicts=()) -> Records:
    return Records(None, [view], [AttemptView(0, "t", 1, 5.0)], {0: given}, verdicts)


def test_a_trial_that_was_running_waits_without_charge_and_its_attempt_is_closed() -> None:
    view = TrialView(0, TrialState.RUNNING, {"x": 1.0}, attempts=1, token="t", started=5.0)
    memory, commands = rebuild(plan(2), 2, 9.0, records(view, reports(2), [(0, 1, "keep"), (0, 2, "keep")]))
    trial = memory.open[0]
    assert (trial.state, trial.rung, trial.charged, trial.tokens) == (TrialState.WAITING, 2, 0, ("t",))
    assert [row.reported for row in trial.rows] == [2, 2]
    assert [command.view.outcome for command in commands if isinstance(command, PutAttempt)] == ["interrupted"]
    assert (memory.queue, memory.next_number) == ([0], 1)


def test_a_verdict_that_was_taken_is_applied_not_asked_for_again() -> None:
    view = TrialView(0, TrialState.RUNNING, {"x": 1.0}, attempts=1, token="t", started=5.0)
    memory, _ = rebuild(plan(2), 2, 9.0, records(view, reports(2), [(0, 1, "keep"), (0, 2, "prune")]))
    assert memory.open == {}
    assert memory.counts[TrialState.PRUNED] == 1


def test_a_replica_that_was_done_goes_on_under_a_raised_budget_only() -> None:
    view = TrialView(0, TrialState.RUNNING, {"x": 1.0}, attempts=1, token="t", started=5.0)
    given = records(view, reports(4, last=RowState.DONE))
    done, _ = rebuild(plan(2, updates=40), 2, 9.0, given)
    assert done.open == {}
    raised, _ = rebuild(plan(2, updates=90), 2, 9.0, given)
    assert all(row.waits for row in raised.open[0].rows)


def test_complete_trials_go_on_only_with_extend_and_keep_their_old_objective() -> None:
    view = TrialView(0, TrialState.COMPLETE, {"x": 1.0}, (0.25,), attempts=1, token="t", step=40, rung=4)
    given = records(view, reports(4, last=RowState.DONE))
    still, _ = rebuild(plan(1, updates=90), 2, 9.0, given)
    assert (still.open, still.best.number, still.best.value) == ({}, 0, 0.25)
    extended, _ = rebuild(plan(1, updates=90), 2, 9.0, given, Reopen(extend=True))
    assert extended.open[0].extra == {"objective@40": 0.25}
    assert extended.open[0].state is TrialState.WAITING
    for updates in (30, 40):
        with pytest.raises(ConfigError, match="extends no trial; allowed: more than 40") as error:
            rebuild(plan(1, updates=updates), 2, 9.0, given, Reopen(extend=True))
        assert (error.value.key, error.value.value) == ("budget.updates", updates)
    assert (still.extendable, extended.extendable) == (1, 0)
    solved = records(view, reports(4, last=RowState.SOLVED))
    with pytest.raises(ConfigError, match="solved the task or diverged"):
        rebuild(plan(1, updates=90), 2, 9.0, solved, Reopen(extend=True))
    assert rebuild(plan(1, updates=90), 2, 9.0, solved)[0].extendable == 0


@pytest.mark.parametrize(
    ("state", "wish", "problem"),
    [
        (TrialState.COMPLETE, Reopen(trials=(0,)), "--extend"),
        (TrialState.PRUNED, Reopen(trials=(0,), extend=True), "trial is PRUNED"),
        (TrialState.COMPLETE, Reopen(trials=(7,)), "allowed: 0 to 0"),
    ],
)
def test_a_trial_that_cannot_go_on_is_refused(state: TrialState, wish: Reopen, problem: str) -> None:
    view = TrialView(0, state, {}, (0.5,))
    with pytest.raises(ConfigError, match=problem):
        rebuild(plan(1), 2, 9.0, Records(trials=[view]), wish)


def test_memory_after_any_commit_equals_what_the_driver_had() -> None:
    """What the ledger says decides: trials, rungs and rows are those of the driver that died after that commit."""
    for at in range(1, 30, 3):
        world = World(plan(4), seed=at)
        world.ledger.before_commit = kill_at(at)
        driver = world.driver()
        try:
            driver.run()
        except Killed:
            world.ledger.before_commit = None
        memory, _, views, rungs, _ = load_sweep(world.ledger, world.plan, 9, 0.0, None)
        assert [view.number for view in views] == sorted(world.ledger.trial_views)
        for number, trial in memory.open.items():
            stored = [rung for owner, rung in world.ledger.rungs if owner == number]
            assert trial.rung == max(stored, default=0)
            assert len(rungs.get(number, [])) == len(stored)


def test_an_unknown_sweep_names_those_that_there_are() -> None:
    ledger, _ = opened(plan())
    with pytest.raises(ConfigError, match=r"no such sweep; allowed: s$"):
        load_sweep(ledger, plan(name="other"), 1, 0.0, None)


def test_several_objectives_have_no_rungs_for_the_pruner() -> None:
    ledger = MemoryLedger()
    two = plan(1, objectives=(Objective("valid/error"), Objective("valid/loss")))
    world = World(two, ledger=ledger)
    world.run()
    assert load_sweep(ledger, two, 9, 0.0, None)[3] == {}


@pytest.mark.parametrize("pairs", [True, False])
def test_replicas_reach_only_a_sampler_that_pairs_them(pairs: bool) -> None:
    sampler = ScriptedSampler()
    sampler.wants_replicas = pairs
    restore_sampler(sampler, [], {0: [(10, 0.5, (0.4, 0.6))]})
    assert sampler.values == {0: [(10, 0.5)]}
    assert sampler.replicas == ({0: [(10, (0.4, 0.6))]} if pairs else {})


def test_each_trial_stands_for_one_enqueued_point() -> None:
    view = TrialView(0, TrialState.WAITING, {"x": 1.0, "y": 2})
    views = [view, replace(view, number=1, params={"x": 3.0})]
    assert still_waiting([{"x": 1.0}, {"x": 1.0}, {"y": 5}], views) == [{"x": 1.0}, {"y": 5}]
    assert [left.number for left in views] == [1]
