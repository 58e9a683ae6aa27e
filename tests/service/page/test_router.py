"""The routes: who may, what comes back, and under which headers."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from rnnsweep.app.stores import place
from rnnsweep.errors import StoreError
from rnnsweep.service.page.live_sweeps import LiveStore
from tests.kit.live_page import NAME, NotingFront, page_app

PAGES = ("/", f"/sweeps/{NAME}", f"/sweeps/{NAME}/trials/3")
NEWS = ("/live", f"/sweeps/{NAME}/live?after=0", f"/sweeps/{NAME}/trials/3/live", f"/sweeps/{NAME}/profiles")


def word(client: TestClient) -> str:
    found = re.search(r'name="form_token" value="(\w+)"', client.get(f"/sweeps/{NAME}").text)
    assert found
    return found[1]


@pytest.mark.parametrize("path", PAGES)
def test_pages_come_under_a_policy_without_inline_scripts(client, path):
    reply = client(role="reader").get(path)
    assert reply.status_code == 200
    policy = dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))
    assert policy["script-src"] == "'self'" and policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert reply.headers["cache-control"] == "no-store"
    inline = re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)|\son\w+=|javascript:", reply.text)
    assert inline == []
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', reply.text)


@pytest.mark.parametrize("path", NEWS)
def test_news_are_json(client, path):
    reply = client().get(path)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    reply.json()


def test_scripts_are_kept_by_browsers_and_only_under_their_version(client):
    own = client()
    path = re.search(r'href="(/assets/\w+)/page.css"', own.get("/").text)
    assert path
    for name in ("page.css", "common.js", "plotly.min.js"):
        reply = own.get(f"{path[1]}/{name}")
        assert reply.status_code == 200
        assert "immutable" in reply.headers["cache-control"]
        assert reply.headers["content-encoding"] == "gzip"
    assert own.get(f"{path[1]}/router.py").status_code == 404
    assert own.get("/assets/0000000000000000/page.css").status_code == 404


def test_a_button_leads_back_to_its_page(client, front):
    own = client()
    reply = own.post(f"/sweeps/{NAME}/steer", data={"act": "stop", "form_token": word(own)})
    assert reply.status_code == 303
    assert reply.headers["location"] == f"/sweeps/{NAME}?notice=stop"
    assert front.calls == [("stop", NAME, "stopped by ada")]
    assert "stops after the rung" in own.get(reply.headers["location"]).text


def test_an_act_of_a_trials_page_leads_back_there(client, front):
    own = client()
    form = {"act": "pause_trial", "trial": "17", "page": "trial", "form_token": word(own)}
    reply = own.post(f"/sweeps/{NAME}/steer", data=form)
    assert reply.headers["location"] == f"/sweeps/{NAME}/trials/17?notice=pause_trial"
    assert len(front.calls) == 1


def test_a_notice_that_we_do_not_know_is_not_shown(client):
    assert "hello" not in client().get(f"/sweeps/{NAME}?notice=hello").text


@pytest.mark.parametrize("role", ["reader", "", "Operator"])
def test_readers_press_no_buttons(client, front, role):
    right = word(client())
    reply = client(role=role).post(f"/sweeps/{NAME}/steer", data={"act": "stop", "form_token": right})
    assert reply.status_code == 403
    assert front.calls == []


def test_forms_without_the_word_or_of_another_site_change_nothing(client, front):
    own = client()
    right = word(own)
    for form, headers in (
        ({"act": "stop"}, {}),
        ({"act": "stop", "form_token": "0" * 64}, {}),
        ({"act": "stop", "form_token": right}, {"sec-fetch-site": "cross-site"}),
        ({"act": "stop", "form_token": word(TestClient(page_app(front)))}, {}),
    ):
        reply = own.post(f"/sweeps/{NAME}/steer", data=form, headers=headers)
        assert reply.status_code == 403
    assert own.get(f"/sweeps/{NAME}/steer?act=stop&form_token={right}").status_code == 405
    assert front.calls == []


def test_wrong_input_comes_back_with_the_message_and_what_was_typed(client, front):
    own = client()
    form = {"act": "budget", "budget.trials": "10", "form_token": word(own)}
    reply = own.post(f"/sweeps/{NAME}/steer", data=form)
    assert reply.status_code == 422
    assert "budget.trials=10: may be raised, nothing else; allowed: 60 or more" in reply.text
    assert 'name="budget.trials" inputmode="decimal" autocomplete="off" aria-describedby="n1" value="10"' in reply.text
    assert front.calls == []


def test_what_is_not_there_is_a_page_with_the_nearest_name(client):
    reply = client().get("/sweeps/temporal-ordre")
    assert reply.status_code == 404
    assert "temporal-order" in reply.text and "no such sweep" in reply.text
    assert client().get(f"/sweeps/{NAME}/trials/9999").status_code == 404
    gone = client().get("/sweeps/nothing/live")
    assert gone.status_code == 404 and "no such sweep" in gone.json()["error"]
    own = client()
    form = {"act": "end_trial", "trial": "1", "form_token": word(own)}
    assert own.post("/sweeps/nothing/steer", data=form).status_code == 404


def test_a_store_that_is_away_is_said_and_comes_back(client, monkeypatch):
    def away(self):
        raise StoreError("ledger", "does not answer")

    own = client()
    with monkeypatch.context() as broken:
        broken.setattr(LiveStore, "open", away)
        reply = own.get("/")
        assert reply.status_code == 503 and "does not answer" in reply.text
        assert own.get("/live").status_code == 503
    assert own.get("/").status_code == 200


def test_no_store_yet_is_an_empty_list(tmp_path):
    front = NotingFront(place(tmp_path / "none"))
    reply = TestClient(page_app(front)).get("/")
    assert reply.status_code == 200 and "No sweep yet" in reply.text
    assert not (tmp_path / "none").exists()


def test_mlflow_is_explained_where_no_server_is_known(client):
    reply = client().get(f"/sweeps/{NAME}/mlflow")
    assert reply.status_code == 404
    assert f"rnnsweep ui {NAME}" in reply.text


def test_too_long_a_form_is_refused(client, front):
    own = client()
    form = {"act": "stop", "more": "x" * 70_000, "form_token": word(own)}
    assert own.post(f"/sweeps/{NAME}/steer", data=form).status_code == 422
    assert front.calls == []


def test_pages_below_a_path_link_below_it(front):
    own = TestClient(page_app(front), root_path="/sweeps-of-ours")
    assert f'href="/sweeps-of-ours/sweeps/{NAME}"' in own.get("/").text
