"""Asynchronous successive halving: one competition, whose levels are rungs that ever fewer trials go beyond.

    level 0 ── best 1/eta ──► level 1 ── best 1/eta ──► ... ──► the end

What is decided depends on the results and the order in which they came, on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rnnsweep.sweep.hypervolume import Losses
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.schedulers.base import AtRung, Decision
from rnnsweep.sweep.schedulers.ranking import Ranking, losses, ranking
from rnnsweep.sweep.verdicts import KEEP, PAUSE, PROMOTE, PRUNE
from rnnsweep.sweep.views import TrialView


def milestones(plan: SweepPlan, least: int | None, eta: int) -> list[int]:
    """Rungs at which trials compete: those that end at `least`, `least` * eta, ... updates or just after.

    Args:
        plan: for the length of a rung and of a trial, at whose end nobody competes.
        least: updates before the first competition; None: one rung.
        eta: one in `eta` goes on.

    Example:
        >>> from rnnsweep.sweep.plan import Budget, Space
        >>> milestones(SweepPlan("s", 0, 1, 100, (), Budget(9, 2700), Space()), 150, 3)
        [2, 5, 14]
    """
    updates: float = least or plan.report_every
    found: list[int] = []
    while (rung := -(-int(updates) // plan.report_every)) * plan.report_every < plan.budget.updates:
        if rung not in found:
            found.append(rung)
        updates *= eta
    return found


@dataclass
class Level:
    """A competition's level.

    Attributes:
        rung: trials compete at the first rung from this one on that has news.
        ranking: all that have come so far.
        promoted: those that went beyond it.
        paused: trial -> rung that it was paused at.
    """

    rung: int
    ranking: Ranking
    entered: dict[int, Losses] = field(default_factory=dict[int, Losses])
    promoted: set[int] = field(default_factory=set[int])
    paused: dict[int, int] = field(default_factory=dict[int, int])


class Halving:
    """Implements `Scheduler` for the trials of one competition.

    A trial that is complete before a level (solved, diverged) is there at once with its last values: it competes like
    those that train on. One that has failed, or that a user has ended, keeps its place in the order.

    Attributes:
        on_rung: called first with whatever rung the competition hears of, live or from the ledger.
        on_entry: called when a trial has come to a level, before anything is decided because of it.
        reach: levels that trials may go beyond, the first so many.
        through: whether a complete trial has won every level.
    """

    def __init__(self, plan: SweepPlan, rungs: Sequence[int], eta: int, among: str, stop: bool = False) -> None:
        self._objectives, self._eta, self._stop = plan.objectives, eta, stop
        self.levels = [Level(rung, ranking(len(plan.objectives), among)) for rung in rungs]
        self.on_rung: Callable[[AtRung], None] = lambda at: None
        self.on_entry: Callable[[Level], None] = lambda level: None
        self.reach = len(self.levels)
        self.through = False
        self._complete: dict[int, Losses] = {}
        self._ended: set[int] = set()
        self._next: dict[int, int] = {}  # trial -> the first level that it has not been at
        self._changed: set[int] = set()  # levels at which somebody may have become one of the best

    # ------------------------------------------------------------------ Scheduler

    def reached(self, at: AtRung) -> Sequence[Decision]:
        """At a level the trial goes on or is paused (with `stop`, pruned), and others may have become the best."""
        level = self.enter(at)
        if at.last:
            return self.promotions()
        if level is None:
            return [Decision(at.number, at.rung, KEEP)]
        others = self.promotions()
        if self._stop:  # nobody is paused, so nobody is promoted
            return [Decision(at.number, at.rung, KEEP if at.number in level.promoted else PRUNE)]
        if at.number in level.promoted:
            return [Decision(at.number, at.rung, KEEP), *others]
        level.paused[at.number] = at.rung
        return [Decision(at.number, at.rung, PAUSE), *others]

    def ended(self, view: TrialView) -> Sequence[Decision]:
        """Nobody: the place in the order stays."""
        if view.number not in self._complete:
            self._ended.add(view.number)
        return ()

    def drained(self) -> Sequence[Decision]:
        """The best of the highest level that anyone has come to, unless a trial has won them all."""
        while not self.through:
            level = next((one for one in reversed(self.levels) if self._waiting(one)), None)
            if level is None:
                return ()
            best = self._waiting(level)[0]
            level.promoted.add(best)
            if best in level.paused:
                return [Decision(best, level.paused.pop(best), PROMOTE)]
            self._climb(best)
        return ()

    def promoted(self, trial: int, rung: int) -> None:
        """It counts as promoted from where it was paused."""
        for level in self.levels:
            if level.paused.get(trial) == rung:
                del level.paused[trial]
                level.promoted.add(trial)

    def restore(self, rungs: Sequence[AtRung], decisions: Sequence[Decision], trials: Sequence[TrialView]) -> None:
        """Every trial enters its levels in the order of the verdicts, which say what became of it."""
        by_rung = {(at.number, at.rung): at for at in rungs}
        for decision in decisions:
            at = by_rung.get((decision.trial, decision.rung))
            if decision.verdict == PROMOTE:
                self.promoted(decision.trial, decision.rung)
            elif at is not None:
                self._replay(at, decision.verdict)
        self._ended.update(view.number for view in trials if view.state.finished and view.number not in self._complete)

    # ------------------------------------------------------------------ levels

    def enter(self, at: AtRung) -> Level | None:
        """The trial takes its place on every level that it has come to; the highest one, where there is one."""
        self.on_rung(at)
        mine = losses(at.values, self._objectives)
        first = self._next.get(at.number, 0)
        crossed = [index for index in range(first, len(self.levels)) if self.levels[index].rung <= at.rung]
        for index in crossed:
            # levels between two rungs with news: whoever is beyond them has won them
            self.levels[index].promoted.update({at.number} if index != crossed[-1] else ())
            self._place(index, at.number, mine)
        if at.last:
            self._complete[at.number] = mine
            if not crossed:
                self._climb(at.number)
        if not crossed:
            return None
        level = self.levels[crossed[-1]]
        self.on_entry(level)
        return level

    def promotions(self) -> list[Decision]:
        """All who are by now one of the best of their level and wait there."""
        made: list[Decision] = []
        # from the top, as ASHA looks for work; a complete trial that climbs changes the level above
        while changed := sorted(index for index in self._changed if index < self.reach):
            index = changed[-1]
            self._changed.discard(index)
            level = self.levels[index]
            for number in self._best(level):
                if number in level.promoted:
                    continue
                level.promoted.add(number)
                if number in self._complete:
                    self._climb(number)
                elif number in level.paused:
                    made.append(Decision(number, level.paused.pop(number), PROMOTE))
        return [one for one in made if one.trial not in self._ended]

    def widen(self, reach: int) -> None:
        """Let trials go beyond more levels."""
        self._changed.update(range(self.reach, reach))
        self.reach = reach

    def _best(self, level: Level) -> list[int]:
        count = len(level.ranking) // self._eta
        # with `stop` nobody is asked again later: the best so far must go on, however few have come
        return level.ranking.top(max(1, count) if self._stop else count)

    def _place(self, index: int, number: int, mine: Losses) -> None:
        level = self.levels[index]
        level.ranking.add(number, mine)
        level.entered[number] = mine
        self._next[number] = index + 1
        self._changed.add(index)

    def _climb(self, number: int) -> None:
        """A complete trial has won all levels up to its next one."""
        index = self._next.get(number, 0)
        if index == len(self.levels):
            self.through = True
        else:
            self._place(index, number, self._complete[number])

    def _waiting(self, level: Level) -> list[int]:
        """Who is on a level and could go beyond it, best first."""
        able = (level.paused.keys() | self._complete.keys()) - level.promoted - self._ended
        return [number for number in level.ranking.ordered() if number in able]

    def _replay(self, at: AtRung, verdict: str) -> None:
        level = self.enter(at)
        if level is not None and not at.last:
            if verdict == PAUSE:
                level.paused[at.number] = at.rung
            elif verdict == KEEP:
                level.promoted.add(at.number)
        # what became of those that train is in the verdicts; complete ones have none
        self.promotions()
