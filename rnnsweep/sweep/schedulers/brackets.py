"""Hyperband: brackets of asynchronous successive halving that differ in how long a trial is spared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.schedulers.asha import idle_halving
from rnnsweep.sweep.schedulers.base import AtRung, Decision, Scheduler, SchedulerUnit
from rnnsweep.sweep.schedulers.halving import Halving, milestones
from rnnsweep.sweep.schedulers.ranking import AMONG, EPSILON_NET
from rnnsweep.sweep.views import TrialView
from rnnsweep.unit import Range


@dataclass(frozen=True)
class HyperbandBrackets(SchedulerUnit):
    """Each trial belongs to a bracket by its number and competes within it alone, as in `Asha`.

    The first bracket competes at all milestones, the next one spares its trials the first milestone, and so on; the
    trials of the last one all train to their end. Brackets get trials in Hyperband's proportions.

    Attributes:
        eta: one in `eta` goes on.
        min_updates: updates before the first milestone of the first bracket; None: one rung.
        brackets: how many at most; None: as many as there are milestones, and one.
        stop, among: as in `Asha`.

    References:
        Li et al. (2018), Hyperband; Li et al. (2020), its asynchronous form. Ours differs: brackets are dealt by trial
        number, so that they do not depend on timing.
    """

    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "eta": Range(2, 1000, integer=True),
        "min_updates": Range(1, 2**53, integer=True, optional=True),
        "brackets": Range(1, 100, integer=True, optional=True),
        "stop": (True, False),
        "among": AMONG,
    }
    several_objectives: ClassVar[bool] = True

    eta: int = 3
    min_updates: int | None = None
    brackets: int | None = None
    stop: bool = False
    among: str = EPSILON_NET

    def start(self, plan: SweepPlan) -> Scheduler:
        """As many competitions as there are brackets."""
        rungs = milestones(plan, self.min_updates, self.eta)
        count = min(len(rungs) + 1, self.brackets or len(rungs) + 1)
        return Brackets(
            [Halving(plan, rungs[first:], self.eta, self.among, self.stop) for first in range(count)], self.eta
        )

    def milestones(self, plan: SweepPlan) -> Sequence[int]:
        """See `SchedulerUnit.milestones`."""
        return milestones(plan, self.min_updates, self.eta)

    def idle(self, plan: SweepPlan) -> str | None:
        """No milestone, or nobody to compete with."""
        return idle_halving(plan, self.min_updates, self.eta)


class Brackets:
    """Implements `Scheduler`: passes everything on to the bracket of its trial."""

    def __init__(self, brackets: Sequence[Halving], eta: int) -> None:
        self.brackets, self._eta = brackets, eta

    def of(self, number: int) -> Halving:
        """The bracket of a trial."""
        return self.brackets[bracket_of(number, self._eta, len(self.brackets))]

    def reached(self, at: AtRung) -> Sequence[Decision]:
        """As in the trial's bracket."""
        return self.of(at.number).reached(at)

    def ended(self, view: TrialView) -> Sequence[Decision]:
        """As in the trial's bracket."""
        return self.of(view.number).ended(view)

    def drained(self) -> Sequence[Decision]:
        """As in the first bracket with somebody to promote, unless some trial has won its bracket."""
        if any(bracket.through for bracket in self.brackets):
            return ()
        return next((made for bracket in self.brackets if (made := bracket.drained())), ())

    def promoted(self, trial: int, rung: int) -> None:
        """As in the trial's bracket."""
        self.of(trial).promoted(trial, rung)

    def restore(self, rungs: Sequence[AtRung], decisions: Sequence[Decision], trials: Sequence[TrialView]) -> None:
        """Each bracket by itself: none knows of the others."""
        for bracket in self.brackets:
            bracket.restore(
                [at for at in rungs if self.of(at.number) is bracket],
                [one for one in decisions if self.of(one.trial) is bracket],
                [view for view in trials if self.of(view.number) is bracket],
            )


def bracket_of(number: int, eta: int, brackets: int) -> int:
    """Bracket of a trial, 0 being the one that competes first, dealt in Hyperband's proportions.

    Example:
        >>> [bracket_of(n, 3, 2) for n in range(5)]
        [0, 0, 0, 1, 1]
    """
    sizes = [math.ceil(brackets * eta**s / (s + 1)) for s in range(brackets - 1, -1, -1)]
    place = number % sum(sizes)
    for bracket, size in enumerate(sizes):
        if place < size:
            return bracket
        place -= size
    raise AssertionError("the place lies within the sum")
