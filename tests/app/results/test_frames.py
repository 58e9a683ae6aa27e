"""The ledger's views as frames."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnsweep.app.results.frames import curves_frame, trials_frame
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.space import fixed
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import TrialView


def test_a_mistyped_metric_names_the_nearest(tiny):
    _, sweep = tiny
    with pytest.raises(ConfigError, match="Did you mean 'valid/error'"):
        sweep.curves("valid/eror")


def test_a_metric_that_no_row_reports_gives_no_rows(tiny):
    _, sweep = tiny
    assert sweep.curves("objective").empty


def test_curves_hold_one_row_per_metric_and_rung():
    report = RowReport(0, 0, "t", 1, 10, {"valid/error": 0.5, "mine": 1.0})
    assert curves_frame([report])["key"].tolist() == ["valid/error", "mine"]
    assert curves_frame([report], ["mine"])["value"].tolist() == [1.0]


def test_empty_frames_have_their_columns_and_types():
    frame = trials_frame([], ["init.sigma"])
    assert "init.sigma" in frame.columns
    assert frame["objective"].dtype == "float64"


def test_trials_of_before_an_edit_have_the_values_that_they_had():
    views = [TrialView(0, TrialState.COMPLETE, {"x": 1}, (0.5,)), TrialView(1, TrialState.COMPLETE, {"x": 1, "y": 2})]
    plain = trials_frame(views, ["x", "y"])
    assert plain["y"].isna().tolist() == [True, False]
    assert not {"space", "same_as"} & set(plain.columns)
    views = [
        views[0],
        replace(views[1], space=1),
        TrialView(2, TrialState.COMPLETE, {"x": 1, "y": 2}, space=1, same_as=1),
    ]
    frame = trials_frame(views, ["x", "y"], (fixed("y", 7),))
    assert frame["y"].tolist() == [7, 2, 2]
    assert frame["space"].tolist() == [0, 1, 1]
    assert frame["same_as"].isna().tolist() == [True, True, False]
