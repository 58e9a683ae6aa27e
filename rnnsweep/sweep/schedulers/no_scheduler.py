"""No scheduling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.schedulers.base import Scheduler, SchedulerUnit


@dataclass(frozen=True)
class NoScheduler(SchedulerUnit):
    """Every trial trains to its end, unless a pruner ends it."""

    several_objectives: ClassVar[bool] = True

    def start(self, plan: SweepPlan) -> Scheduler | None:
        """None."""
        del plan
        return None
