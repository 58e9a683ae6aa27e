"""The contract of a scheduler.

    trial at a rung ─► reached ─┐
                                ├─► decisions, on any trial ─► ledger ─► workers
    trial has ended ─► ended ───┘

A pruner judges one trial when it is asked; a scheduler may decide on any, whenever it knows enough. It lives in the
machine's memory, and everything that it decides is in the ledger before a worker hears of it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from rnnsweep.errors import ConfigError
from rnnsweep.loader import NAME, build_unit, user_code
from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.views import TrialView
from rnnsweep.unit import Unit

NO_SCHEDULER: Mapping[str, Any] = {"_target_": "rnnsweep.sweep.schedulers.no_scheduler.NoScheduler"}
"""The block of a sweep without one."""


@dataclass(frozen=True)
class AtRung:
    """A trial at a rung, reduced over its replicas.

    Attributes:
        number: the trial's.
        rung: 1, 2, ...; `step` updates are done there.
        values: one per objective, see `objective.reduced`. Finite.
        params: the point that it trains with.
        last: all its replicas have ended: it is complete, and nothing is decided on it any more.
        diverged: all its replicas have, at this rung or before, and it only waits to be revived, see `Reviving`.
    """

    number: int
    rung: int
    step: int
    values: tuple[float, ...]
    params: Params
    last: bool = False
    diverged: bool = False


@dataclass(frozen=True)
class Decision:
    """What becomes of a trial beyond one of its rungs.

    Attributes:
        trial, rung: whose, and after which rung.
        verdict: KEEP, PRUNE, PAUSE, PROMOTE or EXPLOIT of `verdicts`.
        source: for ``exploit``: whose state it takes over.
        params: for ``exploit``: the point that it goes on with.
    """

    trial: int
    rung: int
    verdict: str
    source: int | None = None
    params: Params | None = None


class Scheduler(Protocol):
    """Decides at rungs, as a function of the sweep's seed and of what it was told so far, in that order.

    It holds no clock, no random generator with a state of its own and no reference to the machine. A decision is
    carried out as soon as it is returned, and given once: `promote` only for a trial that it has paused, everything
    else only for a rung that was reached and is undecided.
    """

    def reached(self, at: AtRung) -> Sequence[Decision]:
        """A trial has a rung with news about some objective; what can be decided now, on whichever trials.

        No decision on `at` itself leaves it undecided: its rows train on meanwhile, and what they report is held back.
        With `at.last` there is none to take on it.
        """
        ...

    def ended(self, view: TrialView) -> Sequence[Decision]:
        """A trial has finished, in whatever way; where its last rung is the reason, after `reached`."""
        ...

    def drained(self) -> Sequence[Decision]:
        """Nothing trains, and no trial will be asked for any more: what is promoted all the same, so that some end.

        Trials that stay paused after it are pruned where they are.
        """
        ...

    def promoted(self, trial: int, rung: int) -> None:
        """A user has let a trial go on that was paused at this rung: as if it had been promoted."""
        ...

    def restore(self, rungs: Sequence[AtRung], decisions: Sequence[Decision], trials: Sequence[TrialView]) -> None:
        """Be what it was when it had taken these decisions; decides nothing.

        Args:
            rungs: those that were decided on, in that order. One that is undecided yet is `reached` again afterwards.
            decisions: all of the sweep, in the order in which they were taken; those on other rungs than `rungs` are
                a user's.
            trials: all of the sweep, as they are now, by number.
        """
        ...


@runtime_checkable
class Reviving(Protocol):
    """A scheduler that lets a trial go on, with another one's state, whose replicas have all diverged."""

    def revived_after(self, at: AtRung) -> int:
        """The rung, not before `at`, which it waits for until then; 0: it ends. `reached` is told of it there.

        A function of the sweep and of `at` alone.
        """
        ...


@dataclass(frozen=True)
class SchedulerUnit(Unit):
    """Base of schedulers: what their yamls say. The state of a sweep is in what `start` returns.

    Attributes:
        several_objectives: whether it serves sweeps with more than one objective.
    """

    unit_group: ClassVar[str] = "scheduler"
    several_objectives: ClassVar[bool] = False

    @abstractmethod
    def start(self, plan: SweepPlan) -> Scheduler | None:
        """The scheduler of a sweep that has no trials yet; None where nothing is ever decided."""

    def check_plan(self, plan: SweepPlan) -> None:
        """Raise `ConfigError` where it cannot serve this sweep."""
        if len(plan.objectives) > 1 and not self.several_objectives:
            problem = "takes one objective"
            raise ConfigError(problem, key="scheduler", value=self.unit_name, allowed="scheduler=none")

    def milestones(self, plan: SweepPlan) -> Sequence[int]:
        """Rungs at which it compares trials, where they are known beforehand: what trials train at grows there."""
        del plan
        return ()

    def idle(self, plan: SweepPlan) -> str | None:
        """Why it can do nothing in this sweep, in a few words; None where it can."""
        del plan
        return None


def build_scheduler(plan: SweepPlan, scheduler: Mapping[str, Any], pruner: Mapping[str, Any]) -> SchedulerUnit:
    """The sweep's scheduler from the resolved yaml of `scheduler`, beside the pruner's.

    Raises:
        ConfigError: unknown or wrong keys; a pruner that judges too; a sweep that it cannot serve.
    """
    unit = build_unit(scheduler, "scheduler", SchedulerUnit)
    with user_code(unit):
        unit.check_plan(plan)
        judges = unit.start(plan) is not None
    # two judges of one rung: what came of it would depend on who was asked first
    if judges and pruner[NAME] != "none":
        problem = f"would judge rungs beside scheduler={unit.unit_name}"
        raise ConfigError(problem, key="pruner", value=pruner[NAME], allowed="pruner=none")
    return unit
