"""Objectives as a reader should meet them: a time to solve that has not come is no time."""

from __future__ import annotations

import pandas as pd

from rnnsweep.report.data import Frame, SweepData
from rnnsweep.report.style import number
from rnnsweep.sweep.summary import unsolved


def score(data: SweepData, value: float, solved_at: float, missing: int = 0) -> str:
    """A trial's objective; of a time to solve that has not come, or a mean with one, what it is larger than.

    Args:
        data: the sweep.
        value: the objective; NaN where there is none.
        solved_at: the trial's; NaN where it did not solve the task.
        missing: how many of its replicas did not.
    """
    if value != value:  # NaN
        return "–"
    late = unsolved(data.objective, value, None if solved_at != solved_at else solved_at, data.updates, missing)
    return f"{'> ' if late else ''}{number(float(value))}"


def best_score(data: SweepData) -> str:
    """The best objective; there is one."""
    first = data.ranked.iloc[0]
    return score(data, float(first["objective"]), float(first["solved_at"]), int(first.get("unsolved", 0)))


def with_scores(data: SweepData, table: Frame) -> Frame:
    """A table of trials for the page: its objectives in words where one of them is a time that has not come."""
    missing = data.trials.set_index("trial").get("unsolved", pd.Series(dtype=int))
    entries = zip(table["trial"], table["objective"], table["solved_at"], strict=True)
    texts = [score(data, value, at, int(missing.get(trial, 0))) for trial, value, at in entries]
    if not any(text.startswith("> ") for text in texts):
        return table
    table = table.assign(objective=texts)
    if "to" in table:  # columns of the replicas' own values, smallest and largest
        for name, enough in (("replicas from", data.replicas_per_trial), ("to", 1)):
            late = [int(missing.get(trial, 0)) >= enough for trial in table["trial"]]
            table[name] = [f"{'> ' if one else ''}{number(v)}" for one, v in zip(late, table[name], strict=True)]
    return table
