"""Random histories of populations: whatever happens, the record explains every number, and no state is invented."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from rnnsweep.sweep import machine
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.rebuild import Records
from rnnsweep.sweep.segments import TAKEN, point_at, taken
from rnnsweep.sweep.states import TrialState
from tests.kit.lineage_trainer import LineageTrainer, States, first_state, metrics_of, next_state
from tests.kit.plans import opened
from tests.kit.sampler import ScriptedSampler
from tests.kit.trainer import Faults, SimTrainer
from tests.sweep.population import pbt, population_plan
from tests.sweep.test_machine import SweepMachine


def explained(views: Mapping[int, TrialView], number: int, replica: int, rung: int, seen: dict[Any, str]) -> str:
    """The state that the record says a row had after a rung, from its first weights on."""
    key = (number, replica, rung)
    if key not in seen:
        view = views[number]
        segments = taken(view.segments or ())
        begun = next((one for one in segments if one.rung == rung - 1), None)
        if begun is not None and begun.source is not None:
            # the other's state as it was right after that rung, before it took over one itself
            before = explained(views, begun.source, replica, rung - 1, seen)
        elif rung == 1:
            before = first_state(number, replica)
        else:
            before = explained(views, number, replica, rung - 1, seen)
        seen[key] = next_state(before, point_at(view.params, segments, rung), number, replica, rung)
    return seen[key]


class PopulationMachine(SweepMachine):
    """As `SweepMachine`, with drivers that die, rows that solve their task or diverge, and members that take states."""

    @initialize(
        trials=st.integers(2, 6),
        replicas=st.integers(1, 2),
        ends=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 1), st.integers(2, 8)), max_size=2),
        diverges=st.booleans(),
    )
    def begin(self, trials: int, replicas: int, ends: set[tuple[int, int, int]], diverges: bool) -> None:
        self.plan, self.scheduler = population_plan(trials, replicas), pbt(quantile=0.5, interval=20)
        self.ledger, self.fence = opened(self.plan)
        self.orders, self.disk, self.trainers, self.old = {}, {}, {}, []
        self.count = self.losses = self.wishes = 0
        self.files: States = {}
        self.made: list[LineageTrainer] = []
        said = {"diverges" if diverges else "solves": lambda *who: who in ends}
        self.faults = Faults(**said)
        self.drive(Records(), ScriptedSampler())

    def trainer(self, worker: str, slots: int) -> SimTrainer:
        self.made.append(LineageTrainer(worker, self.disk, self.faults, slots=slots, files=self.files))
        return self.made[-1]

    def most_attempts(self, view: TrialView) -> int:
        waits = sum(one.outcome == "waits" for one in self.ledger.attempts("s", view.number))
        return super().most_attempts(view) + waits + 2 * len(view.segments or ())

    def paused_rightly(self, view: TrialView) -> None:
        """Members that wait for others give their places up without a verdict."""
        assert view.paused_by is None or view.state is TrialState.PAUSED

    def order(self, worker: str, orders) -> None:
        """What a worker hears of is in the ledger already."""
        for spec in orders.join:
            last = taken(self.ledger.trial_views[spec.trial].segments or ())
            assert (spec.source is None) == (not last)
            if spec.source is not None:
                assert (spec.source.trial, spec.source.rung) == (last[-1].source, last[-1].rung)
                assert (spec.trial, last[-1].rung - 1, "exploit") in self.ledger.verdict_list
                assert dict(spec.params) == dict(last[-1].params)
        for spec in orders.take:
            pending = (self.ledger.trial_views[spec.trial].segments or ())[-1]
            assert (pending.source, pending.rung) == (spec.source.trial, spec.source.rung)
            assert (spec.trial, pending.rung - 1, "exploit") in self.ledger.verdict_list
            assert spec.token in [one.token for one in self.ledger.attempts("s", spec.trial)]
        super().order(worker, orders)

    @rule()
    def resume(self) -> None:
        """The driver is killed with all its workers; another one takes over."""
        self.fence = self.ledger.acquire("s", "test", 0.0)
        self.losses += 1
        self.trainers, before = {}, self.batch
        self.orders.clear()
        trials, reports = self.ledger.trials("s"), self.ledger.reports("s")
        by_trial = {view.number: [row for row in reports if row.trial == view.number] for view in trials}
        sampler = ScriptedSampler()
        sampler.asked = [view.number for view in trials]
        if machine.ended(before.memory):
            return
        self.drive(Records(None, trials, self.ledger.attempts("s"), by_trial, self.ledger.verdicts("s")), sampler)

    @invariant()
    def explained_by_the_record(self) -> None:
        if not hasattr(self, "batch"):
            return
        views, seen = self.ledger.trial_views, {}
        for (number, replica, rung), report in self.ledger.row_reports.items():
            if report.metrics:
                assert report.metrics == metrics_of(explained(views, number, replica, rung, seen)), (number, rung)
        for view in views.values():
            rungs = [one.rung for one in view.segments or ()]
            assert rungs == sorted(set(rungs))  # none decided twice
            assert not view.state.finished or not any(one.open for one in view.segments or ())
            for one in view.segments or ():
                assert 0.0 <= one.params["x"] <= 2.0  # an edit may have made the range wider
                assert one.state != TAKEN or one.source in views

    @invariant()
    def states_that_are_needed_are_there(self) -> None:
        """No worker was ever told of a checkpoint that there is not."""
        assert not any(trainer.missing for trainer in getattr(self, "made", ()))

    def teardown(self) -> None:
        """Also what it comes to when it is left alone."""
        super().teardown()
        self.explained_by_the_record()
        self.states_that_are_needed_are_there()


PopulationMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPopulationMachine = PopulationMachine.TestCase
