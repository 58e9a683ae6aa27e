"""Races as the machine runs them: what is started, what is not, and that nothing depends on how it was run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.command_batch import CommandBatch
from rnnsweep.sweep.events import Command, Tick, TrialRequest
from rnnsweep.sweep.plan import Racing, SweepPlan
from rnnsweep.sweep.ports import PutVerdict
from rnnsweep.sweep.races import decide
from rnnsweep.sweep.rebuild import Records, Reopen, rebuild
from rnnsweep.sweep.records import OpenTrial, Row, SweepMemory
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.trial_requests import obey
from rnnsweep.sweep.verdicts import START
from tests.kit.plans import plan
from tests.kit.sampler import ScriptedSampler
from tests.kit.trainer import Faults
from tests.sweep.simulation import World
from tests.sweep.test_machine import SweepMachine, pruned_above

FAULTS = Faults(
    diverges=lambda trial, replica, rung: trial == 2 and replica == 1 and rung == 2,
    solves=lambda trial, replica, rung: trial == 3 and rung == 2 + replica,
)


def racing(trials: int = 8, replicas: int = 5, **changes: Any) -> SweepPlan:
    given = {"racing": Racing(0.6, 1), "retries": 1000, **changes}
    return plan(trials, replicas=replicas, **given)


def started(world: World) -> dict[int, int]:
    """Replicas that have trained, by trial."""
    return {view.number: len({r for t, r, _ in world.ledger.row_reports if t == view.number}) for view in views(world)}


def views(world: World) -> list[Any]:
    return world.ledger.trials("s")


def test_who_has_lost_gets_no_more_replicas_and_is_pruned_at_its_end() -> None:
    world = World(racing())
    assert world.run().exit_code == 0
    counts = started(world)
    lost = [view for view in views(world) if view.state is TrialState.PRUNED]
    assert lost
    for view in views(world):
        starts = [
            count for trial, count, verdict in world.ledger.verdict_list if (trial, verdict) == (view.number, START)
        ]
        assert starts == list(range(3, counts[view.number] + 1))  # each block is a verdict of its own
        if view.state is TrialState.COMPLETE:
            assert counts[view.number] == 5
            continue
        assert counts[view.number] in (2, 3, 4)
        assert f"raced out with {counts[view.number]} of 5 replicas" in view.reason
        # its objective is of the replicas that it has, all of them at their ends
        last = [world.ledger.row_reports[view.number, replica, 4] for replica in range(counts[view.number])]
        mean = sum(report.metrics["valid/error"] for report in last) / len(last)
        assert view.values == (pytest.approx(mean),)
        assert view.step == 40


def test_the_rungs_before_the_last_are_of_the_first_replicas_and_the_last_is_of_all() -> None:
    world = World(racing(1, replicas=3))
    world.run()
    error = lambda replica, rung: world.ledger.row_reports[0, replica, rung].metrics["valid/error"]  # noqa: E731
    assert [rung for _, rung in world.ledger.rungs] == [1, 2, 3, 4]
    assert world.ledger.rungs[0, 3].values == (pytest.approx((error(0, 3) + error(1, 3)) / 2),)
    assert world.ledger.rungs[0, 4].values == (pytest.approx(sum(error(r, 4) for r in range(3)) / 3),)


def test_late_replicas_that_train_longer_than_the_first_ones_bring_further_rungs() -> None:
    world = World(racing(1, replicas=3), faults=Faults(solves=lambda trial, replica, rung: replica < 2 and rung == 2))
    assert world.run().exit_code == 0
    assert [(rung, put.step) for (_, rung), put in world.ledger.rungs.items()] == [(1, 10), (2, 20), (3, 30), (4, 40)]
    assert views(world)[0].unsolved == 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), kill=st.floats(0.0, 0.15), workers=st.integers(1, 4), slots=st.integers(1, 9))
def test_no_race_depends_on_kills_workers_or_who_was_faster(seed: int, kill: float, workers: int, slots: int) -> None:
    calm = World(racing(), rule=pruned_above(0.9), faults=FAULTS)
    calm.run()
    wild = World(racing(), rule=pruned_above(0.9), faults=FAULTS, seed=seed, kill=kill, workers=workers, slots=slots)
    assert wild.run().exit_code == 0
    assert wild.table() == calm.table()
    assert [view.reason for view in views(wild)] == [view.reason for view in views(calm)]
    assert wild.curves() == calm.curves()
    assert wild.rungs() == calm.rungs()
    assert sorted(wild.ledger.verdict_list) == sorted(calm.ledger.verdict_list)


@pytest.mark.parametrize("step", [1, 3])
def test_killed_after_any_commit_and_resumed_equals_undisturbed(step: int) -> None:
    sweep = racing(5, replicas=4)
    calm = World(sweep, faults=FAULTS, rule=pruned_above(0.9))
    assert calm.run().exit_code == 0
    assert {view.state for view in views(calm)} == {TrialState.COMPLETE, TrialState.PRUNED}
    for first in range(1 + step, calm.ledger.commits + 1, 5):
        world = World(sweep, faults=FAULTS, rule=pruned_above(0.9), seed=first)
        world.run_through_kills(first, step, most=80)
        assert world.table() == calm.table()
        assert world.curves() == calm.curves()
        assert world.rungs() == calm.rungs()
        assert sorted(world.ledger.verdict_list) == sorted(calm.ledger.verdict_list)


def at_look(state: TrialState, *, known: int, attempts: int = 1) -> SweepMemory:
    """Trial 1 is at its first look; of trial 0 as many replicas are known."""
    memory, _ = rebuild(racing(3), 1, 0.0, Records())
    assert memory.races is not None
    for number in range(2):
        memory.open[number] = OpenTrial(number, {}, [Row(0), Row(1)], attempts=1, state=TrialState.RUNNING)
    memory.open[0].state, memory.open[0].attempts, memory.last_number = state, attempts, 1
    memory.counts[state] += 1
    memory.counts[TrialState.RUNNING] += 1
    if known:
        memory.races.note(0, [0.0] * known)
    memory.races.note(1, [0.0, 0.0])
    memory.at_look.add(1)
    return memory


@pytest.mark.parametrize(
    ("state", "known", "attempts", "decided"),
    [
        (TrialState.RUNNING, 0, 1, False),
        (TrialState.WAITING, 0, 1, False),  # its attempt was lost
        (TrialState.RUNNING, 2, 1, True),
        (TrialState.PAUSED, 0, 1, True),  # a user's wish: it may never go on
        (TrialState.WAITING, 0, 0, True),  # for the result of another trial, which is looked at itself
    ],
)
def test_who_is_waited_for(state: TrialState, known: int, attempts: int, decided: bool) -> None:
    memory, out = at_look(state, known=known, attempts=attempts), list[Command]()
    decide(memory, out)
    assert (PutVerdict(1, 3, START) in out) == decided
    assert len(memory.open[1].rows) == 2 + decided
    assert (1 in memory.at_look) != decided


def test_a_trial_that_has_never_had_a_place_is_waited_for() -> None:
    memory, out = at_look(TrialState.WAITING, known=0, attempts=0), list[Command]()
    memory.queue.append(0)
    decide(memory, out)
    assert not out


def test_a_trial_that_a_user_ends_is_nobodys_rival_any_more() -> None:
    memory = at_look(TrialState.RUNNING, known=2)
    assert memory.races is not None
    obey(memory, TrialRequest("end_trial", 0), [])
    assert memory.races.known(0) == 0


def test_a_race_is_not_extended() -> None:
    with pytest.raises(ConfigError, match=r"--extend: lets no trial go on in a sweep with racing\.level"):
        rebuild(racing(), 1, 0.0, Records(), Reopen(extend=True))


class RacingMachine(SweepMachine):
    """Random histories of races; a driver may die between two commits."""

    def planned(self, trials: int, replicas: int, points: int) -> SweepPlan:
        return racing(trials + 1, replicas + 2, retries=2, repeat=points > 2)

    def records(self) -> Records:
        reports: dict[int, list[RowReport]] = {}
        for report in self.ledger.reports("s"):
            reports.setdefault(report.trial, []).append(report)
        return Records(None, self.ledger.trials("s"), self.ledger.attempts("s"), reports, self.ledger.verdicts("s"))

    @rule()
    def resume(self) -> None:
        self.fence = self.ledger.acquire("s", "test", 0.0)
        before = self.batch.memory
        memory, commands = rebuild(before.plan, self.fence, 0.0, self.records())
        assert memory.open.keys() == before.open.keys()
        assert memory.races is not None
        assert before.races is not None
        for number in range(8):
            assert memory.races.known(number) == before.races.known(number)
        for number, trial in memory.open.items():
            assert (trial.rung, len(trial.rows)) == (before.open[number].rung, len(before.open[number].rows))
        # what a user has paused is looked at later: the rest stands where it stood
        assert memory.at_look == before.at_look
        self.losses += 1  # whoever was running begins another attempt
        self.batch = CommandBatch(memory, ScriptedSampler(), self)
        self.batch.execute(commands)
        self.trainers, self.orders = {}, {}
        self.feed(Tick(1.0, 0.0))


RacingMachine.TestCase.settings = SweepMachine.TestCase.settings
TestRacingMachine = RacingMachine.TestCase
