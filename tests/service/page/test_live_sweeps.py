"""Sweeps as the pages show them."""

from __future__ import annotations

import dataclasses

import pytest

from rnnsweep.app.results.sweep import Sweep
from rnnsweep.app.results.tables import jsonable
from rnnsweep.app.stores import place
from rnnsweep.errors import ConfigError
from rnnsweep.service.page.live_sweeps import LiveStore, goals, space_axes
from rnnsweep.sweep.states import SweepState
from tests.kit.live_page import NAME, SPACE, UPDATES, WrittenSweep


def store_of(sweep: WrittenSweep) -> LiveStore:
    return LiveStore(lambda: sweep.place)


def test_the_summary_is_what_status_prints_and_a_little_more(written):
    with store_of(written).open() as look:
        summary = look.now(NAME).summary()
    status = Sweep(NAME, written.place).status()
    assert {key: summary[key] for key in status} == status
    assert summary["wanted"] == 60
    assert summary["diverged"] == 1
    assert summary["best_text"] == f"{status['best']['objective']:.4g}"


def test_progress_counts_ended_trials_whole_and_others_by_their_updates(written):
    with store_of(written).open() as look:
        look.news(NAME, 0)
        live = look.now(NAME)
    ended = sum(trial.state.finished for trial in live.trials)
    running = [trial.number for trial in live.trials if trial.state.value == "RUNNING"]
    assert running == [17, 37]
    assert live.progress == pytest.approx((ended + 2 * 3000 / UPDATES) / 60)


def test_rows_say_what_the_table_says(written):
    with store_of(written).open() as look:
        news = look.news(NAME, 0)
    table = Sweep(NAME, written.place).table()
    assert [row["n"] for row in news["rows"]] == [entry["trial"] for entry in table]
    for row, entry in zip(news["rows"], table, strict=True):
        assert (row["s"], row["step"], row["v"]) == (entry["state"], entry["step"], entry["value"])
        assert row["p"] == [jsonable(entry["params"][key]) for key in SPACE]
        assert (row["at"], row["div"], row["why"]) == (entry["solved_at"], entry["diverged_at"], entry["reason"])
    assert "Infinity" in {value for row in news["rows"] for value in row["p"]}


def test_news_of_a_metric_have_its_curves_and_the_same_rows(written):
    with store_of(written).open() as look:
        news, other = look.news(NAME, 0), look.news(NAME, 0, "grad/norm")
    assert other["rows"] == news["rows"]
    assert other["curves"][0][1] == [1200, 0.5]
    assert news["curves"][0] != other["curves"][0]


def test_nothing_runs_in_a_sweep_whose_driver_is_gone(tmp_path):
    sweep = WrittenSweep(tmp_path, 20)
    sweep.end(SweepState.STOPPED, "enough")
    with store_of(sweep).open() as look:
        news = look.news(NAME, 0)
    assert news["sweep"]["state"] == "STOPPED" and news["sweep"]["reason"] == "enough"
    assert {row["s"] for row in news["rows"]} == {"COMPLETE", "PRUNED", "FAILED", "WAITING"}
    sweep.close()


def test_a_store_that_is_not_there_has_no_sweeps(tmp_path):
    with LiveStore(lambda: place(tmp_path / "none")).open() as look:
        assert look.names() == []
        with pytest.raises(ConfigError, match="no such sweep"):
            look.now("any")
    assert not (tmp_path / "none").exists()


def test_a_store_that_was_begun_anew_is_read_anew(tmp_path):
    first, second = WrittenSweep(tmp_path / "a", 20), WrittenSweep(tmp_path / "b", 5)
    places = [first.place]
    store = LiveStore(lambda: places[-1])
    with store.open() as look:
        assert len(look.now(NAME).trials) == 20
    places.append(second.place)
    second.view = dataclasses.replace(second.view, created=1.8e9)
    second.end(SweepState.STOPPED)
    with store.open() as look:
        assert len(look.now(NAME).trials) == 5
    first.close()
    second.close()


def test_axes_and_goals_for_the_script(written):
    with store_of(written).open() as look:
        plan = look.now(NAME).plan
    axes = {axis["key"]: axis for axis in space_axes(plan)}
    assert axes["init.sigma"] == {"key": "init.sigma", "low": 0.05, "high": 0.3, "log": True, "choices": []}
    assert axes["controllers.sampling.q_max"]["choices"] == [2.0, "Infinity"]
    assert goals(plan) == [
        {"metric": "valid/error", "goal": "minimize"},
        {"metric": "weights/rho", "goal": "minimize"},
    ]
