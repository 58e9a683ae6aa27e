"""Plain dictionaries from the ledger's views."""

from __future__ import annotations

from datetime import datetime

import pytest

from rnnsweep.app.results.sweep import open_sweep
from rnnsweep.app.results.tables import as_typed, clip_thresholds, curves, history, jsonable, replicas
from rnnsweep.sweep.ports import Change
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import RowState


def report(replica: int, rung: int, value: float, state: RowState = RowState.ACTIVE) -> RowReport:
    return RowReport(0, replica, "t", rung, 10 * rung, {"valid/error": value}, state, device_s=0.25)


def test_curves_are_means_over_the_replicas_that_reported():
    found = curves([report(0, 1, 0.5), report(1, 1, 0.25), report(0, 2, 0.125)])
    assert found == {"valid/error": [[10, 0.375], [20, 0.125]]}


def test_replicas_stand_at_their_last_report_with_all_their_time():
    found = replicas([report(0, 2, 0.5, RowState.DONE), report(0, 1, 0.75)])
    assert [(one["step"], one["state"], one["device_s"]) for one in found] == [(20, "DONE", 0.5)]


@pytest.mark.parametrize(
    ("value", "text"),
    [(3 * 0.1, "0.3"), (1e-7, "1e-07"), (float("inf"), "inf"), (None, "null"), (False, "false"), ("a b", "a b")],
)
def test_values_are_printed_as_they_would_be_typed(value, text):
    assert as_typed(value) == text


@pytest.mark.parametrize("text", [as_typed(value) for value in (3 * 0.1, 1e-7, float("-inf"), True, 12)])
def test_what_is_printed_can_be_typed(text, tmp_path):
    from rnnsweep.adapters.hydra.overrides import split_overrides

    ((key, value),) = split_overrides([f"init.sigma={text}"], ()).values
    assert key == "init.sigma"
    assert as_typed(value) == text


def test_json_has_no_infinity():
    assert jsonable({"a": [float("inf"), 1.5], "b": {"c": float("nan")}}) == {"a": [None, 1.5], "b": {"c": None}}


def test_history_has_times():
    changes = [
        Change(1, "trial", 0, 100.0, {"history": ("begun",)}),
        Change(2, "rung", 0, 110.0, {}),
        Change(3, "trial", 0, 120.0, {"history": ("begun", "ended")}),
    ]
    assert history(changes) == [(100.0, "begun"), (120.0, "ended")]


def test_a_real_trial_tells_when_and_where_it_ran(tiny):
    import platform

    root, _ = tiny
    began, *_, ended = open_sweep("tiny", store=root).show(0)["history"]
    assert began[1] == f"attempt 1 from update 0 on {platform.node()}"
    assert ended[1].startswith("COMPLETE at update 20")
    assert datetime.fromtimestamp(began[0]) <= datetime.fromtimestamp(ended[0])


def test_thresholds_need_a_norm():
    assert clip_thresholds({}) is None
