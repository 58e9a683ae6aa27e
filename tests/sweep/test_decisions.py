"""A scheduler in whole sweeps: what its decisions cost, what users may do about them, what a resume makes of them."""

from __future__ import annotations

from collections import Counter

import pytest

from rnnsweep.sweep import machine
from rnnsweep.sweep.events import Asked, Tick
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.ports import PutVerdict, RungTrained, WorkerJoined
from rnnsweep.sweep.rebuild import Records, Reopen, rebuild
from rnnsweep.sweep.rows import RowReport, WorkerInfo
from rnnsweep.sweep.schedulers.asha import Asha
from rnnsweep.sweep.schedulers.base import SchedulerUnit
from rnnsweep.sweep.schedulers.brackets import HyperbandBrackets
from rnnsweep.sweep.schedulers.pasha import Pasha
from rnnsweep.sweep.states import SweepState, TrialState
from rnnsweep.sweep.verdicts import PAUSE, PROMOTE
from rnnsweep.sweep.views import BY_SCHEDULER, BY_USER
from tests.kit.plans import plan
from tests.kit.trainer import Faults
from tests.sweep.simulation import World, after

UNITS = [Asha(eta=2), Asha(eta=2, stop=True), Pasha(eta=2), HyperbandBrackets(eta=2)]
PLAN = plan(16, updates=160)  # 16 rungs: milestones with eta = 2 at rungs 1, 2, 4, 8


def world(scheduler: SchedulerUnit, sweep=PLAN, **changes) -> World:
    return World(sweep, scheduler=scheduler, **changes)


def consistent(one: World, *, swept: bool = True) -> None:
    """Whatever happened: every trial has ended where its verdicts say, and nothing is left of what lies beyond.

    But for the files of a worker, or for a driver, that died between a verdict and its order: then `swept` is false.
    """
    paused = {(number, rung) for number, rung, verdict in one.ledger.verdict_list if verdict == PAUSE}
    promoted = {(number, rung) for number, rung, verdict in one.ledger.verdict_list if verdict == PROMOTE}
    for view in one.ledger.trials("s"):
        assert view.state.finished
        assert view.paused_by is None
        waits = (view.number, view.rung) in paused - promoted
        assert waits == view.reason.startswith("not promoted beyond"), view
        assert (view.state is TrialState.COMPLETE) <= (view.step == 160)
    reached = {(number, rung) for number, rung in one.ledger.rungs}
    assert paused <= reached
    ends = {view.number: view.rung for view in one.ledger.trials("s") if view.state is TrialState.PRUNED}
    beyond = [key for key, files in one.disk.items() for rung in files if rung > ends.get(key[0], rung)]
    assert beyond == [] or not swept
    assert all(rung <= ends.get(trial, rung) for trial, _, rung in one.ledger.row_reports)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: repr(unit))
def test_every_trial_ends_and_only_the_best_train_to_the_end(unit: SchedulerUnit) -> None:
    for seed in range(4):
        one = world(unit, seed=seed, slots=6)
        outcome = one.run()
        assert (outcome.state, outcome.exit_code) == (SweepState.COMPLETE, 0)
        consistent(one)
        states = Counter(one.states())
        assert 1 <= states[TrialState.COMPLETE] < 16
        assert states[TrialState.FAILED] == 0
        # what was trained is what is counted: less than half of what 16 whole trials of two replicas take
        assert (
            0 < one.ledger.sweep_views["s"].updates < 16 * 2 * 160 / (1 if isinstance(unit, HyperbandBrackets) else 2)
        )


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: repr(unit))
def test_killed_at_any_commit_it_goes_on_and_takes_no_verdict_twice(unit: SchedulerUnit) -> None:
    """The ledger of the test kit refuses a second verdict; slots are few, so that promoted trials wait for a place."""
    calm = world(unit, slots=6)
    calm.run()
    for first in range(1, calm.ledger.commits, 3):
        one = world(unit, slots=6, seed=first)
        one.run_through_kills(first, 7, most=40)
        consistent(one, swept=False)
        assert not any(view.charged for view in one.ledger.trials("s"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: repr(unit))
def test_workers_that_die_change_nothing_of_that(unit: SchedulerUnit) -> None:
    for seed in range(6):
        one = world(unit, plan(12, updates=160, retries=1000), slots=5, seed=seed, kill=0.1, workers=3)
        assert one.run().exit_code == 0
        consistent(one, swept=False)


def test_the_best_goes_on_though_it_has_trained_up_to_the_next_competition_already() -> None:
    memory, _ = rebuild(plan(1, updates=80, replicas=1), 1, 0.0, Records(), None, Asha(eta=2))
    machine.step(memory, Tick(1.0, 0.0))
    machine.step(memory, Asked(0, {"x": 0.5}))
    machine.step(memory, WorkerJoined(WorkerInfo("w", "n", "cpu", "", 4)))
    token = memory.open[0].token
    reports = [RowReport(0, 0, token, rung, 10 * rung, {"valid/error": 0.5}) for rung in (1, 2)]
    out = machine.step(memory, RungTrained("w", tuple(reports)))
    verdicts = [(put.rung, put.verdict) for put in out if isinstance(put, PutVerdict)]
    assert verdicts == [(1, PAUSE), (1, PROMOTE), (2, PAUSE), (2, PROMOTE)]
    assert (memory.stopping, memory.open[0].state) == (None, TrialState.RUNNING)


def test_rows_that_wait_hold_no_slot_and_the_sampler_learns_from_them() -> None:
    one = world(Asha(eta=4), slots=2, workers=1)  # one trial of two replicas at a time
    one.run()
    consistent(one)
    told = [view.number for view in one.sampler.told]
    assert all(view.state.finished for view in one.sampler.told)
    assert Counter(told)[0] >= 2  # when it was paused, and when it had ended
    # each ask came after the trials before it were paused
    assert [view.informed_by > 0 for view in one.ledger.trials("s")][4:] == [True] * 12


def test_a_trial_that_a_user_holds_is_promoted_and_stays_until_it_is_let_go() -> None:
    one = world(Asha(eta=2), slots=4, workers=1)
    held: list[int] = []

    def hold() -> None:
        view = next((v for v in one.ledger.trials("s") if v.paused_by == BY_SCHEDULER), None)
        if view is not None and not held:
            held.append(view.number)
            one.ledger.post("s", "pause_trial", {"trial": view.number, "reopened": 0})

    class Holding(after(1, lambda: None)):  # type: ignore[misc]
        def poll(self, timeout: float):
            hold()
            return super().poll(timeout)

    outcome = one.run(executor=Holding(one.trainer, 1))
    assert held
    view = one.ledger.trials("s")[held[0]]
    assert (outcome.state, outcome.exit_code) == (SweepState.STOPPED, 3)
    assert (view.state, view.paused_by) == (TrialState.PAUSED, BY_USER)
    assert f"only paused trials are left: {held[0]};" in outcome.reason
    # the others wait too: one that is let go may be followed by others
    others = [v for v in one.ledger.trials("s") if v.paused_by == BY_SCHEDULER]
    assert others
    rung = view.rung
    outcome = one.run(reopen=Reopen(trials=(held[0],)))
    assert outcome.state is SweepState.COMPLETE
    consistent(one)
    assert one.ledger.trials("s")[held[0]].rung > rung
    assert [v for v in one.ledger.verdict_list if v[:2] == (held[0], rung)][-1][2] == PROMOTE


def test_unpausing_what_the_scheduler_has_paused_promotes_it() -> None:
    one = world(Asha(eta=4), slots=4, workers=1)
    asked: list[tuple[int, int]] = []

    class Asking(after(1, lambda: None)):  # type: ignore[misc]
        def poll(self, timeout: float):
            view = next((v for v in one.ledger.trials("s") if v.paused_by == BY_SCHEDULER), None)
            if view is not None and not asked:
                asked.append((view.number, view.rung))
                one.ledger.post("s", "unpause_trial", {"trial": view.number, "reopened": 0})
            return super().poll(timeout)

    assert one.run(executor=Asking(one.trainer, 1)).exit_code == 0
    consistent(one)
    assert asked
    assert [v for v in one.ledger.verdict_list if v[:2] == asked[0]][-1][2] == PROMOTE
    assert one.ledger.trials("s")[asked[0][0]].rung > asked[0][1]


def test_a_trial_that_waits_and_is_ended_by_a_user_leaves_no_checkpoint_beyond_its_rung() -> None:
    one = world(Asha(eta=4), slots=4, workers=1)
    ended: list[int] = []

    class Ending(after(1, lambda: None)):  # type: ignore[misc]
        def poll(self, timeout: float):
            view = next((v for v in one.ledger.trials("s") if v.paused_by == BY_SCHEDULER), None)
            if view is not None and not ended:
                ended.append(view.number)
                one.ledger.post("s", "end_trial", {"trial": view.number, "reopened": 0})
            return super().poll(timeout)

    one.run(executor=Ending(one.trainer, 1))
    view = one.ledger.trials("s")[ended[0]]
    assert (view.state, view.reason, view.rung) == (TrialState.PRUNED, "ended by request", 1)
    files = {rung for key, rungs in one.disk.items() if key[0] == view.number for rung in rungs}
    assert max(files) == 1


def test_more_trials_later_compete_with_those_of_before() -> None:
    one = world(Asha(eta=2), plan(6, updates=160))
    one.run()
    before = {v.number: v.state for v in one.ledger.trials("s")}
    one.plan = plan(20, updates=160)
    assert one.run().exit_code == 0
    consistent(one)
    assert len(one.states()) == 20
    assert {number: one.states()[number] for number in before} == before  # what has ended has ended
    first = [one.ledger.rungs[number, 1].values[0] for number in range(20)]
    paused = {number for number, rung, verdict in one.ledger.verdict_list if (rung, verdict) == (1, PAUSE)}
    # none of the first level's better half was left behind among the new ones
    half = sorted(range(20), key=lambda number: (first[number], number))[:10]
    promoted = {number for number, rung, verdict in one.ledger.verdict_list if (rung, verdict) == (1, PROMOTE)}
    assert not [number for number in half if number >= 6 and number in paused - promoted]


def test_an_extension_adds_milestones_for_those_that_go_on() -> None:
    one = world(Asha(eta=2), plan(6, updates=80))  # milestones at rungs 1, 2, 4
    one.run()
    complete = [v.number for v in one.ledger.trials("s") if v.state is TrialState.COMPLETE]
    one.plan = plan(6, updates=160)
    assert one.run(reopen=Reopen(extend=True)).exit_code == 0
    consistent(one)
    views = one.ledger.trials("s")
    assert [v.step for v in views if v.state is TrialState.COMPLETE] == [160]
    assert all("objective@80" in views[number].extra for number in complete)


def test_several_objectives_are_scheduled_and_one_whose_trials_all_fail_ends_failed() -> None:
    several = plan(16, updates=160, objectives=(Objective("valid/error"), Objective("train/loss")))
    for among in ("epsilon_net", "hypervolume"):
        one = world(Asha(eta=2, among=among), several)
        assert one.run().exit_code == 0
        consistent(one)
        assert all(len(v.values) == 2 for v in one.ledger.trials("s"))
    broken = world(Asha(eta=2), plan(2, updates=160), faults=Faults(refused=lambda params: "too much"))
    assert broken.run().state is SweepState.FAILED


def test_diverged_and_solved_trials_are_results_and_a_winner_is_still_looked_for() -> None:
    faults = Faults(
        diverges=lambda trial, replica, rung: trial % 3 == 0 and rung == 1,
        solves=lambda trial, replica, rung: trial == 5 and rung == 3,
    )
    one = world(Asha(eta=4), plan(6, updates=160), faults=faults)
    assert one.run().exit_code == 0
    views = one.ledger.trials("s")
    assert {views[0].state, views[3].state} == {TrialState.COMPLETE}
    # fewer than eta have come to rung 1 and not diverged: the best of them goes on when all is drained
    assert any(v.state is TrialState.COMPLETE and not v.diverged_share for v in views)


def test_a_budget_of_device_time_leaves_trials_waiting_for_a_resume() -> None:
    one = world(Asha(eta=2), plan(16, updates=160, device_s=0.06))
    outcome = one.run()
    assert "budget.device_s" in outcome.reason
    assert any(v.paused_by == BY_SCHEDULER for v in one.ledger.trials("s"))
    one.plan = plan(16, updates=160, device_s=10.0)
    assert one.run().exit_code == 0
    consistent(one)
