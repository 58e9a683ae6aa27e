"""Reads a sweep from the ledger: the machine's memory, and the history that the sampler learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.events import Command
from rnnsweep.sweep.objective import rung_history
from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.ports import Ledger, Sampler, SweepView, TrialView
from rnnsweep.sweep.rebuild import Records, Reopen, rebuild
from rnnsweep.sweep.records import SweepMemory
from rnnsweep.sweep.rows import RowReport

Rungs = Mapping[int, Sequence[tuple[int, float, tuple[float, ...]]]]


def load(
    ledger: Ledger, plan: SweepPlan, fence: int, now: float, reopen: Reopen | None
) -> tuple[SweepMemory, list[Command], list[TrialView], Rungs, SweepView]:
    """Everything that a driver starts from.

    Returns:
        The machine's memory; its first commands; all trials as they are now; each trial's rungs as far
        as they count (step, value, replicas' values); and the sweep itself.

    Raises:
        ConfigError: the sweep is not in the ledger, or `reopen` is impossible.
    """
    sweep = ledger.sweep(plan.name)
    if sweep is None:
        known = [view.name for view in ledger.sweeps()]
        raise ConfigError("no such sweep", key="name", value=plan.name, allowed=known)
    trials = ledger.trials(plan.name)
    reports: dict[int, list[RowReport]] = {}
    for report in ledger.reports(plan.name) if trials else ():
        reports.setdefault(report.trial, []).append(report)
    records = Records(sweep, trials, ledger.attempts(plan.name), reports, ledger.verdicts(plan.name))
    memory, commands = rebuild(plan, fence, now, records, reopen)
    views = {view.number: view for view in trials}
    views.update((number, trial.view()) for number, trial in memory.open.items())
    rungs: dict[int, list[tuple[int, float, tuple[float, ...]]]] = {}
    if len(plan.objectives) == 1:
        for number, found in reports.items():
            limit = memory.open[number].rung if number in memory.open else views[number].rung
            counted = (report for report in found if report.rung <= limit)
            rungs[number] = rung_history(plan, counted, plan.budget.updates)
    return memory, commands, [views[number] for number in sorted(views)], rungs, sweep


def teach(sampler: Sampler, views: Sequence[TrialView], rungs: Rungs) -> None:
    """Let the sampler rebuild its history; one that pairs replicas gets their values as well."""
    means = {trial: [(step, value) for step, value, _ in points] for trial, points in rungs.items()}
    if getattr(sampler, "wants_replicas", False):
        each = {trial: [(step, values) for step, _, values in points] for trial, points in rungs.items()}
        sampler.restore(views, means, each)  # type: ignore[call-arg]
    else:
        sampler.restore(views, means)


def still_waiting(points: Sequence[Params], views: list[TrialView]) -> list[Params]:
    """Enqueued points that no trial has taken yet; each trial stands for one of them and leaves `views`.

    Example:
        >>> still_waiting([{"x": 1.0}], [])
        [{'x': 1.0}]
    """
    left: list[Params] = []
    for point in points:
        fitting = (v for v in views if all(v.params.get(key) == value for key, value in point.items()))
        taken = next(fitting, None)
        if taken is None:
            left.append(point)
        else:
            views.remove(taken)
    return left
