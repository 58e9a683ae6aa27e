"""Figures of a sweep's analyses draw what their frames say."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rnnsweep.report.sweep_figures.axis import Axis
from rnnsweep.report.sweep_figures.pictures import PICTURES

AXIS = Axis.of("x", {0: 1.0, 1: 2.0})


def frame(columns: list[str], *rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["trial", "replica", *columns])


def test_attractors_are_told_apart_by_kind():
    summary = frame(["start", "period", "exponent"], (0, 0, 0, 1, -0.5), (1, 0, 0, 0, 0.2))
    samples = frame(["start", "sample", "value"], (0, 0, 0, 0, 1.0), (1, 0, 0, 0, 2.0), (1, 0, 0, 1, 3.0))
    figure = PICTURES["bifurcation_diagram"].draw({"samples": samples, "summary": summary}, AXIS)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["fixed point", "neither within its samples"]
    assert [len(dots.get_offsets()) for dots in figure.axes[0].collections] == [1, 2]


def test_half_lives_beyond_the_longest_lag_are_marked():
    columns = ["what", "lag", "response"]
    responses = frame(
        columns, *((trial, 0, what, lag, 0.9) for trial in (0, 1) for what in ("input", "state") for lag in (0, 5))
    )
    summary = frame(["what", "half_life", "at_longest"], (0, 0, "state", np.inf, 0.9), (1, 0, "state", 2.0, 0.1))
    figure = PICTURES["effective_memory"].draw({"responses": responses, "summary": summary}, AXIS)
    half = figure.axes[2]
    assert half.get_legend().get_texts()[0].get_text() == "longer than tested"
    assert sorted(float(dots.get_offsets()[0, 1]) for dots in half.collections) == [2.0, 5.0]
    assert figure.axes[3].get_ylabel() == "share left after 5 steps"


def test_a_spectrum_with_dead_directions_is_drawn_as_far_as_it_goes():
    spectrum = frame(["index", "exponent"], (0, 0, 1, 0.1), (0, 0, 2, -np.inf), (1, 0, 1, -0.1), (1, 0, 2, -40.0))
    summary = frame(["largest", "dimension"], (0, 0, 0.1, 1.0), (1, 0, -0.1, 0.0))
    figure = PICTURES["lyapunov"].draw({"spectrum": spectrum, "summary": summary}, AXIS)
    assert len(figure.axes) == 3
    assert figure.axes[0].get_ylim()[0] == -12
    without = PICTURES["lyapunov"].draw({"spectrum": spectrum, "summary": summary.drop(columns="dimension")}, AXIS)
    assert len(without.axes) == 2


def test_stable_unstable_and_slow_points_have_their_own_marks():
    points = frame(
        ["kind", "unstable", "radius"], (0, 0, "fixed", 0, 0.5), (0, 0, "fixed", 1, 1.5), (1, 0, "slow", 0, 0.9)
    )
    values = frame(["point", "real", "imaginary", "modulus"], (0, 0, 0, 0.3, 0.4, 0.5), (1, 0, 1, 0.9, 0.0, 0.9))
    figure = PICTURES["fixed_points"].draw({"points": points, "eigenvalues": values}, AXIS)
    assert len(figure.axes[0].collections[0].get_offsets()) == 1  # of the most visited points only
    named = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert named == ["stable", "unstable", "slow point"]
