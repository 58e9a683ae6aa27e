"""The ledger's views as pandas frames, for the Python API and for reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from rnnsweep.core.metrics.names import METRIC_KEYS
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.sweep.fidelity import Stage, reached
from rnnsweep.sweep.lineage import changes_of
from rnnsweep.sweep.objective import Curve, reduced
from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.rows import RowId, RowReport
from rnnsweep.sweep.space import Dimension, completed
from rnnsweep.sweep.views import fingerprint_text

if TYPE_CHECKING:
    Frame = Any  # see report.data
else:
    Frame = pd.DataFrame

TRIAL_COLUMNS = {
    "trial": "int64",
    "state": "object",
    "objective": "float64",
    "solved_at": "float64",
    "diverged_at": "float64",
    "diverged_share": "float64",
    "reason": "object",
    "attempts": "int64",
    "started": "float64",
    "finished": "float64",
    "step": "int64",
    "worker": "object",
    "engine": "object",
    "informed": "int64",
    "unsolved": "int64",
}
REPLICA_COLUMNS = {
    "trial": "int64",
    "replica": "int64",
    "state": "object",
    "step": "int64",
    "value": "float64",
    "solved_at": "float64",
    "diverged_at": "float64",
    "device_s": "float64",
    "engine": "object",
}
CURVE_COLUMNS = {
    "trial": "int64",
    "replica": "int64",
    "rung": "int64",
    "step": "int64",
    "key": "object",
    "value": "float64",
}


def _frame(rows: list[dict[str, Any]], columns: dict[str, str], more: Sequence[str] = ()) -> Frame:
    """A frame with all columns and their types, also where there are no rows."""
    frame = pd.DataFrame(rows, columns=[*columns, *more])
    return frame.astype(columns)


PARENT = ("parent", "parent_at")
"""Columns of a sweep in which trials take over each other's states."""


def trials_frame(
    trials: Iterable[TrialView],
    keys: Sequence[str],
    defaults: Sequence[Dimension] = (),
    stages: Sequence[Stage] = (),
) -> Frame:
    """One row per trial by number; searched keys are columns of their own, missing where a condition excludes them.

    Where code or data changed while the sweep lived, `fingerprints` says what each trial was trained under; where the
    space did, `space` says under which version it was asked for; where a trial has another's result, `same_as` whose.

    Args:
        trials: in any order.
        keys: of the columns.
        defaults: values of keys that trials from before an edit do not name, see `SweepPlan.version`.
        stages: of the sweep: each key that they change is a column, with what the trial's last update was trained at.
    """
    trials = list(trials)
    more = [name for name in ("space", "same_as") if any(getattr(trial, name) is not None for trial in trials)]
    changed = any(trial.fingerprints for trial in trials)
    population = any(trial.segments for trial in trials)
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.value,
            "objective": trial.values[0] if trial.values else None,
            "solved_at": trial.solved_at,
            "diverged_at": trial.diverged_at,
            "diverged_share": trial.diverged_share,
            "reason": trial.reason,
            "attempts": trial.attempts,
            "started": trial.started,
            "finished": trial.finished,
            "step": trial.step,
            "worker": trial.worker,
            "engine": trial.engine,
            "informed": trial.informed_by,
            "unsolved": trial.unsolved or 0,
            **_parent(trial, population),
            **({"fingerprints": fingerprint_text(trial.fingerprints) or "0"} if changed else {}),
            **{name: _number_of(trial, name) for name in more},
            **reached(stages, trial.step),
            **_values(completed(defaults, trial.params), keys),
        }
        for trial in trials
    ]
    optional = [*(PARENT if population else ()), *(["fingerprints"] if changed else []), *more]
    return _frame(rows, TRIAL_COLUMNS, [*optional, *reached(stages, 0), *keys])


def _values(params: Params, keys: Sequence[str]) -> dict[str, Any]:
    return {key: params.get(key) for key in keys}


def _number_of(trial: TrialView, name: str) -> int | None:
    """The space of the launch is version 0; whoever has no other's result has none."""
    return getattr(trial, name) if name != "space" else trial.space or 0


def _parent(trial: TrialView, population: bool) -> dict[str, Any]:
    """Whose state it has taken over last, and at which update, where some trial of the sweep has taken over any."""
    changes = changes_of(trial.params, trial.segments or ())
    last = changes[-1] if changes else {}
    return dict(zip(PARENT, (last.get("parent"), last.get("update")), strict=True)) if population else {}


def replicas_frame(reports: Iterable[RowReport], plan: SweepPlan) -> Frame:
    """One row per (trial, replica): where it stands, and what it scores on the first objective."""
    alone = dataclasses.replace(plan, objectives=(dataclasses.replace(plan.objectives[0], reduce="mean"),))
    curves: dict[RowId, Curve] = {}
    device: dict[RowId, float] = {}
    for report in sorted(reports, key=lambda r: (r.trial, r.replica, r.rung)):
        curves.setdefault(report.row, Curve()).take(report, alone)
        device[report.row] = device.get(report.row, 0.0) + report.device_s
    rows = []
    for (trial, replica), curve in curves.items():
        last = curve.report
        assert last is not None  # `take` sets it
        rows.append(
            {
                "trial": trial,
                "replica": replica,
                "state": last.state.value,
                "step": last.step,
                "value": reduced(alone, [curve], plan.budget.updates)[0],
                "solved_at": curve.solved_at,
                "diverged_at": last.diverged_at,
                "device_s": device[trial, replica],
                "engine": last.engine,
            }
        )
    return _frame(rows, REPLICA_COLUMNS)


def curves_frame(reports: Iterable[RowReport], keys: Sequence[str] = ()) -> Frame:
    """Long form: one row per (trial, replica, rung, metric key); `keys` empty means all.

    Raises:
        ConfigError: a key that nothing reports; one that trials of other tasks report gives no rows.
    """
    rows = [
        {"trial": r.trial, "replica": r.replica, "rung": r.rung, "step": r.step, "key": key, "value": value}
        for r in reports
        for key, value in r.metrics.items()
    ]
    _check_keys(keys, dict.fromkeys(row["key"] for row in rows))
    return _frame([row for row in rows if not keys or row["key"] in keys], CURVE_COLUMNS)


def _check_keys(keys: Sequence[str], reported: Iterable[str]) -> None:
    reported = list(reported)
    known = list(dict.fromkeys([*reported, *METRIC_KEYS]))
    for key in keys:
        if key not in known:
            raise ConfigError(
                "no such metric", key="key", value=key, allowed=reported or known, hint=nearest(key, known)
            )
