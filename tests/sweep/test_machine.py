"""Random histories on doubles: whatever happens, the promises hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rnnsweep.sweep import machine
from rnnsweep.sweep.command_batch import CommandBatch
from rnnsweep.sweep.edits import Edit
from rnnsweep.sweep.events import Asked, Judged, SpaceEdited, Tick, TrialRequest
from rnnsweep.sweep.plan import Budget, SweepPlan
from rnnsweep.sweep.ports import RungTrained, WorkerJoined, WorkerLost
from rnnsweep.sweep.rebuild import Records, Reopen, rebuild
from rnnsweep.sweep.records import SweepMemory, token
from rnnsweep.sweep.rows import RowFailure, RowReport, WorkerInfo
from rnnsweep.sweep.schedulers.asha import Asha
from rnnsweep.sweep.schedulers.base import SchedulerUnit
from rnnsweep.sweep.schedulers.halving import Halving
from rnnsweep.sweep.space import Dimension, fixed
from rnnsweep.sweep.states import RowState, SweepState, TrialState
from rnnsweep.sweep.verdicts import PAUSE, PROMOTE
from rnnsweep.sweep.views import BY_SCHEDULER, TrialView
from tests.kit.ledger import MemoryLedger
from tests.kit.plans import opened, plan
from tests.kit.sampler import ScriptedSampler
from tests.kit.trainer import Faults, SimTrainer, WorkerDeath
from tests.sweep.simulation import World


def pruned_above(limit: float):
    return lambda number, step, value: step >= 20 and value > limit


class SweepMachine(RuleBasedStateMachine):
    """Workers join, train, answer late, answer twice, die; the ledger checks each write against the tables."""

    scheduler: SchedulerUnit | None = None

    def planned(self, trials: int, replicas: int, points: int) -> SweepPlan:
        # with two points most trials have the result of another, or wait for it
        return plan(trials, replicas=replicas, retries=2, repeat=points > 2)

    @initialize(
        trials=st.integers(1, 6),
        replicas=st.integers(1, 3),
        limit=st.floats(0.2, 1.0),
        points=st.sampled_from([2, 101]),
    )
    def begin(self, trials: int, replicas: int, limit: float, points: int) -> None:
        self.plan = self.planned(trials, replicas, points)
        point = lambda number: {"x": (number * 37 % points) / points}  # noqa: E731
        self.ledger, self.fence = opened(self.plan)
        self.orders: dict[str, list] = {}
        self.disk: dict = {}
        self.trainers: dict[str, SimTrainer] = {}
        self.old: list[RungTrained] = []
        self.count = self.losses = self.wishes = 0
        self.drive(Records(), ScriptedSampler(point, pruned_above(limit)))

    def drive(self, records: Records, sampler: ScriptedSampler, reopen: Reopen | None = None) -> None:
        """A driver begins, with the plan as users have edited it."""
        plan = self.batch.memory.plan if hasattr(self, "batch") else self.plan
        memory, commands = rebuild(plan, self.fence, 0.0, records, reopen, self.scheduler)
        self.batch = CommandBatch(memory, sampler, self)
        self.batch.execute(commands)
        self.feed(Tick(1.0, 0.0))

    def most_attempts(self, view: TrialView) -> int:
        """A group displaces others once; who has paused begins again, and so does who moves to an idle worker."""
        promoted = self.verdicts(view.number, PROMOTE)
        moved = [one for one in self.ledger.attempts("s") if one.trial == view.number and one.outcome == "moved"]
        return 1 + self.losses + self.batch.memory.group_count + self.wishes + len(promoted) + len(moved)

    def trainer(self, worker: str, slots: int) -> SimTrainer:
        return SimTrainer(worker, self.disk, slots=slots)

    def order(self, worker: str, orders) -> None:  # the executor's part that a turn needs
        self.orders.setdefault(worker, []).append(orders)

    def exclude(self, node: str) -> None:
        raise AssertionError("all workers are on one node")

    def feed(self, *events) -> None:
        self.batch.take(events)
        self.batch.finish(lambda writes: self.ledger.commit("s", self.fence, writes))

    @rule(slots=st.integers(1, 5))
    def join(self, slots: int) -> None:
        if len(self.trainers) < 4:
            worker = f"w{self.count}"
            self.count += 1
            self.trainers[worker] = self.trainer(worker, slots)
            self.feed(WorkerJoined(self.trainers[worker].describe()))

    @rule(pick=st.integers(0, 99), deliver=st.sampled_from(["once", "twice", "never"]))
    def train(self, pick: int, deliver: str) -> None:
        if not self.trainers:
            return
        worker = sorted(self.trainers)[pick % len(self.trainers)]
        reports, failures = [], []
        for orders in self.orders.pop(worker, []):
            for again in (self.trainers[worker].advance(orders),):
                reports += again[0]
        event = RungTrained(worker, tuple(reports), tuple(failures))
        self.old.append(event)
        if deliver == "never":
            self.die(pick)
        else:
            self.feed(*[event] * (2 if deliver == "twice" else 1))

    @rule(pick=st.integers(0, 99))
    def die(self, pick: int) -> None:
        if self.trainers:
            worker = sorted(self.trainers)[pick % len(self.trainers)]
            del self.trainers[worker]
            self.orders.pop(worker, None)
            self.losses += 1
            self.feed(WorkerLost(worker, "node", "killed"))

    @rule(pick=st.integers(0, 99))
    def late(self, pick: int) -> None:
        """Anything that was ever said is said again."""
        if self.old:
            self.feed(self.old[pick % len(self.old)])

    @rule(number=st.integers(0, 7), kind=st.sampled_from(["end_trial", "pause_trial", "unpause_trial"]))
    def wish(self, number: int, kind: Literal["end_trial", "pause_trial", "unpause_trial"]) -> None:
        """A user ends a trial, pauses it, lets it go on: one that runs, waits, is suspected, has ended or never was."""
        if not machine.ended(self.batch.memory):  # its driver would not take it any more
            self.wishes += 1
            self.feed(TrialRequest(kind, number))

    @rule(kind=st.sampled_from(["wider", "new", "dropped"]))
    def edit(self, kind: str) -> None:
        """A user edits the space: trials that were asked for go on as they were."""
        edits = {
            "wider": Edit("e", put=(Dimension("x", "float", 0.0, 2.0),)),
            "new": Edit("e", put=(Dimension("y", "int", 1, 2),), defaults=(fixed("y", 1),)),
            "dropped": Edit("e", drop=("y",), pins=(fixed("y", 2),)),
        }
        before = {view.number: dict(view.params) for view in self.ledger.trials("s")}
        self.feed(SpaceEdited(edits[kind], self.batch.memory.last_number + 1))
        views = {view.number: view for view in self.ledger.trials("s")}
        assert {number: dict(views[number].params) for number in before} == before
        plan = self.batch.memory.plan
        assert all((view.space or 0) == plan.version_of(view.number) for view in views.values())

    @rule()
    def stray(self) -> None:
        self.feed(Judged(0, 1, True))

    @invariant()
    def consistent(self) -> None:
        if not hasattr(self, "batch"):
            return
        memory, views = self.batch.memory, self.ledger.trials("s")
        assert [view.number for view in views] == list(range(len(views)))  # none lost, none asked twice
        assert len(views) <= self.plan.budget.trials
        assert all(count == 1 for count in Counter(self.ledger.finished).values())  # none finished twice
        assert {view.number for view in views if not view.state.finished} == set(memory.open)
        for view in views:
            assert view.charged <= self.plan.retries + 1
            assert view.attempts <= self.most_attempts(view)
            self.paused_rightly(view)
            assert view.step <= self.plan.budget.updates
        for worker in memory.workers.values():
            assert len(worker.rows) <= worker.slots
        for trial in memory.open.values():
            for row in trial.rows:
                placed = (trial.number, row.replica) in memory.workers[row.worker].rows if row.placed else True
                assert placed
                assert not any(rung <= trial.rung for rung in row.ahead)
                assert not (row.placed and trial.state is TrialState.PAUSED)
            assert trial.state is not TrialState.PAUSED or trial.number not in memory.queue
            assert trial.state is not TrialState.PAUSED or trial.group is None
        # stopped for want of others only where all the others are there and have ended
        if memory.counts[TrialState.PAUSED] and machine.ended(memory):
            assert memory.stopping is not None and memory.stopping[0] is SweepState.STOPPED
            assert len(views) == self.plan.budget.trials
            waiting = {number for numbers in memory.tried.followers.values() for number in numbers}
            rest = [view.number for view in views if not view.state.finished and view.state is not TrialState.PAUSED]
            assert waiting.issuperset(rest)  # those that wait for a paused one

    @invariant()
    def taken_over(self) -> None:
        """Who has another's result has all of it; who waits for one, waits for somebody who is still there."""
        if not hasattr(self, "batch"):
            return
        memory, views = self.batch.memory, self.ledger.trials("s")
        for trainer, waiting in memory.tried.followers.items():
            assert trainer in memory.open  # else nobody would ever tell them
            assert not [number for number in waiting if number in memory.queue]
        for view in views:
            if view.same_as is not None:
                source = views[view.same_as]
                assert (view.params, view.values, view.attempts) == (source.params, source.values, 0)
                assert source.same_as is None

    def paused_rightly(self, view: TrialView) -> None:
        """None goes on that the ledger has not promoted, and none is promoted that was not paused."""
        promoted, paused = self.verdicts(view.number, PROMOTE), self.verdicts(view.number, PAUSE)
        assert set(promoted) <= set(paused)
        waits = view.rung in set(paused) - set(promoted)
        if view.paused_by == BY_SCHEDULER:
            assert view.state is TrialState.PAUSED
            assert waits
        elif view.state is not TrialState.PAUSED:
            assert view.state.finished or not waits

    def verdicts(self, number: int, kind: str) -> list[int]:
        return [rung for _, rung, verdict in self.ledger.verdicts("s", number) if verdict == kind]

    def teardown(self) -> None:
        """Left alone with a good worker, every trial ends; paused ones once they are let go on, by a resume or not."""
        if not hasattr(self, "batch"):
            return
        paused = tuple(view.number for view in self.ledger.trials("s") if view.state is TrialState.PAUSED)
        if machine.ended(self.batch.memory) and paused:
            self.fence = self.ledger.acquire("s", "test", 0.0)
            attempts, reports = self.ledger.attempts("s"), self.ledger.reports("s")
            by_trial = {number: [row for row in reports if row.trial == number] for number in range(8)}
            records = Records(None, self.ledger.trials("s"), attempts, by_trial, self.ledger.verdicts("s"))
            plan, wish = self.batch.memory.plan, Reopen(trials=paused)
            memory, commands = rebuild(plan, self.fence, 0.0, records, wish, self.scheduler)
            self.batch = CommandBatch(memory, ScriptedSampler(), self)
            self.batch.execute(commands)
            self.trainers = {}
            self.orders.clear()
            self.feed(Tick(1.0, 0.0))
        else:
            self.feed(*[TrialRequest("unpause_trial", number) for number in paused])
        trainer = self.trainer("last", 8)
        self.feed(*[WorkerLost(worker, "node", "gone") for worker in self.trainers], WorkerJoined(trainer.describe()))
        for _ in range(400):
            if machine.ended(self.batch.memory):
                break
            for orders in self.orders.pop("last", []):
                reports, failures = trainer.advance(orders)
                self.feed(RungTrained("last", tuple(reports), tuple(failures)))
        views = self.ledger.trials("s")
        assert machine.ended(self.batch.memory)
        assert len(views) == self.plan.budget.trials
        assert all(view.state.finished for view in views)


SweepMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSweepMachine = SweepMachine.TestCase


def standing(memory: SweepMemory) -> list[tuple[Any, ...]]:
    """What a scheduler knows of the trials that it may still decide on."""
    assert isinstance(memory.scheduler, Halving)
    return [
        (level.rung, level.entered, level.promoted & memory.open.keys(), dict(level.paused))
        for level in memory.scheduler.levels
    ]


class ScheduledMachine(SweepMachine):
    """The same with trials that wait at rungs: more of them, which compete from the first rung on."""

    scheduler = Asha(eta=2)

    def planned(self, trials: int, replicas: int, points: int) -> SweepPlan:
        del points  # with a scheduler every trial is trained
        return plan(trials + 2, updates=50, replicas=replicas, retries=2, repeat=True)

    @rule()
    def resume(self) -> None:
        """The driver dies between two commits, and another one goes on."""
        reports: dict[int, list[RowReport]] = {}
        for report in self.ledger.reports("s"):
            reports.setdefault(report.trial, []).append(report)
        self.fence = self.ledger.acquire("s", "test", 0.0)
        past = Records(None, self.ledger.trials("s"), self.ledger.attempts("s"), reports, self.ledger.verdicts("s"))
        before = self.batch.memory
        memory, commands = rebuild(before.plan, self.fence, 0.0, past, None, self.scheduler)
        assert memory.open.keys() == before.open.keys()
        for number, trial in memory.open.items():
            assert (trial.rung, trial.unpromoted) == (before.open[number].rung, before.open[number].unpromoted)
            assert (trial.state is TrialState.PAUSED) == (before.open[number].state is TrialState.PAUSED)
            assert trial.paused_by == before.open[number].paused_by
        assert standing(memory) == standing(before)
        self.losses += 1  # whoever was running begins another attempt
        self.batch = CommandBatch(memory, ScriptedSampler(), self)
        self.batch.execute(commands)
        self.trainers, self.orders = {}, {}
        self.feed(Tick(1.0, 0.0))


class StealingMachine(SweepMachine):
    """The same where idle workers take rows at any rung."""

    def drive(self, records: Records, sampler: ScriptedSampler, reopen: Reopen | None = None) -> None:
        super().drive(records, sampler, reopen)
        self.batch.memory.policy = replace(self.batch.memory.policy, steal=1)


StealingMachine.TestCase.settings = SweepMachine.TestCase.settings
TestStealingMachine = StealingMachine.TestCase
ScheduledMachine.TestCase.settings = SweepMachine.TestCase.settings
TestScheduledMachine = ScheduledMachine.TestCase


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), kill=st.floats(0.0, 0.15), workers=st.integers(1, 4), slots=st.integers(1, 9))
def test_the_table_does_not_depend_on_kills_workers_or_order(seed: int, kill: float, workers: int, slots: int) -> None:
    calm = World(plan(6, retries=1000), rule=pruned_above(0.6))
    calm.run()
    wild = World(plan(6, retries=1000), rule=pruned_above(0.6), seed=seed, kill=kill, workers=workers, slots=slots)
    assert wild.run().exit_code == 0
    assert wild.table() == calm.table()
    assert wild.curves() == calm.curves()
    assert wild.rungs() == calm.rungs()
    assert sorted(wild.ledger.verdict_list) == sorted(calm.ledger.verdict_list)


FAULTS = Faults(
    diverges=lambda trial, replica, rung: trial == 1 and replica == 1 and rung == 2,
    solves=lambda trial, replica, rung: trial == 3 and rung == 2 + replica,
)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_killed_after_any_commit_and_resumed_equals_undisturbed(step: int) -> None:
    sweep = plan(5)
    calm = World(sweep, faults=FAULTS, rule=pruned_above(0.6))
    assert calm.run().exit_code == 0
    for first in range(1, calm.ledger.commits + 1):
        world = World(sweep, faults=FAULTS, rule=pruned_above(0.6), seed=first)
        world.run_through_kills(first, step, most=60)
        assert world.table() == calm.table()
        assert world.curves() == calm.curves()
        assert world.rungs() == calm.rungs()
        assert sorted(world.ledger.verdict_list) == sorted(calm.ledger.verdict_list)
        assert not any(view.charged for view in world.ledger.trials("s"))


def test_poison_fails_alone_and_costs_its_neighbours_no_attempt() -> None:
    for workers in (1, 2, 3):
        faults = Faults(poison=lambda trial, replica, rung: trial == 3 and rung == 3)
        world = World(plan(8, updates=80, retries=2), faults=faults, slots=16, workers=workers)
        assert world.run().exit_code == 1
        views = world.ledger.trials("s")
        assert [view.number for view in views if view.state is TrialState.FAILED] == [3]
        assert "poison in (3, " in views[3].reason
        assert "lost" in views[3].reason
        assert views[3].charged == 3
        assert all(view.charged == 0 for view in views if view.number != 3)
        assert sum(view.state is TrialState.COMPLETE for view in views) == 7


def test_two_poisoned_trials_are_both_found() -> None:
    faults = Faults(poison=lambda trial, replica, rung: trial in (0, 5) and rung == 2)
    world = World(plan(8, retries=1), faults=faults, slots=16, workers=2)
    world.run()
    failed = [view.number for view in world.ledger.trials("s") if view.state is TrialState.FAILED]
    assert failed == [0, 5]


def test_a_bug_of_one_row_in_a_shared_pack_is_isolated() -> None:
    """The whole pack reports the exception; only the guilty trial fails."""

    class PackTrainer(SimTrainer):
        def advance(self, orders):
            self._obey(orders)
            if any(trial == 2 for trial, _ in self.rows):
                specs = [row.spec for row in self.rows.values()]
                self.rows = {}
                return [], [self._failure(spec, "bug", "ValueError: shape") for spec in specs]
            return super().advance(replace(orders, join=(), leave=()))

    world = World(plan(6), slots=12)
    driver = world.driver()
    driver.executor.factory = lambda worker: PackTrainer(worker, world.disk, slots=12)
    assert driver.run().exit_code == 1
    views = world.ledger.trials("s")
    assert [view.number for view in views if view.state is TrialState.FAILED] == [2]
    assert views[2].reason == "replica 0: bug: ValueError: shape"
    assert all(view.charged == 0 for view in views)


def test_out_of_memory_halves_the_pack_until_it_fits() -> None:
    world = World(plan(8), faults=Faults(memory=3), slots=16, workers=1)
    assert world.run().exit_code == 0
    assert set(world.states()) == {TrialState.COMPLETE}
    assert all(view.charged == 0 for view in world.ledger.trials("s"))


def test_a_row_that_never_fits_fails_with_the_reason() -> None:
    world = World(plan(2, retries=2, replicas=1), faults=Faults(memory=0), workers=1)
    assert world.run().exit_code == 1
    views = world.ledger.trials("s")
    assert [view.state for view in views] == [TrialState.FAILED] * 2
    assert all(view.reason.startswith("out_of_memory") and view.charged == 3 for view in views)


def test_the_same_bug_on_three_trials_stops_the_sweep() -> None:
    faults = Faults(bug=lambda trial, replica, rung: f"index {trial} out of range" if rung == 2 else "")
    world = World(plan(20), faults=faults)
    outcome = world.run()
    assert outcome.exit_code == 1
    assert outcome.state == "FAILED"
    assert "same error on trials" in outcome.reason
    assert "Traceback" in outcome.reason
    assert sum(state is TrialState.FAILED for state in world.states()) == 3


def test_one_failed_replica_fails_its_trial_after_the_others_finished() -> None:
    faults = Faults(bug=lambda trial, replica, rung: "broken" if (trial, replica, rung) == (1, 0, 2) else "")
    world = World(plan(3), faults=faults)
    assert world.run().exit_code == 1
    view = world.ledger.trials("s")[1]
    assert (view.state, view.reason) == (TrialState.FAILED, "replica 0: bug: broken")
    assert [report.rung for report in world.ledger.reports("s", 1) if report.replica == 1] == [1, 2, 3, 4]
    assert view.values == ()


def test_a_node_that_keeps_failing_is_excluded() -> None:
    deaths = Counter()

    class Flaky(SimTrainer):
        def advance(self, orders):
            self._obey(orders)
            if self.node == "bad" and self.rows:
                deaths[self.worker] += 1
                raise WorkerDeath("broken node")
            return super().advance(replace(orders, join=(), leave=()))

    world = World(plan(12, updates=100))
    driver = world.driver()
    driver.executor.factory = lambda worker: Flaky(
        worker, world.disk, slots=4, node="good" if worker in ("w0", "w1") else "bad"
    )
    driver.executor.wanted = 4
    assert driver.run().exit_code == 0
    assert driver.executor.excluded == ["bad"]
    assert all(view.state is TrialState.COMPLETE for view in world.ledger.trials("s"))


def settled_machine(replicas: int = 1):
    sweep = plan(1, replicas=replicas, prefetch=1)
    memory, _ = rebuild(sweep, 1, 0.0, Records())
    out = machine.step(memory, WorkerJoined(WorkerInfo("w", "n", "cpu", "", 4)))
    assert [type(command).__name__ for command in out] == ["AskSampler"]
    machine.step(memory, Asked(0, {"x": 1.0}))
    return memory, token("s", 0, 1, 1)


def test_reports_of_another_attempt_worker_or_trial_are_refused() -> None:
    memory, current = settled_machine()
    for worker, trial, mark in [("w", 0, "0001-old"), ("other", 0, current), ("w", 7, current)]:
        report = RowReport(trial, 0, mark, 1, 10, {"valid/error": 0.5})
        commands = machine.step(memory, RungTrained(worker, (report,)))
        assert commands == []
    assert memory.refused == 3
    assert memory.spent.updates == 0
    failure = RowFailure(0, 0, "0001-old", "bug", "old")
    assert machine.step(memory, RungTrained("w", (), (failure,))) == []


def test_missing_reports_cost_an_attempt_that_restores_no_further_than_what_is_known() -> None:
    memory, current = settled_machine()
    report = RowReport(0, 0, current, 1, 10, {"valid/error": 0.5})
    machine.step(memory, RungTrained("w", (report,)))
    machine.step(memory, Judged(0, 1, False))
    commands = machine.step(memory, RungTrained("w", (replace(report, rung=3, step=30),)))
    join = next(command for command in commands if type(command).__name__ == "Join")
    assert (join.spec.restore, join.spec.restore_to) == ((current,), 1)
    assert memory.open[0].charged == 1


def test_what_ran_ahead_of_a_prune_is_never_stored() -> None:
    memory, current = settled_machine(replicas=2)
    reports = [RowReport(0, 0, current, rung, 10 * rung, {"valid/error": 0.5}) for rung in (1, 2, 3)]
    commands = machine.step(memory, RungTrained("w", tuple(reports)))
    stored = [report.rung for command in commands if hasattr(command, "reports") for report in command.reports]
    assert stored == [1]
    machine.step(memory, RungTrained("w", (RowReport(0, 1, current, 1, 10, {"valid/error": 0.7}),)))
    commands = machine.step(memory, Judged(0, 1, True))
    assert not any(hasattr(command, "reports") for command in commands)
    leaves = [command.withdrawal.keep_rung for command in commands if type(command).__name__ == "Leave"]
    assert leaves == [1, 1]
    assert memory.counts[TrialState.PRUNED] == 1


def test_a_row_that_trains_on_after_its_end_is_withdrawn() -> None:
    memory, current = settled_machine(replicas=2)
    solved = RowReport(0, 0, current, 1, 10, {"valid/error": 0.0}, RowState.SOLVED, 10)
    machine.step(memory, RungTrained("w", (solved,)))
    more = replace(solved, rung=2, step=20, state=RowState.ACTIVE)
    commands = machine.step(memory, RungTrained("w", (more,)))
    assert [(type(c).__name__, c.withdrawal.replica, c.withdrawal.keep_rung) for c in commands] == [("Leave", 0, 1)]


def test_asks_are_prefetched_before_any_worker_is_there() -> None:
    memory, _ = rebuild(plan(9, prefetch=3), 1, 0.0, Records())
    commands = machine.step(memory, Tick(0.0, 0.0))
    assert [type(command).__name__ for command in commands] == ["AskSampler"] * 3


def test_step_is_deterministic() -> None:
    worlds = [World(plan(6), seed=5, kill=0.1) for _ in range(2)]
    for world in worlds:
        world.run()
    assert worlds[0].ledger.journal == worlds[1].ledger.journal
    assert Budget(1, 1) == Budget(1, 1)


def test_the_memory_ledger_itself_refuses_what_the_tables_forbid() -> None:
    ledger, _ = opened(plan())
    assert isinstance(ledger, MemoryLedger)
    world = World(plan(1))
    world.run()
    with pytest.raises(AssertionError):
        world.ledger.commit("s", world.ledger.fence, [next(iter(world.ledger.rungs.values()))])
