"""The front is drawn and tabled where there are several objectives."""

from __future__ import annotations

import dataclasses

import pandas as pd

from rnnsweep.core.metrics.names import METRICS
from rnnsweep.report.pareto_front import front_table, pareto_front
from rnnsweep.sweep.plan import Objective
from tests.report.conftest import one_key


def sweep():
    data = one_key({float(weight): [[False]] for weight in range(4)})
    values = pd.DataFrame({"trial": range(4), "valid/error": [0.1, 0.2, 0.3, 0.3], "train/loss": [3.0, 2.0, 2.5, 1.0]})
    trials = data.trials.assign(objective=values["valid/error"])
    objectives = (Objective("valid/error"), Objective("train/loss"))
    return dataclasses.replace(data, trials=trials, values=values, objectives=objectives, metrics=METRICS)


def test_front_by_hand():
    data = sweep()
    assert data.front == [0, 1, 3]  # 2 is beaten by 1 in both
    figure = pareto_front(data)
    assert [text.get_text() for text in figure.axes[0].texts] == ["#0", "#1", "#3"]
    assert figure.axes[0].get_ylabel() == "training loss"  # the words that the sweep hands in
    assert front_table(data)["omega.weight"].tolist() == [0.0, 1.0, 3.0]


def test_a_goal_turned_round_turns_the_front_round():
    data = sweep()
    up = dataclasses.replace(data, objectives=(data.objectives[0], Objective("train/loss", goal="maximize")))
    assert up.front == [0]


def test_one_objective_has_no_front(data):
    assert pareto_front(data) is None
    assert front_table(data) is None
