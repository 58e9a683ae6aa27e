"""Asynchronous successive halving that pauses trials at rungs and promotes the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.schedulers.base import Scheduler, SchedulerUnit
from rnnsweep.sweep.schedulers.halving import Halving, milestones
from rnnsweep.sweep.schedulers.ranking import AMONG, EPSILON_NET
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Asha(SchedulerUnit):
    """Of the trials that have come to a milestone, the best 1/eta go on as they come; the others wait there.

    Milestones are at `min_updates`, `min_updates` * eta, `min_updates` * eta^2, ... updates, each rounded up to a rung.
    A trial that waits costs its checkpoints and no slot; it goes on when enough others have come and it is among their
    best. With `stop` it ends instead, which needs no checkpoints but judges the first comers by few others.

    Several objectives: by non-dominated sorting, within a front by `among`.

    Attributes:
        eta: one in `eta` goes on.
        min_updates: updates before the first milestone; None: one rung.
        stop: end trials at milestones, never to go on.
        among: what orders trials on one front: ``epsilon_net`` (spread) or ``hypervolume`` (exclusive volume).

    References:
        Li et al. (2020), ASHA, Algorithm 2. Ours differs: a trial is promoted as soon as it may be, not when a worker
        is free. With `stop`, like the variant of Ray Tune and of `optuna.pruners.SuccessiveHalvingPruner`.
        Schmucker et al. (2021), several objectives.
    """

    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "eta": Range(2, 1000, integer=True),
        "min_updates": Range(1, 2**53, integer=True, optional=True),
        "stop": (True, False),
        "among": AMONG,
    }
    several_objectives: ClassVar[bool] = True

    eta: int = 4
    min_updates: int | None = None
    stop: bool = False
    among: str = EPSILON_NET

    def start(self, plan: SweepPlan) -> Scheduler:
        """One competition of all trials."""
        return Halving(plan, milestones(plan, self.min_updates, self.eta), self.eta, self.among, self.stop)

    def milestones(self, plan: SweepPlan) -> Sequence[int]:
        """See `SchedulerUnit.milestones`."""
        return milestones(plan, self.min_updates, self.eta)

    def idle(self, plan: SweepPlan) -> str | None:
        """No milestone, or nobody to compete with."""
        return idle_halving(plan, self.min_updates, self.eta)


def idle_halving(plan: SweepPlan, least: int | None, eta: int) -> str | None:
    """Why successive halving can do nothing in a sweep; None where it can."""
    if plan.budget.trials == 1:
        return "one trial has nobody to compete with"
    if not milestones(plan, least, eta):
        first = -(-(least or plan.report_every) // plan.report_every) * plan.report_every
        return f"a trial ends at update {plan.budget.updates}, and the first milestone is at {first}"
    return None
