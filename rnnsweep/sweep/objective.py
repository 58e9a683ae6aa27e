"""From replicas' curves to one finite number per objective and trial.

A replica that is DONE or SOLVED keeps its last value; one that DIVERGED scores the worst value from then on. A value
that was never measured counts as the worst, so that every trial has a finite objective.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rnnsweep.sweep.budget import better
from rnnsweep.sweep.censoring import censored_median
from rnnsweep.sweep.fidelity import stage_after
from rnnsweep.sweep.plan import Objective, SweepPlan
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import RowState

SOLVED_AT = "solved_at"

"""Updates, whole or as a frame has them."""


@dataclass(slots=True)
class Curve:
    """What a replica has shown so far, at the trial's own rung.

    Attributes:
        last: newest finite value of each metric key.
        best: best value of each objective's metric, one entry per objective; None before the first. Values of another
            fidelity are no rivals: it begins anew with every stage.
        measured: rung of the newest value that `best` knows, one entry per objective.
        report: the newest report taken in.
    """

    last: dict[str, float] = field(default_factory=dict[str, float])
    best: list[float | None] = field(default_factory=list[float | None])
    measured: list[int] = field(default_factory=list[int])
    report: RowReport | None = None

    @property
    def state(self) -> RowState:
        """Of the row at its newest rung."""
        return RowState.ACTIVE if self.report is None else self.report.state

    @property
    def ended(self) -> bool:
        """No further rung of this replica will come."""
        return self.report is not None and self.report.state.ended

    @property
    def diverged(self) -> bool:
        """The replica left the finite numbers."""
        return self.report is not None and self.report.state is RowState.DIVERGED

    @property
    def solved_at(self) -> int | None:
        """Update at which the replica solved the task; None if it did not, or diverged since."""
        # a row that solved the task and then diverged ends up with weights that solve nothing
        return None if self.report is None or self.diverged else self.report.solved_at

    def revive(self) -> None:
        """The replica goes on, with a state that has not diverged; what it has shown stays."""
        if self.diverged:
            self.report = None

    def take(self, report: RowReport, plan: SweepPlan) -> None:
        """Go on to the next rung."""
        self.report = report
        if not self.best:
            self.best, self.measured = [None] * len(plan.objectives), [0] * len(plan.objectives)
        # update, not replace: `eval_every` leaves rungs without validation metrics, whose older values still hold
        self.last.update(_finite(report.metrics))
        for index, objective in enumerate(plan.objectives):
            value = report.metrics.get(objective.metric)
            if value is not None and math.isfinite(value):
                stage = stage_after(plan.stages, report.rung - 1)
                rivals = stage is None or self.measured[index] > stage.rung
                best = self.best[index] if rivals else None
                self.measured[index] = report.rung
                self.best[index] = value if best is None or better(objective, value, best) else best


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those that are finite, as plain floats."""
    if all(map(math.isfinite, metrics.values())):  # nearly always
        return dict(zip(metrics, map(float, metrics.values()), strict=True))
    return {key: float(value) for key, value in metrics.items() if math.isfinite(value)}


def fresh(objective: Objective, reports: Iterable[RowReport]) -> bool:
    """Whether these reports say something new about the objective: else a rung is no reason to prune."""
    # these change by themselves: not being solved after one more rung is news
    if objective.metric == SOLVED_AT or objective.reduce == "solved_share":
        return True
    return any(objective.metric in report.metrics or report.state is RowState.DIVERGED for report in reports)


def measured_after(plan: SweepPlan, curve: Curve, rung: int) -> bool:
    """Whether what a replica shows was measured after a rung, 0 the first: with `eval_every` a value may be older.

    A diverged one has nothing more to show, and a time to solve is known without an evaluation.
    """
    if not rung or curve.diverged:
        return True
    return all(
        measured > rung
        for objective, measured in zip(plan.objectives, curve.measured, strict=True)
        if objective.metric != SOLVED_AT and objective.reduce != "solved_share"
    )


def _worst(plan: SweepPlan, objective: Objective, updates: int) -> float:
    return float(updates) if objective.metric == SOLVED_AT else plan.worst.get(objective.metric, objective.worst)


def _replica(plan: SweepPlan, index: int, curve: Curve, updates: int) -> float:
    objective = plan.objectives[index]
    if objective.metric == SOLVED_AT:
        return float(updates if curve.solved_at is None else curve.solved_at)
    value = curve.last.get(objective.metric)
    if objective.take == "best":
        value = curve.best[index] if curve.best else None
    # diverged beats `take: best`: a good value before the explosion must not hide it from the sampler
    return _worst(plan, objective, updates) if value is None or curve.diverged else value


def _reduce(objective: Objective, values: Sequence[float]) -> float:
    if len(values) == 1:
        return values[0]
    if objective.reduce == "median":
        return statistics.median(values)
    if objective.reduce == "best":
        return max(values) if objective.goal == "maximize" else min(values)
    # fsum, so that the mean does not depend on the replicas' order
    return math.fsum(values) / len(values)


def reduced(plan: SweepPlan, curves: Sequence[Curve], updates: int) -> tuple[float, ...]:
    """One finite number per objective.

    Args:
        plan: objectives, and what diverged replicas score.
        curves: all replicas of a trial, at one rung.
        updates: the trial's own budget; what an unsolved replica scores for `solved_at`.
    """
    values: list[float] = []
    for index, objective in enumerate(plan.objectives):
        if objective.reduce == "solved_share":
            values.append(sum(curve.solved_at is not None for curve in curves) / len(curves))
            continue
        if objective.metric == SOLVED_AT and objective.reduce == "median":
            # the median that tables and reports show: the budget is no time that could be averaged with one
            solved = trial_solved_at(curves)
            values.append(float(updates if solved is None else solved))
            continue
        try:
            value = _reduce(objective, [_replica(plan, index, curve, updates) for curve in curves])
        # fsum raises where the sum of finite values is not finite
        except OverflowError:
            value = math.inf
        # never NaN or infinite: Optuna fails a trial without a number, and models fit values
        values.append(value if math.isfinite(value) else _worst(plan, objective, updates))
    return tuple(values)


def replica_values(plan: SweepPlan, curves: Sequence[Curve], updates: int) -> tuple[float, ...]:
    """The first objective's value of each replica, for pruners that pair replicas; see `reduced`."""
    return tuple(_replica(plan, 0, curve, updates) for curve in curves)


def replica_loss(plan: SweepPlan, curve: Curve, updates: int) -> float:
    """What a replica has come to by the first objective, signed so that less is better; see `reduced`."""
    objective = plan.objectives[0]
    solved = objective.reduce == "solved_share"
    value = float(curve.solved_at is not None) if solved else _replica(plan, 0, curve, updates)
    return -value if objective.goal == "maximize" else value


def trial_solved_at(curves: Sequence[Curve]) -> int | None:
    """Median over replicas, see `censored_median`; None while fewer than half are solved."""
    return censored_median([curve.solved_at for curve in curves if curve.solved_at is not None], len(curves))


def rung_metrics(plan: SweepPlan, curves: Sequence[Curve], values: Sequence[float]) -> dict[str, float]:
    """Mean over replicas of every metric key that they have, plus `objective` and, once there is one, `solved_at`.

    Ended replicas count with their last values, diverged ones with `plan.worst` where it names the key.
    """
    if len(curves) == 1 and not curves[0].diverged:
        # one replica: the mean of one value is itself
        metrics = dict(curves[0].last)
    else:
        metrics = _finite(_means([{**c.last, **plan.worst} if c.diverged else c.last for c in curves]))
    solved = trial_solved_at(curves)
    if solved is not None:
        metrics[SOLVED_AT] = float(solved)
    if values:
        metrics["objective"] = values[0]
    return metrics


def _means(scored: Sequence[Mapping[str, float]]) -> dict[str, float]:
    by_key: dict[str, list[float]] = {}
    for values in scored:
        for key, value in values.items():
            by_key.setdefault(key, []).append(value)
    return {key: statistics.fmean(values) for key, values in by_key.items()}


def rung_history(
    plan: SweepPlan, reports: Iterable[RowReport], updates: int
) -> list[tuple[int, float, tuple[float, ...]]]:
    """(step, reduced value, replicas' values) of each rung of a trial with news about the first objective.

    Args:
        plan: objectives and replicas.
        reports: all reports of one trial, in any order.
        updates: see `reduced`.
    """
    return [
        (max(report.step for report in taken), reduced(plan, curves, updates)[0], replica_values(plan, curves, updates))
        for _, taken, curves in _whole_rungs(plan, reports)
        if fresh(plan.objectives[0], taken)
    ]


def rung_values(
    plan: SweepPlan, reports: Iterable[RowReport], updates: int
) -> list[tuple[int, int, tuple[float, ...]]]:
    """(rung, step, one value per objective) of each rung of a trial; for the arguments see `rung_history`."""
    found, step = list[tuple[int, int, tuple[float, ...]]](), 0
    for rung, taken, curves in _whole_rungs(plan, reports):
        step = max(step, *(report.step for report in taken))
        found.append((rung, step, reduced(plan, curves, updates)))
    return found


def _whole_rungs(
    plan: SweepPlan, reports: Iterable[RowReport]
) -> Iterator[tuple[int, list[RowReport], Sequence[Curve]]]:
    """A trial's rungs as far as they count: number, reports of the rung, and the replicas' curves up to it."""
    by_rung: dict[int, dict[int, RowReport]] = {}
    for report in reports:
        by_rung.setdefault(report.rung, {})[report.replica] = report
    curves = [Curve() for _ in range(plan.first_replicas)]
    late = 1 + max((replica for reported in by_rung.values() for replica in reported), default=0) - len(curves)
    # by rung, since curves only go forward
    for rung in sorted(by_rung):
        if late > 0 and _ends_all(curves, by_rung[rung]):
            curves += _caught_up(plan, by_rung, rung, range(len(curves), len(curves) + late))
            late = 0
        reported = {replica: report for replica, report in by_rung[rung].items() if replica < len(curves)}
        for replica in reported:  # a report after the end: it went on from another one's state
            curves[replica].revive()
        # a rung counts only when every replica that still trains has it, as in `rungs.take_rung`
        if any(not curve.ended and replica not in reported for replica, curve in enumerate(curves)):
            return
        taken = [reported[replica] for replica, curve in enumerate(curves) if not curve.ended]
        for report in taken:
            curves[report.replica].take(report, plan)
        if taken:
            yield rung, taken, curves


def _ends_all(curves: Sequence[Curve], reported: Mapping[int, RowReport]) -> bool:
    """Whether these reports are the last of all replicas: it is where replicas that were started later come in."""
    going = [replica for replica, curve in enumerate(curves) if not curve.ended]
    return all(replica in reported and reported[replica].state.ended for replica in going)


def _caught_up(
    plan: SweepPlan, by_rung: Mapping[int, Mapping[int, RowReport]], rung: int, replicas: Iterable[int]
) -> list[Curve]:
    """Curves, up to the rung before this one, of replicas that were started later."""
    curves: list[Curve] = []
    for replica in replicas:
        curves.append(Curve())
        for earlier in sorted(by_rung):
            if earlier < rung and replica in by_rung[earlier]:
                curves[-1].take(by_rung[earlier][replica], plan)
    return curves
