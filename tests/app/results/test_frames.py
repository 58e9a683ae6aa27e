"""The ledger's views as frames."""

from __future__ import annotations

import pytest

from rnnsweep.app.results.frames import curves_frame, trials_frame
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.rows import RowReport


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
