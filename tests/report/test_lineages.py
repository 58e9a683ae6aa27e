"""Lineages of a population are drawn and tabled; other sweeps have none."""

from __future__ import annotations

import dataclasses

import pandas as pd

from rnnsweep.app.results.report_data import lineages_frame
from rnnsweep.report.lineages import lineages, schedule_table
from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.segments import TAKEN, Segment
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import TrialView

SPACE = Space((Dimension("lr", "float", 0.01, 1.0, log=True), Dimension("w", "float", 0.0, 1.0)))
PLAN = SweepPlan("s", 0, 1, 10, (Objective("valid/error"),), Budget(2, 60), SPACE)


def trials() -> list[TrialView]:
    """1 takes the state of 0 after 30 updates, with twice its rate; it ends better."""
    segments = (Segment(3, 30, {"lr": 0.2, "w": 0.5}, 0, TAKEN, attempt=2),)
    points = {0: {"lr": 0.1, "w": 0.5}, 1: {"lr": 0.9, "w": 0.1}}
    return [
        TrialView(
            number, TrialState.COMPLETE, point, (0.3 - 0.1 * number,), step=60, rung=6,
            segments=segments if number else None,
        )
        for number, point in points.items()
    ]  # fmt: skip


def test_a_state_that_went_over_is_a_step_and_the_schedule_has_its_values(data) -> None:
    frame = lineages_frame(PLAN, trials())
    rows = [tuple(row) for row in frame.itertuples(index=False)]
    assert rows == [(0, 0, 0, 60, 0.1, 0.5), (1, 0, 0, 30, 0.1, 0.5), (1, 1, 30, 60, 0.2, 0.5)]
    few = pd.DataFrame({"trial": [0, 1], "state": "COMPLETE", "objective": [0.3, 0.2], "solved_at": None})
    made = dataclasses.replace(data, space=SPACE, trials=few, lineages=frame, objective=PLAN.objectives[0])
    figure = lineages(made)
    members, rate = figure.axes  # w never changed along a lineage
    orange = next(line for line in members.lines if line.get_label() == "lineage of the best, #1")
    assert (orange.get_xdata().tolist(), orange.get_ydata().tolist()) == ([0, 30, 30, 60], [0, 0, 1, 1])
    assert rate.get_ylabel() == "lr"
    assert rate.lines[1].get_ydata().tolist() == [0.1, 0.1, 0.2, 0.2]
    assert schedule_table(made)["trained by"].tolist() == [0, 1]


def test_other_sweeps_have_none(data) -> None:
    assert lineages_frame(PLAN, [dataclasses.replace(one, segments=None) for one in trials()]) is None
    assert lineages(data) is None
    assert schedule_table(data) is None
