"""The volume of a front as results come in, by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rnnsweep.report.front_growth import answer, front_growth, growth
from rnnsweep.report.sections import SECTIONS
from tests.report.test_pareto_front import sweep as several


def sweep():
    """Errors 0.1, 0.2, 0.3, 0.3 and losses 3, 2, 2.5, 1, ended in the order 2, 1, 0, 3 a minute apart."""
    data = several()
    trials = data.trials.assign(started=0.0, finished=[180.0, 120.0, 60.0, 240.0])
    return dataclasses.replace(data, trials=trials)


def test_the_volume_grows_with_every_result_that_the_front_takes() -> None:
    grown = growth(sweep())
    assert grown is not None
    assert grown["trial"].tolist() == [2, 1, 0, 3]
    assert grown["minutes"].tolist() == [1.0, 2.0, 3.0, 4.0]
    # in ranges: 2 is (1, 0.75), 1 is (0.5, 0.5), 0 is (0, 1), 3 is (1, 0); boxes up to (1.1, 1.1)
    volumes = np.array([0.1 * 0.35, 0.6 * 0.6, 0.6 * 0.6 + 0.5 * 0.1, 0.6 * 0.6 + 0.5 * 0.1 + 0.1 * 0.5])
    assert grown["share"].to_numpy() == pytest.approx(volumes / volumes[-1])


def test_figure_and_sentence_say_when_most_of_it_was_there() -> None:
    data = sweep()
    figure = front_growth(data)
    assert figure is not None
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "time since the first trial began (minutes)",
        "complete trials",
    ]
    # 0.41 of 0.46 is 89 %: the last one makes it whole
    assert answer(data) == "The front had 90 % of its volume after 4 of 4 complete trials and 4 minutes."
    assert next(section for section in SECTIONS if section.slug == "front_growth").answer is answer


def test_a_goal_turned_round_counts_downwards() -> None:
    data = sweep()
    first, second = data.objectives
    up = dataclasses.replace(data, objectives=(first, dataclasses.replace(second, goal="maximize")))
    grown = growth(up)
    assert grown is not None
    # the best in both comes third, and nothing is added after it
    assert grown["share"].tolist()[2:] == [1.0, 1.0]


def test_one_objective_or_no_spread_has_no_growth(data) -> None:
    assert growth(data) is None
    assert answer(data) == ""
    flat = sweep()
    assert flat.values is not None
    alike = dataclasses.replace(flat, values=flat.values.assign(**{"train/loss": 1.0}))
    assert growth(alike) is None
    assert front_growth(alike) is None
