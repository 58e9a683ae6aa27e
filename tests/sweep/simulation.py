"""Whole sweeps on doubles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.sweep.driver import Driver, Outcome, Pace
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.schedulers.base import SchedulerUnit
from rnnsweep.sweep.states import TrialState
from tests.kit.clock import FakeClock
from tests.kit.executor import SimExecutor
from tests.kit.ledger import Killed, MemoryLedger, kill_at
from tests.kit.plans import opened
from tests.kit.sampler import ScriptedSampler
from tests.kit.trainer import Disk, Faults, SimTrainer

STILL = Pace(renew=0.0, drain=1.0, inbox=0.0)


@dataclass
class World:
    """What survives a driver: the ledger and the workers' checkpoints."""

    plan: SweepPlan
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    disk: Disk = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    slots: int = 8
    workers: int = 2
    seed: int = 0
    kill: float = 0.0
    rule: Callable[[int, int, float], bool] | None = None
    scheduler: SchedulerUnit | None = None
    nodes: Callable[[str], str] = lambda worker: "node"
    trainers: list[SimTrainer] = field(default_factory=list)

    def trainer(self, worker: str) -> SimTrainer:
        made = SimTrainer(worker, self.disk, self.faults, self.plan.report_every, self.slots, self.nodes(worker))
        self.trainers.append(made)
        return made

    def driver(self, **changes: Any) -> Driver:
        _, fence = opened(self.plan, self.ledger)
        self.executor = changes.pop("executor", None) or SimExecutor(
            self.trainer, self.workers, self.seed + fence, self.kill
        )
        self.sampler = changes.pop("sampler", None) or ScriptedSampler(rule=self.rule)
        given = {"clock": FakeClock(), "fence": fence, "pace": STILL, "scheduler": self.scheduler}
        return Driver(self.plan, self.ledger, self.sampler, self.executor, **{**given, **changes})

    def run(self, **changes: Any) -> Outcome:
        return self.driver(**changes).run()

    def run_through_kills(self, first: int, step: int, most: int = 80) -> Outcome:
        """Drivers that die before commit `first`, and then each after `step` more; once `most` have died, one lives."""
        at = first
        for _ in range(most):
            self.ledger.before_commit = kill_at(at)
            try:
                return self.run()
            except Killed:
                at = self.ledger.commits + step
        self.ledger.before_commit = None
        return self.run()

    def table(self) -> list[tuple[Any, ...]]:
        """What must not depend on interruptions."""
        return [
            (v.number, v.state, dict(v.params), v.values, v.step, v.rung, v.solved_at, v.diverged_at, v.diverged_share)
            for v in self.ledger.trials("s")
        ]

    def curves(self) -> dict[tuple[int, int, int], tuple[Any, ...]]:
        return {
            key: (report.step, dict(report.metrics), report.state) for key, report in self.ledger.row_reports.items()
        }

    def rungs(self) -> dict[tuple[int, int], tuple[Any, ...]]:
        return {key: (rung.step, dict(rung.metrics), rung.values) for key, rung in self.ledger.rungs.items()}

    def states(self) -> list[TrialState]:
        return [view.state for view in self.ledger.trials("s")]


def after(polls: int, act: Callable[[], Any]) -> Any:
    """A simulated executor that does something from outside at its n-th poll."""

    class Acting(SimExecutor):
        seen = 0

        def poll(self, timeout: float):
            self.seen += 1
            if self.seen == polls:
                act()
            return super().poll(timeout)

    return Acting
