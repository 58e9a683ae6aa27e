"""Where trials lie on an axis, and how they are coloured and named."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from rnnsweep.report.style import GREY, canvas
from rnnsweep.report.sweep_figures.axis import Axis, curves, points
from rnnsweep.sweep.space import Dimension


def test_a_range_is_a_line_and_a_choice_has_names():
    rate = Axis.of("optimizer.lr", {0: 0.01, 1: 0.1, 2: None}, Dimension("optimizer.lr", "float", 0.001, 1.0, log=True))
    assert rate.places == {0: 0.01, 1: 0.1}
    assert rate.log
    weights = Dimension("controllers.omega.weight", "categorical", choices=(0, 1, 4, math.inf))
    weight = Axis.of("controllers.omega.weight", {0: 4, 1: 0, 2: math.inf, 3: 4.0}, weights)
    assert weight.names == ("0", "4", "off")
    assert weight.places == {0: 1, 1: 0, 2: 2, 3: 1}
    assert weight.label == "omega.weight"
    assert weight.said(0) == "trial 0 · omega.weight = 4"


def test_a_column_is_taken_as_it_is():
    assert Axis.of("objective", {0: 0.5, 1: math.nan}).places == {0: 0.5}
    assert Axis.of("trial", {3: 3}).said(3) == "trial 3"
    with pytest.raises(ValueError, match="none of these trials"):
        Axis.of("solved_at", {0: None})


def test_colours_are_the_value_s():
    axis = Axis.of("objective", {0: 0.0, 1: 1.0, 2: 1.0})
    assert axis.colour(1) == axis.colour(2) != axis.colour(0)
    assert axis.colour(9) == GREY


def test_rows_of_one_value_have_a_mean_in_front():
    axis = Axis.of("x", {0: 1.0, 1: 1.0, 2: 2.0})
    frame = pd.DataFrame(
        [(trial, 0, lag, 10.0**trial) for trial in range(3) for lag in range(2)],
        columns=["trial", "replica", "lag", "y"],
    )
    _, grid = canvas()
    curves(grid[0, 0], frame, axis, "lag", "y", geometric=True)
    assert len(grid[0, 0].lines) == 5  # three rows, two values
    assert grid[0, 0].lines[3].get_ydata().tolist() == pytest.approx([10**0.5] * 2)  # of 1 and 10
    points(grid[0, 0], frame, axis, "y")
    assert len(grid[0, 0].collections[0].get_offsets()) == 6


def test_few_values_have_a_legend_and_many_a_scale():
    few, many = Axis.of("x", {0: 1.0, 1: 2.0}), Axis.of("x", {trial: float(trial) for trial in range(20)})
    figure, grid = canvas()
    few.explain(figure, grid)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1", "2"]
    figure, grid = canvas()
    many.explain(figure, grid)
    assert len(figure.axes) == 2
