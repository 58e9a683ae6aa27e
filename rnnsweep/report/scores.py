"""Objectives as a reader should meet them: a time to solve that has not come is no time."""

from __future__ import annotations

from rnnsweep.report.data import Frame, SweepData
from rnnsweep.report.style import number
from rnnsweep.sweep.summary import unsolved


def score(data: SweepData, value: float, solved_at: float) -> str:
    """A trial's objective; of a time to solve that has not come, by when it had not.

    Args:
        data: the sweep.
        value: the objective; NaN where there is none.
        solved_at: the trial's; NaN where it did not solve the task.
    """
    if value != value:  # NaN
        return "–"
    late = unsolved(data.objective, value, None if solved_at != solved_at else solved_at, data.updates)
    return f"{'> ' if late else ''}{number(float(value))}"


def best_score(data: SweepData) -> str:
    """The best objective; there is one."""
    first = data.ranked.iloc[0]
    return score(data, float(first["objective"]), float(first["solved_at"]))


def with_scores(data: SweepData, table: Frame) -> Frame:
    """A table of trials for the page: its objectives in words where one of them is a time that has not come."""
    texts = [score(data, value, at) for value, at in zip(table["objective"], table["solved_at"], strict=True)]
    late = any(text.startswith("> ") for text in texts)
    return table.assign(objective=texts) if late else table
