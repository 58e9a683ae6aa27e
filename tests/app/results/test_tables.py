"""Plain dictionaries from the ledger's views."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from rnnsweep.app.cli.show import _bound
from rnnsweep.app.cli.table import _score
from rnnsweep.app.results.sweep import open_sweep
from rnnsweep.app.results.tables import (
    as_typed,
    clip_thresholds,
    curves,
    history,
    jsonable,
    replicas,
    row,
    score_text,
    status,
)
from rnnsweep.errors import StoreError
from rnnsweep.sweep.ports import Change, SweepView, TrialView
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import RowState, SweepState, TrialState


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


def test_json_tells_infinities_from_nothing_and_from_each_other():
    inf = float("inf")
    found = jsonable({"a": [inf, -inf, 1.5, None], "b": {"c": float("nan")}})
    assert found == {"a": ["Infinity", "-Infinity", 1.5, None], "b": {"c": None}}
    assert [float(value) for value in found["a"][:2]] == [inf, -inf]


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


def test_a_time_to_solve_that_has_not_come_is_said_to_be_later():
    """Trial 0 has not solved its task within 2000 updates, trial 1 has at 800, trial 2 has not so far, at 400."""
    view = SweepView("s", SweepState.RUNNING, {"objective": {"metric": "solved_at"}, "budget": {"updates": 2000}})
    trials = [
        TrialView(0, TrialState.COMPLETE, {}, (2000.0,), step=2000),
        TrialView(1, TrialState.COMPLETE, {}, (800.0,), step=800, solved_at=800),
    ]
    entries = [row(view, trial, {}) for trial in trials]
    entries.append(row(view, TrialView(2, TrialState.RUNNING, {}, step=400), {}, (400, 2000.0)))
    assert [entry.get("unsolved", False) for entry in entries] == [True, False, True]
    assert [_score(entry) for entry in entries] == ["> 2000", "800", "> 400*"]
    assert _bound(entries[0], "objective") == "unsolved by update 2000"
    best = status(view, trials[:1])["best"]
    assert score_text(best, best["objective"]) == "> 2000"
    error = replace(view, config={"objective": {"metric": "valid/error"}, "budget": {"updates": 2000}})
    assert "unsolved" not in row(error, trials[0], {})


def test_a_mean_with_times_that_have_not_come_is_a_bound_wherever_it_is_shown():
    """Two replicas, one solved at 400, one not by 2000: their mean is above 1200, and at most that while both train."""
    goal = {"metric": "solved_at", "reduce": "mean"}
    view = SweepView("s", SweepState.RUNNING, {"objective": goal, "budget": {"updates": 2000}})
    trials = [
        TrialView(0, TrialState.COMPLETE, {}, (1200.0,), step=2000, solved_at=400, unsolved=1),
        TrialView(1, TrialState.COMPLETE, {}, (500.0,), step=600, solved_at=400),
        TrialView(2, TrialState.COMPLETE, {}, (2000.0,), step=2000, unsolved=2),
    ]
    entries = [row(view, trial, {}) for trial in trials]
    entries.append(row(view, TrialView(3, TrialState.RUNNING, {}, step=1000), {}, (1000, 1200.0)))
    assert [_score(entry) for entry in entries] == ["> 1200", "500", "> 2000", "≤ 1200*"]
    assert [entry.get("unsolved", False) for entry in entries] == [True, False, True, True]
    assert [entry.get("partly", False) for entry in entries] == [True, False, False, True]
    words = "a mean in which unsolved replicas count as the budget"
    assert [_bound(entry, "value") for entry in entries] == [
        f"> 1200 ({words})",
        500.0,
        "unsolved by update 2000",
        f"≤ 1200 ({words})",
    ]
    best = status(view, trials[:1])["best"]
    assert score_text(best, best["objective"]) == "> 1200"


@pytest.mark.parametrize("config", [{}, {"format": 1}, {"objective": {}}, {"variants": [{"resolved": {}}]}])
def test_a_stored_config_that_was_changed_is_one_line(config):
    view = SweepView("s", SweepState.RUNNING, config)
    with pytest.raises(StoreError, match="the config of the sweep s is damaged: it has no objective"):
        status(view, [TrialView(0, TrialState.COMPLETE, {}, (0.5,), step=20)])
