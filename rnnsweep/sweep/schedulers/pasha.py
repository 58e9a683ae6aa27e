"""Progressive ASHA: no trial trains longer than it takes to tell the best ones from the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import ClassVar

from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.schedulers.asha import idle_halving
from rnnsweep.sweep.schedulers.base import AtRung, Decision, Scheduler, SchedulerUnit
from rnnsweep.sweep.schedulers.halving import Halving, Level, milestones
from rnnsweep.sweep.schedulers.ranking import EPSILON_NET, losses
from rnnsweep.sweep.views import TrialView
from rnnsweep.unit import Range

MOST = 64
"""Trials whose curves are compared for the estimate of the noise: the best ones, whose order is in question."""


@dataclass(frozen=True)
class Pasha(SchedulerUnit):
    """ASHA of which at first only two milestones are open, and one more whenever the order at the top two differs.

    The order is compared softly: trials whose values at the lower of the two lie within `epsilon` may swap.

    Attributes:
        eta: one in `eta` goes on.
        min_updates: updates before the first milestone; None: one rung.
        epsilon: difference of the objective that is noise; None: estimated from the curves, as the `percentile` of the
            distances between trials that have overtaken each other twice.
        percentile: of those distances.

    References:
        Bohdal et al. (2023), PASHA, Algorithm 1 and Section 4.2. Ours differs: the estimate is made of the best 64
        trials of the highest milestone; the best trial goes on to the end when nothing else is left to train.
    """

    fixed: ClassVar[Mapping[str, Range]] = {
        "eta": Range(2, 1000, integer=True),
        "min_updates": Range(1, 2**53, integer=True, optional=True),
        "epsilon": Range(0, 1e300, optional=True),
        "percentile": Range(0, 100),
    }

    eta: int = 3
    min_updates: int | None = None
    epsilon: float | None = None
    percentile: float = 90.0

    def start(self, plan: SweepPlan) -> Scheduler:
        """One competition of all trials."""
        return Progressive(plan, self)

    def milestones(self, plan: SweepPlan) -> Sequence[int]:
        """See `SchedulerUnit.milestones`."""
        return milestones(plan, self.min_updates, self.eta)

    def idle(self, plan: SweepPlan) -> str | None:
        """No milestone, or nobody to compete with."""
        return idle_halving(plan, self.min_updates, self.eta)


class Progressive:
    """Implements `Scheduler`.

    Attributes:
        halving: the competition; how far it reaches grows.
    """

    def __init__(self, plan: SweepPlan, unit: Pasha) -> None:
        self._plan, self._unit = plan, unit
        self.halving = Halving(plan, milestones(plan, unit.min_updates, unit.eta), unit.eta, EPSILON_NET)
        self.halving.reach = min(1, self.halving.reach)
        self.halving.on_rung, self.halving.on_entry = self._note, self._grow
        self._curves: dict[int, dict[int, float]] = {}

    def reached(self, at: AtRung) -> Sequence[Decision]:
        """ASHA's decisions, and promotions beyond a milestone that has just been opened."""
        return self.halving.reached(at)

    def ended(self, view: TrialView) -> Sequence[Decision]:
        """As ASHA."""
        return self.halving.ended(view)

    def drained(self) -> Sequence[Decision]:
        """As ASHA."""
        return self.halving.drained()

    def promoted(self, trial: int, rung: int) -> None:
        """As ASHA."""
        self.halving.promoted(trial, rung)

    def restore(self, rungs: Sequence[AtRung], decisions: Sequence[Decision], trials: Sequence[TrialView]) -> None:
        """As ASHA, with the milestones opened that were open."""
        self.halving.restore(rungs, decisions, trials)

    # ------------------------------------------------------------------ how far it reaches

    def _note(self, at: AtRung) -> None:
        self._curves.setdefault(at.number, {})[at.rung] = losses(at.values, self._plan.objectives)[0]

    def _grow(self, level: Level) -> None:
        """Open one more level if the orders at the two highest open ones differ."""
        halving = self.halving
        if halving.reach == len(halving.levels) or level is not halving.levels[halving.reach]:
            return
        below = halving.levels[halving.reach - 1].entered
        top = {number: mine[0] for number, mine in level.entered.items()}
        if not same_order({number: below[number][0] for number in top}, top, self._epsilon(level)):
            halving.widen(halving.reach + 1)

    def _epsilon(self, level: Level) -> float:
        if self._unit.epsilon is not None:
            return self._unit.epsilon
        return noise([self._curves[number] for number in level.ranking.top(MOST)], self._unit.percentile)


def same_order(below: Mapping[int, float], above: Mapping[int, float], epsilon: float) -> bool:
    """Whether trials are in the same order at two rungs, up to swaps within `epsilon`.

    Args:
        below, above: losses of the same trials at the lower and the higher rung.
        epsilon: trials whose losses at the lower rung differ by this at most may stand for each other.

    Example:
        >>> same_order({1: 0.1, 2: 0.2, 3: 0.9}, {1: 0.3, 2: 0.1, 3: 0.8}, 0.1)
        True
        >>> same_order({1: 0.1, 2: 0.2, 3: 0.9}, {1: 0.3, 2: 0.1, 3: 0.8}, 0.05)
        False
    """
    before = sorted(below, key=lambda number: (below[number], number))
    after = sorted(above, key=lambda number: (above[number], number))
    return all(abs(below[one] - below[other]) <= epsilon for one, other in zip(before, after, strict=True))


def noise(curves: Sequence[Mapping[int, float]], percentile: float) -> float:
    """The percentile of distances between trials that have overtaken each other at least twice; 0 where none have.

    Of such a pair the distance at the last rung that both have counts.

    Args:
        curves: rung -> loss of each trial.
        percentile: 0 to 100, interpolated between neighbours.
    """
    distances: list[float] = []
    for one, other in combinations(curves, 2):
        shared = sorted(one.keys() & other.keys())
        signs = [sign for rung in shared if (sign := (one[rung] > other[rung]) - (one[rung] < other[rung]))]
        if sum(a != b for a, b in pairwise(signs)) >= 2:
            distances.append(abs(one[shared[-1]] - other[shared[-1]]))
    if not distances:
        return 0.0
    distances.sort()
    place = percentile / 100 * (len(distances) - 1)
    low = math.floor(place)
    high = min(low + 1, len(distances) - 1)
    return distances[low] + (place - low) * (distances[high] - distances[low])
