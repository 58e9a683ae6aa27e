"""From the ledger to what `report` draws."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from rnnsweep.app.results.tables import resolved
from rnnsweep.app.stores import StorePlace, place_of, reading_sweep
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import SweepPlan

if TYPE_CHECKING:
    Frame = Any  # see report.data

    from rnnsweep.app.config.load import SweepConfig
    from rnnsweep.core.pack import RowSnapshot
    from rnnsweep.report.data import SweepData
    from rnnsweep.sweep.ports import Ledger, SweepView, TrialView
    from rnnsweep.unit import Metric


def report_sweep(where: StorePlace, sweep: str, out: Path | None = None) -> Path:
    """Write the report's page, figures and tables; returns the page's path."""
    from rnnsweep.report.page import write_report

    with reading_sweep(where, sweep) as (ledger, view):
        data = gather(ledger, view, where.root)
    return write_report(data, out or folder(where, sweep))


def overview_picture(where: StorePlace, ledger: Ledger, sweep: str) -> Path | None:
    """Write the one picture of a sweep; None where there is nothing to draw yet."""
    from rnnsweep.report.page import write_overview

    view = ledger.sweep(sweep)
    return None if view is None else write_overview(gather(ledger, view), folder(where, sweep))


def folder(where: StorePlace, sweep: str) -> Path:
    """Where a sweep's report lies."""
    return where.root / "reports" / sweep


def gather(ledger: Ledger, view: SweepView, root: Path | None = None) -> SweepData:
    """Everything that a report shows, read from the ledger and, where `root` names the store, from checkpoints."""
    from rnnsweep.app.config.commands import commands_for
    from rnnsweep.app.config.load import from_json
    from rnnsweep.app.config.point import without_passwords
    from rnnsweep.app.environment import describe
    from rnnsweep.app.results.frames import curves_frame, replicas_frame, trials_frame
    from rnnsweep.app.results.tables import as_yaml
    from rnnsweep.report.data import SweepData

    config = from_json(view.config, store=root)
    plan, commands = config.plan, commands_for(config, place_of(config.store.root, config.store.ledger).option)
    trials, reports = ledger.trials(view.name), ledger.reports(view.name)
    data = SweepData(
        name=view.name,
        state=view.state.value,
        objective=plan.objectives[0],
        space=plan.space,
        updates=plan.budget.updates,
        replicas_per_trial=plan.replicas,
        trials=trials_frame(trials, plan.space.keys),
        replicas=replicas_frame(reports, plan),
        curves=curves_frame(reports),
        metrics=metrics(config),
        importances=importances(plan, trials),
        chance=chance(config),
        totals={"wall_s": view.wall_s, "device_s": view.device_s, "updates": view.updates},
        config_yaml=as_yaml(without_passwords(resolved(view))),
        commands=(commands.rerun, commands.resume),
        environment=describe(),
    )
    return data if root is None else dataclasses.replace(data, profiles=profiles(ledger, view, data, root))


PROFILED, REPLICAS = 4, 5
"""Trials, and replicas of each, whose error profiles are drawn."""


def profiles(ledger: Ledger, view: SweepView, data: SweepData, root: Path) -> Frame:
    """Error profiles of the best trials, from their newest readable checkpoints."""
    from rnnsweep.app.config.load import from_json
    from rnnsweep.core.checkpoint import CheckpointStore
    from rnnsweep.report.data import PROFILE_COLUMNS

    store = CheckpointStore(from_json(view.config, store=root).checkpoints)
    rows = []
    for trial in data.scored["trial"].head(PROFILED).tolist():
        tokens = [attempt.token for attempt in reversed(ledger.attempts(view.name, trial))]
        for replica in range(min(REPLICAS, data.replicas_per_trial)):
            saved = store.newest([store.folder(trial, replica, token) for token in tokens])
            if saved is not None and saved.state.profile is not None:
                rows += _profile_rows(trial, replica, saved.state)
    return pd.DataFrame(rows, columns=PROFILE_COLUMNS)


def _profile_rows(trial: int, replica: int, state: RowSnapshot) -> list[tuple[int, int, str, int, int, float]]:
    assert state.profile is not None
    steps = state.profile.shape[1]
    return [
        (trial, replica, when, update, steps - 1 - t, value)
        for when, update, line in zip(
            ("start", "middle", "end"), state.profile_steps, state.profile.tolist(), strict=True
        )
        for t, value in enumerate(line)
        if math.isfinite(value)
    ]


def importances(plan: SweepPlan, trials: list[TrialView]) -> Mapping[str, float]:
    """Importance by searched key, as shares of 1; empty where there are too few trials to tell."""
    from rnnsweep.adapters.optuna.importance import importances as by_optuna

    shares = by_optuna(plan.space, trials, 0, plan.objectives[0].goal)
    return shares if any(shares.values()) else {}


def metrics(config: SweepConfig) -> Mapping[str, Metric]:
    """Words for the sweep's metrics; of those of every sweep alone where a unit of its cannot be found any more."""
    from rnnsweep.app.config.unit_checks import metrics_of
    from rnnsweep.core.metrics.names import METRICS

    try:
        return metrics_of(config.variants)
    except ConfigError:
        return METRICS


def chance(config: SweepConfig) -> float | None:
    """What a network that knows nothing scores; None where trials differ in that, or the task cannot be asked."""
    from rnnsweep.app.config.unit_checks import chance_of

    try:
        return chance_of(config.variants, config.plan.space, config.plan.objectives[0].metric)
    except ConfigError:
        return None
