"""The table of trials: one row each, the columns in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rnnsweep.adapters.tracked_trials import TrackedSweep, TrackedTrial
from rnnsweep.adapters.trial_texts import TAGS, legal_name, param_text
from rnnsweep.sweep.plan import SweepPlan

Column = tuple[str, str]
"""(name, type: int, float or text)"""
_REST = tuple(tag for tag in TAGS if tag != "state")


def trial_columns(plan: SweepPlan) -> list[Column]:
    """Columns of the table: number, state, objectives, searched keys, times, then the facts that MLflow has as tags."""
    objectives = ["objective", *(f"objective.{index}" for index in range(1, len(plan.objectives)))]
    searched = [(legal_name(item.key), "text" if item.kind == "categorical" else item.kind) for item in plan.searched]
    return [
        ("trial", "int"),
        ("state", "text"),
        *((name, "float") for name in objectives),
        *searched,
        ("step", "int"),
        ("solved_at", "float"),
        ("diverged_at", "int"),
        ("started", "float"),
        ("finished", "float"),
        *((name, "text") for name in _REST),
    ]


def trial_row(sweep: TrackedSweep, trial: TrackedTrial) -> list[Any]:
    """A trial's row; None where there is no value. Objectives belong to trials that have ended."""
    data, plan = trial.data, sweep.plan
    params, tags = sweep.params(trial), sweep.tags(trial)
    values: Sequence[float] = tuple(data.get("values", ())) if trial.state.finished else ()
    return [
        trial.number,
        trial.state.value,
        *(values[index] if index < len(values) else None for index in range(len(plan.objectives))),
        *(_param(item.kind, params.get(legal_name(item.key), _ABSENT)) for item in plan.searched),
        trial.step,
        data.get("solved_at"),
        data.get("diverged_at"),
        trial.started,
        trial.ended_at,
        *(tags.get(name) for name in _REST),
    ]


_ABSENT = object()
"""A key that the trial does not have, as its condition did not hold; null is a value."""


def _param(kind: str, value: Any) -> Any:
    if value is _ABSENT:
        return None
    if kind == "categorical":
        return param_text(value)
    return int(value) if kind == "int" else float(value)
