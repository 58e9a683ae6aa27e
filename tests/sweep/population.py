"""Populations on doubles, and what they must come to: a plain loop over rungs, all members in step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.sweep.driver import Driver
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.schedulers.base import AtRung, Decision
from rnnsweep.sweep.schedulers.pbt import Pbt
from rnnsweep.sweep.schedulers.population import PopulationUnit, generation_rungs
from rnnsweep.sweep.segments import LAPSED, TAKEN
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import TrialView
from tests.kit.lineage_trainer import LineageTrainer, States, first_state, metrics_of, next_state
from tests.kit.plans import plan
from tests.kit.trainer import Faults
from tests.sweep.simulation import World

EVERY, UPDATES = 10, 100
Curves = dict[Any, Any]
Segments = dict[int, list[Any]]


def population_plan(trials: int = 8, replicas: int = 1, **changes: Any) -> SweepPlan:
    return plan(trials, updates=UPDATES, replicas=replicas, retries=1000, **changes)


def pbt(**changes: Any) -> Pbt:
    return Pbt(**{"interval": 30, "keys": ("x",), "apart": (), "unit_name": "pbt", **changes})


@dataclass
class Population(World):
    """A world in which members take over each other's states."""

    unit: PopulationUnit = field(default_factory=pbt)
    files: States = field(default_factory=dict)

    def trainer(self, worker: str) -> LineageTrainer:
        made = LineageTrainer(
            worker, self.disk, self.faults, self.plan.report_every, self.slots, self.nodes(worker), files=self.files
        )
        self.trainers.append(made)
        return made

    def driver(self, **changes: Any) -> Driver:
        return super().driver(**{"scheduler": self.unit, **changes})

    def unit_rungs(self) -> tuple[int, ...]:
        return generation_rungs(self.plan, self.unit.interval)

    def segments(self) -> dict[int, list[tuple[Any, ...]]]:
        """What became of every exploit, as far as it may not depend on workers and interruptions."""
        return {
            view.number: [
                (one.rung, one.step, dict(one.params), one.source, one.state, one.reason) for one in view.segments or ()
            ]
            for view in self.ledger.trials("s")
        }


class InStep:
    """A population whose members train rung by rung, all together.

    Attributes:
        curves: (trial, replica, rung) -> metrics. segments: as `Population.segments`.
    """

    def __init__(self, sweep: SweepPlan, unit: PopulationUnit, faults: Faults | None = None) -> None:
        self.sweep, self.faults, self.judge = sweep, faults or Faults(), unit.start(sweep)
        self.members = range(sweep.budget.trials or 0)
        self.params: dict[int, Any] = {n: {"x": (n * 37 % 101) / 101} for n in self.members}
        self.states = {(n, r): first_state(n, r) for n in self.members for r in range(sweep.replicas)}
        self.curves: dict[Any, Any] = {}
        self.segments: dict[int, list[Any]] = {n: [] for n in self.members}
        self.gone: set[int] = set()
        self.diverged: set[tuple[int, int]] = set()
        self.fallen: set[int] = set()

    def run(self) -> tuple[Curves, Segments]:
        decided: list[Decision] = []
        last = -(-self.sweep.budget.updates // self.sweep.report_every)
        for rung in range(1, last + 1):
            ended = self.train(rung)
            points = {n: dict(point) for n, point in self.params.items()}
            self.fallen = {n for n in self.members if self.all_diverged(n)}
            self.exploit(rung, decided, ended)
            # judged by what they had at this rung, with the points that they had there
            going = [n for n in self.members if n not in self.gone]
            decided = [one for n in going for one in self.judged(n, rung, points, n in ended or rung == last)]
            self.gone |= ended
        return self.curves, self.segments

    def train(self, rung: int) -> set[int]:
        ended: set[int] = set()
        for n, r in self.states:
            if n in self.gone or (n, r) in self.diverged:
                continue
            self.states[n, r] = next_state(self.states[n, r], self.params[n], n, r, rung)
            self.curves[n, r, rung] = metrics_of(self.states[n, r])
            if self.faults.diverges(n, r, rung):
                self.curves[n, r, rung] = {}
                self.diverged.add((n, r))
            elif self.faults.solves(n, r, rung):
                ended.add(n)
        return ended

    def exploit(self, rung: int, decided: list[Decision], ended: set[int]) -> None:
        before = dict(self.states)
        for decision in decided:
            n, source = decision.trial, decision.source
            row = [rung, rung * self.sweep.report_every, dict(decision.params or {}), source]
            fallen = {trial for trial, _ in self.diverged if trial == source}
            if gone := {n, source} & (self.gone | ended) | fallen:
                why = f"trial {source} trains no more" if source in gone else "it trains no more itself"
                self.segments[n].append((*row, LAPSED, why))
                self.gone |= {n} if self.all_diverged(n) else set()
                continue
            self.segments[n].append((*row, TAKEN, ""))
            self.params[n] = dict(decision.params or {})
            for r in range(self.sweep.replicas):
                self.states[n, r] = before[source or 0, r]
                self.diverged.discard((n, r))

    def all_diverged(self, n: int) -> bool:
        return all((n, r) in self.diverged for r in range(self.sweep.replicas))

    def judged(self, n: int, rung: int, points: dict[int, Any], final: bool) -> list[Decision]:
        fallen, rungs = n in self.fallen, generation_rungs(self.sweep, self.judge.unit.interval)
        if fallen and rung not in rungs:
            if self.all_diverged(n) and not any(one > rung for one in rungs):  # nobody can revive it
                self.gone.add(n)
                self.told(self.judge.ended(TrialView(n, TrialState.COMPLETE, {})))
            return []
        shown = [self.curves.get((n, r, rung), {}).get("valid/error", 1.0) for r in range(self.sweep.replicas)]
        diverged = fallen and (n, 0, rung) not in self.curves  # it has before, and only waits
        at = AtRung(n, rung, rung * EVERY, (sum(shown) / len(shown),), points[n], final, diverged)
        decided = self.judge.reached(at)
        self.told(decided)
        return [one for one in decided if one.verdict == "exploit"]

    def told(self, decided: Sequence[Decision]) -> None:
        """One that has diverged and is to take over nothing ends."""
        for one in decided:
            if one.verdict == "keep" and self.all_diverged(one.trial):
                self.gone.add(one.trial)


def in_step(
    sweep: SweepPlan, unit: PopulationUnit, faults: Faults | None = None
) -> tuple[dict[Any, Any], dict[int, list[Any]]]:
    """Curves and segments of a population whose members train in step."""
    return InStep(sweep, unit, faults).run()


def calm(sweep: SweepPlan, **changes: Any) -> Population:
    made = Population(sweep, workers=1, slots=1000, **changes)
    assert made.run().exit_code == 0
    return made


def plain(world: Population) -> dict[Any, Any]:
    return {key: metrics for key, (_, metrics, _) in world.curves().items()}
