"""What population based schedulers share: generations, who takes over whose state, and who is left out.

    member at a generation's rung ─► waits ─► all are there or have ended ─► lowest take over from highest, others go on

All members' values at one rung decide together, so that the outcome does not depend on workers, packing or time. What
is decided after rung r takes effect after r + 1, which both still train.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.schedulers.base import AtRung, Decision, SchedulerUnit
from rnnsweep.sweep.schedulers.moves import uniform
from rnnsweep.sweep.verdicts import EXPLOIT, KEEP
from rnnsweep.sweep.views import TrialView
from rnnsweep.unit import Range

LEAST = 2
"""Rungs of a generation: in the first one after an exploit a member still reports what it had before."""


@dataclass(frozen=True)
class Generation:
    """Members of one shape at a generation's rung.

    Attributes:
        rung: of the generation. members: by number. losses: number -> the objective, smaller is better.
        history: those of earlier generations, oldest first.
        origins: who took over a state after it: number -> (whose, with which point).
    """

    rung: int
    members: Mapping[int, AtRung]
    losses: Mapping[int, float]
    history: Sequence[Generation] = ()
    origins: Mapping[int, tuple[int, Params]] = field(default_factory=dict[int, tuple[int, Params]])


@dataclass(frozen=True)
class PopulationUnit(SchedulerUnit):
    """Base of schedulers whose members take over each other's states.

    Attributes:
        interval: updates between two generations, a multiple of training.report_every (times training.eval_every) and
            at least two rungs; null: a tenth of budget.updates, rounded to that.
        quantile: share of the members that take over another one's state, and of those whose states are taken.
        keys: searched keys that change with it; null: all that can.
        members: so many trials, the first, are the population; null: all of budget.trials as the sweep is launched.
        apart: searched keys whose values set members apart, as they need another program; null: worked out.
    """

    interval: int | None = None
    quantile: float = 0.25
    keys: Sequence[str] | None = field(default=None, hash=False)
    apart: Sequence[str] | None = field(default=None, hash=False)
    members: int | None = None

    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "interval": Range(1, integer=True, optional=True),
        "quantile": Range(0, 0.5, open_low=True),
        "members": Range(1, integer=True, optional=True),
    }

    def check_plan(self, plan: SweepPlan) -> None:
        """Raise `ConfigError` where it cannot serve this sweep."""
        super().check_plan(plan)
        if plan.budget.trials is None:
            problem = f"scheduler={self.unit_name} needs the size of the population"
            raise ConfigError(problem, key="budget.trials", value="null", allowed="a number of trials")
        if self.members is not None and self.members > plan.budget.trials:
            allowed = f"at most {plan.budget.trials} (budget.trials), or null"
            raise ConfigError(
                "are more than there will be trials", key="scheduler.members", value=self.members, allowed=allowed
            )
        if plan.budget.patience is not None:
            problem = f"scheduler={self.unit_name} has members take over better states where others would end"
            raise ConfigError(problem, key="budget.patience", value=plan.budget.patience, allowed="null")
        self._check_interval(plan)

    def _check_interval(self, plan: SweepPlan) -> None:
        least = LEAST if plan.eval_every == 1 else plan.eval_every
        whole, key = plan.report_every * plan.eval_every, "scheduler.interval"
        if self.interval is not None and (self.interval % whole or self.interval < least * plan.report_every):
            from_on = least * plan.report_every
            allowed = f"a multiple of {whole} (training.report_every * training.eval_every), from {from_on} on"
            raise ConfigError(
                "generations end where all members are evaluated", key=key, value=self.interval, allowed=allowed
            )
        if generation_rungs(plan, self.interval) == ():
            problem = "no generation would end before the last two rungs"
            allowed = "less, or more budget.updates"
            raise ConfigError(problem, key=key, value=self.interval, allowed=allowed)

    def idle(self, plan: SweepPlan) -> str | None:
        """Why no state ever goes over."""
        return "a population has two trials at least" if plan.budget.trials == 1 else None

    def start(self, plan: SweepPlan) -> Population:
        """The population of a sweep that has no trials yet."""
        return Population(self, plan)

    def check(self) -> None:
        """Also the lists of keys.

        Raises:
            ConfigError: one is no list.
        """
        super().check()
        for name, keys in (("keys", self.keys), ("apart", self.apart)):
            if keys is not None and not isinstance(keys, list | tuple):
                raise ConfigError(
                    "is no list of keys", key=f"scheduler.{name}", value=keys, allowed="[KEY, ...] or null"
                )

    @abstractmethod
    def explore(self, plan: SweepPlan, generation: Generation, pairs: Sequence[tuple[int, int]]) -> list[Params]:
        """The points that members go on with.

        Args:
            plan: of the sweep. generation: all members of the shape.
            pairs: (who takes over a state, whose) by number.

        Returns:
            For each pair, the values of `keys`; all others stay those of whose state it is.
        """


def generation_rungs(plan: SweepPlan, interval: int | None) -> tuple[int, ...]:
    """Rungs after which generations end: what is decided there takes effect one rung later, and one is left to train.

    Example:
        >>> from rnnsweep.sweep.plan import Budget, Objective
        >>> from rnnsweep.sweep.space import Space
        >>> plan = SweepPlan("s", 0, 1, 10, (Objective("valid/error"),), Budget(4, 100), Space())
        >>> generation_rungs(plan, 30), generation_rungs(plan, None)
        ((3, 6), (2, 4, 6, 8))
    """
    last, step = _rungs(plan), interval_of(plan, interval) // plan.report_every
    return tuple(range(step, last - 1, step))


def interval_of(plan: SweepPlan, interval: int | None) -> int:
    """Updates between two generations; None: a tenth of the budget, rounded to whole evaluated rungs, two at least."""
    if interval is not None:
        return interval
    step = plan.eval_every * max(1, math.ceil(LEAST / plan.eval_every))
    return step * max(1, round(_rungs(plan) / (10 * step))) * plan.report_every


def _rungs(plan: SweepPlan) -> int:
    return -(-plan.budget.updates // plan.report_every)


class Population:
    """Implements `Scheduler`; what a member's fate depends on is its values at generations' rungs alone.

    Attributes:
        unit: what its yaml says. plan: of the sweep.
    """

    def __init__(self, unit: PopulationUnit, plan: SweepPlan) -> None:
        self.unit, self.plan = unit, plan
        self._rungs = generation_rungs(plan, unit.interval)
        self._size = unit.members or plan.budget.trials or 0
        self._gone: set[int] = set()
        self._at: dict[int, dict[int, AtRung]] = {rung: {} for rung in self._rungs}
        self._passed: dict[int, int] = {}
        self._decided: list[int] = []
        self._origins: dict[int, dict[int, tuple[int, Params]]] = {rung: {} for rung in self._rungs}

    def reached(self, at: AtRung) -> Sequence[Decision]:
        """See `Scheduler.reached`."""
        if at.last:
            self._gone.add(at.number)
            return self._due()
        # one that failed and was let try again has left the population
        if at.number in self._gone or at.number >= self._size:
            return [Decision(at.number, at.rung, KEEP)]
        self._passed[at.number] = at.rung
        if at.rung in self._at and at.rung not in self._decided:
            self._at[at.rung][at.number] = at
            return self._due()
        # a generation that it has no value of does not wait for it
        return [Decision(at.number, at.rung, KEEP), *self._due()]

    def revived_after(self, at: AtRung) -> int:
        """See `Reviving.revived_after`: the next generation's rung, for members."""
        if at.number >= self._size:
            return 0
        return next((rung for rung in self._rungs if rung >= at.rung), 0)

    def ended(self, view: TrialView) -> Sequence[Decision]:
        """See `Scheduler.ended`."""
        self._gone.add(view.number)
        return self._due()

    def drained(self) -> Sequence[Decision]:
        """See `Scheduler.drained`: the space has fewer points than the population was to have members."""
        for rung in self._open_rungs():
            if self._at[rung]:
                return self._decide(rung)
        return []

    def promoted(self, trial: int, rung: int) -> None:
        """See `Scheduler.promoted`; members are never paused by a verdict."""

    def restore(self, rungs: Sequence[AtRung], decisions: Sequence[Decision], trials: Sequence[TrialView]) -> None:
        """See `Scheduler.restore`."""
        self._gone = {view.number for view in trials if view.state.finished}
        for decision in decisions:
            if decision.rung in self._at and decision.verdict in (KEEP, EXPLOIT) and decision.rung not in self._decided:
                self._decided.append(decision.rung)
            if decision.verdict == EXPLOIT and decision.source is not None and decision.params is not None:
                self._origins[decision.rung][decision.trial] = decision.source, decision.params
        for at in rungs:
            self._passed[at.number] = max(at.rung, self._passed.get(at.number, 0))
            if at.rung in self._at:
                self._at[at.rung][at.number] = at

    def _open_rungs(self) -> list[int]:
        return [rung for rung in self._rungs if rung not in self._decided]

    def _due(self) -> list[Decision]:
        """What the first generation that has not ended decides, if all are there whom it waits for."""
        for rung in self._open_rungs():
            there = self._at[rung]
            waits = (n for n in range(self._size) if n not in self._gone and n not in there)
            if any(self._passed.get(number, 0) < rung for number in waits):
                return []
            if there:
                return self._decide(rung)
            self._decided.append(rung)
        return []

    def _decide(self, rung: int) -> list[Decision]:
        self._decided.append(rung)
        there = {number: at for number, at in sorted(self._at[rung].items()) if number not in self._gone}
        decisions: list[Decision] = []
        for members in self._shapes(there):
            generation = self._generation(rung, members)
            pairs = self._pairs(generation)
            points = self.unit.explore(self.plan, generation, pairs) if pairs else []
            for (target, source), changed in zip(pairs, points, strict=True):
                params = {**members[source].params, **changed}
                decisions.append(Decision(target, rung, EXPLOIT, source, params))
                self._origins[rung][target] = source, params
        taken = {decision.trial for decision in decisions}
        # whose states are taken last: a source must not go on before it is known that its state is needed
        return decisions + [Decision(number, rung, KEEP) for number in there if number not in taken]

    def _shapes(self, there: Mapping[int, AtRung]) -> list[dict[int, AtRung]]:
        """Members by the program that they need: no state fits another one."""
        shapes: dict[str, dict[int, AtRung]] = {}
        for number, at in there.items():
            mark = repr([(key, at.params.get(key)) for key in self.unit.apart or ()])
            shapes.setdefault(mark, {})[number] = at
        return list(shapes.values())

    def _generation(self, rung: int, members: Mapping[int, AtRung]) -> Generation:
        sign = -1.0 if self.plan.objectives[0].goal == "maximize" else 1.0

        def at(rung: int) -> Generation:
            there = self._at[rung]
            # a diverged one's value is a stand-in, which says nothing about what it was trained with
            found = {number: there[number] for number in members if number in there and not there[number].diverged}
            losses = {number: sign * one.values[0] for number, one in found.items()}
            return Generation(rung, found, losses, (), self._origins[rung])

        losses = {number: sign * one.values[0] for number, one in members.items()}
        return Generation(rung, members, losses, [at(before) for before in self._rungs if before < rung])

    def _pairs(self, generation: Generation) -> list[tuple[int, int]]:
        """Who takes over whose state: truncation selection, the worst first; only from one that is really better.

        All who have diverged take part, whatever their number: there is nothing that they could go on from. What they
        score is a stand-in, and ranks below everything that was measured.

        References:
            Jaderberg et al. (2017), section 4.1.1. Ours differs: all members of a generation at once; diverged ones.
        """
        losses = generation.losses
        order = sorted(losses, key=lambda number: (generation.members[number].diverged, losses[number], number))
        whole = [number for number in order if not generation.members[number].diverged]
        count = min(math.ceil(self.unit.quantile * len(order)), len(order) // 2)
        targets = order[len(order) - max(count, len(order) - len(whole)) :]
        best = [number for number in whole[: max(1, count)] if number not in targets]
        pairs: list[tuple[int, int]] = []
        for target in reversed(targets) if best else ():
            source = best[int(uniform(self.plan.seed, "exploit", generation.rung, target) * len(best))]
            if generation.members[target].diverged or losses[source] < losses[target]:
                pairs.append((target, source))
        return pairs
