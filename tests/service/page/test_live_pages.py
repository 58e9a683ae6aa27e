"""The pages as HTML."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from rnnsweep.app.results.sweep import Sweep
from rnnsweep.errors import ConfigError
from rnnsweep.service.front import QueuedSweep, QueueState
from rnnsweep.service.page.live_pages import PALETTE, LivePages, Visitor, mlflow_place
from rnnsweep.sweep.states import SweepState
from tests.kit.live_page import NAME, NotingFront, WrittenSweep

OPERATOR = Visitor("ada", operator=True, word="w0rd", every=True)
READER = dataclasses.replace(OPERATOR, operator=False)


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def buttons(page: str) -> list[str]:
    return re.findall(r'<button type="submit" name="act" value="(\w+)"', page)


def test_the_list_has_the_queue_and_the_workers(front):
    page = LivePages(front).overview(OPERATOR)
    assert f'href="/sweeps/{NAME}"' in page
    assert "93 %" in page and "12 of 64" in page


def test_who_sees_only_his_own_sees_nothing_of_the_store(front):
    front.lines = []
    names = [line["name"] for line in LivePages(front).overview_news(OPERATOR)["sweeps"]]
    assert names == [NAME]
    assert LivePages(front).overview_news(dataclasses.replace(OPERATOR, every=False))["sweeps"] == []


def test_a_sweep_that_waits_may_not_be_in_the_store_yet(front):
    front.lines.append(QueuedSweep("later", QueueState.QUEUED, "bob", reason="waits for slots"))
    first, second = LivePages(front).overview_news(OPERATOR)["sweeps"]
    assert (first["name"], first["queue"], first["trials"]) == ("later", "QUEUED", {})
    assert second["name"] == NAME
    assert "waits for slots" in LivePages(front).overview(OPERATOR)


def test_a_damaged_sweep_hides_no_other(tmp_path):
    good, bad = WrittenSweep(tmp_path, 3), WrittenSweep(tmp_path, 3, name="bad")
    bad.view.config["version"] = 7
    bad.end(SweepState.STOPPED)
    first, second = LivePages(NotingFront(good.place)).overview_news(OPERATOR)["sweeps"]
    assert first["name"] == "bad" and "stored config of another version" in first["reason"]
    assert second["trials"]["complete"] == 3
    assert "another version" in LivePages(NotingFront(good.place)).overview(OPERATOR)
    good.close()
    bad.close()


def test_the_table_comes_best_first(front, written):
    page = LivePages(front).sweep(NAME, OPERATOR)
    numbers = [int(text) for text in re.findall(r'<tr data-trial="(\d+)">', page)]
    best = [entry["trial"] for entry in Sweep(NAME, written.place).ranking()]
    assert numbers[: len(best)] == best
    assert len(numbers) == 40


def test_buttons_are_for_operators_and_fit_the_queue(front):
    pages = LivePages(front)
    assert buttons(pages.sweep(NAME, READER)) == []
    fixed = ["enqueue", "edit", "budget", "pause_trial", "unpause_trial", "end_trial"]
    for state, acts in ((QueueState.RUNNING, ["pause", "stop"]), (QueueState.QUEUED, ["stop"])):
        front.lines = [QueuedSweep(NAME, state)]
        assert buttons(pages.sweep(NAME, OPERATOR)) == acts + fixed
    front.lines = []
    page = pages.sweep(NAME, OPERATOR)  # a driver outside of the service runs it
    assert buttons(page) == fixed and "Another driver" in page


def test_a_sweep_that_stands_may_be_resumed_and_given_more_updates(tmp_path):
    sweep = WrittenSweep(tmp_path, 5)
    sweep.end(SweepState.STOPPED)
    page = LivePages(NotingFront(sweep.place, [QueuedSweep(NAME, QueueState.PAUSED)])).sweep(NAME, OPERATOR)
    assert buttons(page)[0] == "resume"
    assert 'name="budget.updates"' in page
    sweep.close()


def test_every_form_has_the_word(front):
    page = LivePages(front).sweep(NAME, OPERATOR)
    assert page.count('name="form_token" value="w0rd"') == page.count("<form ") == 5


def test_the_script_is_told_the_space(front):
    data = data_of(LivePages(front).sweep(NAME, dataclasses.replace(OPERATOR, base="/below")))
    assert data["place"] == f"/below/sweeps/{NAME}"
    assert data["keys"][-1] == "init.sigma"
    assert data["palette"] == PALETTE


def test_the_resolved_config_is_there_without_passwords(tmp_path):
    sweep = WrittenSweep(tmp_path, 2)
    resolved = sweep.view.config["variants"][0]["resolved"]
    resolved["store"]["mlflow"] = "http://me:s3cret@host:5000"
    sweep.end(SweepState.STOPPED)
    page = LivePages(NotingFront(sweep.place)).sweep(NAME, OPERATOR)
    assert "report_every: 600" in page or "report_every: 200" in page
    assert "s3cret" not in page
    sweep.close()


def test_a_trial_has_what_show_prints(front, written):
    entry = data_of(LivePages(front).trial(NAME, 30, OPERATOR))["entry"]
    shown = Sweep(NAME, written.place).show(30)
    assert entry["curves"] == json.loads(json.dumps(shown["curves"]))
    assert entry["diverged_at"] == 1300
    with pytest.raises(ConfigError, match="no such trial"):
        LivePages(front).trial(NAME, 4000, OPERATOR)


def test_only_a_trial_that_has_not_ended_has_buttons(front):
    pages = LivePages(front)
    assert buttons(pages.trial(NAME, 17, OPERATOR)) == ["pause_trial", "unpause_trial", "end_trial"]
    assert buttons(pages.trial(NAME, 0, OPERATOR)) == buttons(pages.trial(NAME, 17, READER)) == []


def test_news_of_a_trial_are_none_until_something_happens(tmp_path):
    sweep = WrittenSweep(tmp_path, 18)
    pages = LivePages(NotingFront(sweep.place))
    first = pages.trial_news(NAME, 17)
    assert pages.trial_news(NAME, 17, first["seq"]) == {"seq": first["seq"]}
    sweep.commit(sweep.rung(3, 11, 0.1))
    assert pages.trial_news(NAME, 17, first["seq"]) == {"seq": first["seq"]}
    sweep.commit(sweep.rung(17, 6, 0.1))
    assert pages.trial_news(NAME, 17, first["seq"])["curves"]["valid/error"][-1] == [3600, 0.1]
    sweep.close()


def test_without_a_tracking_server_there_is_no_place_in_mlflow(front, written):
    assert mlflow_place(front, written.view, 0, "") == ""
    assert mlflow_place(front, written.view, None, "http://127.0.0.1:5000") == ""  # the tracker has not written yet
