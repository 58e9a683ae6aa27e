"""The `Sampler` port over a history in memory: enqueued points, then the sampler's unit; verdicts by the pruner's."""

from __future__ import annotations

import logging
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rnnsweep.adapters.optuna.cube import check_space, exact
from rnnsweep.adapters.optuna.history import History, rung_of
from rnnsweep.adapters.optuna.pruners.base import PrunerUnit, TrialAtRung
from rnnsweep.adapters.optuna.samplers.base import Ask, SamplerUnit
from rnnsweep.errors import ConfigError
from rnnsweep.loader import build_unit, user_code
from rnnsweep.sweep.plan import Scalar, SweepPlan
from rnnsweep.sweep.ports import UNINFORMED, Origin, TrialView
from rnnsweep.sweep.space import Space, completed
from rnnsweep.sweep.states import TrialState

LOG = logging.getLogger(__name__)


def build_sampler(plan: SweepPlan, sampler: Mapping[str, Any], pruner: Mapping[str, Any]) -> HistorySampler:
    """The sweep's sampler from the resolved yaml of `sampler` and `pruner`.

    Raises:
        ConfigError: unknown or wrong keys, a space or objectives that the two cannot serve.
    """
    check_space(plan.space)
    proposing, judging = build_unit(sampler, "sampler", SamplerUnit), build_unit(pruner, "pruner", PrunerUnit)
    # both may be the user's
    with user_code(proposing, judging):
        proposing.check_plan(plan)
        judging.check_plan(plan)
    return HistorySampler(plan, proposing, judging)


class HistorySampler:
    """Implements the port `Sampler`; every answer is a function of (sweep seed, number, history).

    Attributes:
        wants_replicas: the pruner compares replicas: call `report_replicas` after each `report`.
        origin: how the last ask was answered.
    """

    def __init__(self, plan: SweepPlan, sampler: SamplerUnit, pruner: PrunerUnit) -> None:
        self._plan, self._sampler, self._pruner = plan, sampler, pruner
        self._history = self._fresh()
        self.wants_replicas = pruner.replicas
        self._earlier: tuple[TrialView, ...] = ()
        self._known: list[Mapping[str, Any]] = []
        self._given = list(range(len(plan.enqueue)))  # numbers of enqueued points, in order
        self._offset = 0
        self.origin = UNINFORMED

    def _fresh(self) -> History:
        plan = self._plan
        return History(plan.space, plan.objectives, plan.version.defaults, self._sampler.trusted_rung(plan))

    def edit(self, plan: SweepPlan, pruner: Mapping[str, Any] | None) -> int:
        """Ask and judge by this plan from now on, and by this pruner; how many enqueued points fit it no longer.

        Results count on where they lie in the new space, with the values that they had of keys that are new. `restore`
        follows, which needs curves that another pruner may not have kept.

        Raises:
            ConfigError: sampler or pruner cannot serve it; then nothing has changed.
        """
        check_space(plan.space)
        judging = self._pruner if pruner is None else build_unit(pruner, "pruner", PrunerUnit)
        with user_code(self._sampler, judging):
            proposing = replace(self._sampler)  # a fresh one: what it remembers is about the space of before
            proposing.check_plan(plan)
            judging.check_plan(plan)
        self._plan, self._sampler, self._pruner, self.wants_replicas = plan, proposing, judging, judging.replicas
        before = len(self._known)
        self._known = [point for point in self._known if _fits(plan.space, point)]
        return before - len(self._known)

    def warm_start(self, earlier: Sequence[TrialView], offset: int | None = None) -> None:
        """Learn from the results of other sweeps; `restore` keeps them.

        They stand in the history below number 0, the newest first, and count towards the
        start from the Sobol sequence. That goes on where the other sweep has left it: with one seed, this one would
        else repeat what has been tried. Trials that lie outside of the space teach nothing.

        Args:
            earlier: their trials.
            offset: how far those have gone along the sequence; None: as their numbers say.
        """
        last = max((view.number for view in earlier), default=-1)
        self._offset = 1 + last if offset is None else offset
        complete = [view for view in earlier if view.state is TrialState.COMPLETE and view.values]
        self._earlier = tuple(replace(view, number=-1 - view.number) for view in complete)
        self._warm()

    def _warm(self) -> None:
        for view in self._earlier:
            self._history.start(view.number, view.params)
            self._history.finish(view)

    def enqueue(self, points: Sequence[Mapping[str, Scalar]]) -> None:
        """Known points for the next asks, before anything that is proposed.

        Raises:
            ConfigError: a point that does not lie in the space; then none is taken.
        """
        space = self._plan.space
        # the list is complete before it is added: one point that does not fit adds none
        self._known += [space.fitting(point, f"points.{index}") for index, point in enumerate(points)]

    def restore(
        self,
        trials: Sequence[TrialView],
        rungs: Mapping[int, Sequence[tuple[int, float]]],
        replicas: Mapping[int, Sequence[tuple[int, tuple[float, ...]]]] | None = None,
    ) -> None:
        """Rebuild the history; `replicas` maps trial -> [(step, values)] and is read where `wants_replicas`."""
        self._history = self._fresh()
        self._warm()
        # also those of earlier sessions, or a resumed grid would go on at another cell
        self._given = sorted({*range(len(self._plan.enqueue)), *(view.number for view in trials if view.enqueued)})
        for view in trials:
            self._history.start(view.number, view.params)
            for step, value in rungs.get(view.number, ()):
                self.report(view.number, step, value)
            for step, values in (replicas or {}).get(view.number, ()):
                self.report_replicas(view.number, step, values)
            # after its reports, as they came
            if view.state.finished:
                self.tell(view)

    def ask(self, number: int) -> dict[str, Scalar] | None:
        """The point of trial `number`, or None when the space is exhausted. The trial counts as running."""
        # a grid counts without them: enqueued points must take none of its cells
        before = bisect_left(self._given, number)
        plan = self._plan
        stages = tuple((one.first - bisect_left(self._given, one.first), one) for one in plan.versions)
        ask = Ask(number, plan.seed, plan.space, self._history, before, self._offset, plan.budget.trials, stages)
        point = self._next_known(number)
        if point is not None:
            params, self.origin = self._completed(ask, point), Origin(enqueued=True)
        else:
            params, self.origin = self._sampler.propose(ask), Origin(informed_by=self._sampler.informed_by(ask))
        if params is not None:
            params = completed(plan.version.pins, params)
            self._history.start(number, params)
        return params

    def _next_known(self, number: int) -> Mapping[str, Any] | None:
        """The enqueued point of a trial: the config's belong to the first numbers, others go to whoever asks next."""
        if number < len(self._plan.enqueue):
            return self._plan.enqueue[number]
        if not self._known:
            return None
        insort(self._given, number)
        return self._known.pop(0)

    def _completed(self, ask: Ask, point: Mapping[str, Any]) -> dict[str, Any]:
        """The known point; dimensions that it leaves open come from the Sobol sequence."""
        given = dict(point)
        params: dict[str, Any] = {}
        for dimension in ask.space:
            if dimension.key in given:
                params[dimension.key] = exact(dimension, given.pop(dimension.key))
            elif dimension.active(params):
                params[dimension.key] = ask.drawn(dimension)
        return {**params, **given}

    def report(self, number: int, step: int, value: float) -> None:
        """A reduced value at a rung (`step` in updates)."""
        self._history.report(number, rung_of(step, self._plan.report_every), value, keep_all=self._pruner.curves)

    def report_replicas(self, number: int, step: int, values: Sequence[float]) -> None:
        """One value per replica at a rung, for pruners that pair replicas."""
        if self.wants_replicas:
            self._history.report_replicas(number, rung_of(step, self._plan.report_every), tuple(values))

    def prune(self, number: int, step: int) -> bool:
        """Whether the trial should end at this rung (already reported)."""
        record, rung = self._history.get(number), rung_of(step, self._plan.report_every)
        # FAILED meanwhile, or a pruner that never looks: nothing to judge by
        if record is None or not self._pruner.curves or rung not in record.curve:
            return False
        if self.wants_replicas and rung not in record.replicas:
            LOG.warning("the pruner compares replicas, but was told none of trial %d at update %d", number, step)
        rungs = rung_of(self._plan.budget.updates, self._plan.report_every)
        return self._pruner.judge(TrialAtRung(record, rung, rungs, self._history))

    def tell(self, view: TrialView) -> None:
        """A finished trial (COMPLETE, PRUNED or FAILED)."""
        self._history.finish(view)


def _fits(space: Space, point: Mapping[str, Any]) -> bool:
    try:
        space.fitting(point, "points")
    except ConfigError:
        return False
    return True
