"""What changes a sweep reaches the front as it was meant, or not at all."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rnnsweep.service.front import Submission
from tests.kit.small_front import SmallFront
from tests.service.conftest import OF_ADA, OF_BOB, Served, make_served

AT = f"/api/v1/sweeps/{OF_ADA}"


def snapshot(store: Path) -> dict[str, bytes]:
    """The store's files but the ledger, whose audit grows, and what SQLite keeps beside it."""
    files = (file for file in store.rglob("*") if file.is_file() and not file.name.startswith("ledger.db"))
    return {str(file.relative_to(store)): file.read_bytes() for file in files}


def test_launch_is_checked_and_queued(ada: TestClient, served: Served):
    reply = ada.post("/api/v1/sweeps", json={"sweep": "search", "overrides": ["name=new"], "weight": 0.5})
    assert reply.status_code == 201 and reply.json() == {"sweep": "new"}
    assert reply.headers["location"] == "/api/v1/sweeps/new"
    assert served.front.asked == [("submit", Submission("search", ("name=new",), "ada", 0.5, 0))]
    assert served.audited() == [("ada", "/api/v1/sweeps", "done", "201 sweep new: launch search name=new")]
    again = ada.post("/api/v1/sweeps", json={"sweep": "search", "overrides": ["name=new"]})
    assert again.status_code == 409 and "the store has a sweep of this name" in again.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"sweep": "serch"}, 400, "Did you mean 'search'"),
        ({"sweep": "search", "overrides": ["family.hiden=3"]}, 400, "Did you mean 'family.hidden'"),
        ({"sweep": "search", "overrides": ["name=../x"]}, 400, "is no name"),
        ({"sweep": "search", "overrides": [f"name={OF_BOB}"]}, 409, "the store has a sweep of this name"),
        ({"sweep": "search", "overrides": ["task=../cluster/ray"]}, 400, "unknown"),
        ({"sweep": "search", "overrides": ["task=/etc/passwd"]}, 400, "unknown"),
        ({"sweep": "/etc/passwd"}, 400, "is no sweep's name"),
        ({"sweep": "../sweeps/search.yaml"}, 400, "is no sweep's name"),
        ({"sweep": "search", "overrides": ["store.root=/tmp"]}, 403, "cannot be set over the network"),
        ({"sweep": "search", "priority": 5}, 403, "given by operators of all sweeps"),
        ({"sweep": "search", "user": "bob"}, 422, "user: extra inputs"),
        ({"overrides": []}, 422, "sweep: field required"),
        ({"sweep": "search", "overrides": "name=x"}, 422, "overrides: input should be"),
        ({"sweep": "search", "overrides": ["x" * 20000]}, 422, "overrides.0"),
        ({"sweep": "search", "weight": -1}, 422, "weight"),
        ({"sweep": "search", "fresh": True, "overrides": ["cluster=ray"]}, 403, "cannot be set over the network"),
        ([], 422, "body"),
    ],
)
def test_a_wrong_launch_writes_nothing(ada: TestClient, served: Served, body: Any, status: int, words: str):
    before = snapshot(served.front.place.root)
    reply = ada.post("/api/v1/sweeps", json=body)
    assert (reply.status_code, words in reply.json()["detail"]) == (status, True), reply.text
    assert served.front.asked == [] and snapshot(served.front.place.root) == before
    assert [entry[2] for entry in served.audited()] == ["refused"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"null", b'{"sweep": "\\ud800"}', b"[" * 5000 + b"]" * 5000])
def test_a_body_that_is_no_form(ada: TestClient, served: Served, content: bytes):
    reply = ada.post("/api/v1/sweeps", content=content, headers={"Content-Type": "application/json"})
    assert 400 <= reply.status_code < 500 and reply.json()["detail"]
    assert served.front.asked == []


def test_fresh_takes_the_next_name_or_goes_on(ada: TestClient, served: Served):
    one = ada.post("/api/v1/sweeps", json={"sweep": "search", "overrides": ["name=run"], "fresh": True})
    assert one.json() == {"sweep": "run"}
    goes_on = ada.post("/api/v1/sweeps", json={"sweep": "search", "overrides": [f"name={OF_ADA}"], "fresh": True})
    assert goes_on.json() == {"sweep": OF_ADA} and served.front.asked[-1] == ("resume", OF_ADA, ())
    other = ada.post("/api/v1/sweeps", json={"sweep": "search", "overrides": [f"name={OF_BOB}"], "fresh": True})
    assert other.status_code == 403


def test_sweeps_of_the_services_own_folders_are_known_everywhere(filled: Path, tmp_path: Path):
    mine = tmp_path / "units" / "sweeps" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text((Path(__file__).parents[2] / "sweeps" / "search.yaml").read_text())
    front = SmallFront(filled, [mine.parents[1]])
    with ExitStack() as resources:
        served = make_served(filled, resources)
        served.front = front
        root = served.client("root")
        assert "mine" in [entry["sweep"] for entry in root.get("/api/v1/catalogue").json()]
        assert root.post("/api/v1/config", json={"sweep": "mine"}).json()["name"] == "mine"
        reply = root.post("/api/v1/sweeps", json={"sweep": "mine", "overrides": ["name=run"], "fresh": True})
        assert reply.json() == {"sweep": "run"}


def test_stop_pause_resume(ada: TestClient, served: Served):
    assert ada.post(f"{AT}/stop").status_code == 202
    assert ada.post(f"{AT}/pause", json={"reason": "lunch\x1b[31m"}).status_code == 202
    assert ada.post(f"{AT}/resume", json={"overrides": ["budget.trials=100"]}).status_code == 202
    assert served.front.asked == [
        ("stop", OF_ADA, "asked by ada"),
        ("pause", OF_ADA, "lunch<1b>[31m"),
        ("resume", OF_ADA, ("budget.trials=100",)),
    ]
    for overrides in (["budget.trials=1"], ["family.hidden=3"], ["store.root=/tmp"]):
        reply = ada.post(f"{AT}/resume", json={"overrides": overrides})
        assert reply.status_code in (400, 403) and "allowed" in reply.json()["detail"]
    assert len(served.front.asked) == 3


def test_budget(ada: TestClient, served: Served):
    assert ada.post(f"{AT}/budget", json={"budget": {"trials": 100, "wall_s": None}}).status_code == 202
    limits = {"trials": 100, "wall_s": None}
    assert served.front.asked == [("request", OF_ADA, "budget", limits)]
    for wrong in ({"trials": 1}, {"trials": 1.5}, {"trial": 9}, {"updates": 10**6}, {"wall_s": 60}, {"trials": 10**30}):
        reply = ada.post(f"{AT}/budget", json={"budget": wrong})
        assert reply.status_code == 400 and "budget." in reply.json()["detail"], reply.text
    assert ada.post(f"{AT}/budget", content=b'{"budget": {"target": NaN}}').status_code >= 400
    assert ada.post(f"{AT}/budget", json={"budget": {}}).status_code == 422
    assert len(served.front.asked) == 1


def test_points(ada: TestClient, served: Served):
    assert ada.post(f"{AT}/enqueue", json={"points": [{"init.sigma": 0.1}]}).status_code == 202
    assert served.front.asked == [("request", OF_ADA, "enqueue", {"points": [{"init.sigma": 0.1}]})]
    for point in ({"init.sigm": 1}, {"init.sigma": "x"}, {"init.sigma": 10**400}, {"\ud800": 1}, {"init.sigma": [1]}):
        text = json.dumps({"points": [point]})  # escapes what no encoding has
        reply = ada.post(f"{AT}/enqueue", content=text, headers={"Content-Type": "application/json"})
        assert reply.status_code == 400
    assert len(served.front.asked) == 1


def test_edit(ada: TestClient, served: Served):
    overrides = ["init.sigma=interval(0.1,0.2)", "~optimizer.lr"]
    assert ada.post(f"{AT}/edit", json={"overrides": overrides}).status_code == 202
    assert served.front.asked == [("request", OF_ADA, "edit", {"overrides": overrides, "by": "ada"})]
    assert ada.get(f"{AT}/edits").json() == []
    for wrong in (["store.root=/tmp"], ["a='${oc.env:HOME}'"], ["init._target_=os.system"], ["task.path=/etc/passwd"]):
        assert ada.post(f"{AT}/edit", json={"overrides": wrong}).status_code in (400, 403)
    for form in ({}, {"overrides": []}, {"overrides": "x=1"}):
        assert ada.post(f"{AT}/edit", json=form).status_code == 422
    assert len(served.front.asked) == 1


def test_one_trial(ada: TestClient, served: Served):
    for what, kind in (("end", "end_trial"), ("pause", "pause_trial"), ("unpause", "unpause_trial")):
        assert ada.post(f"{AT}/trials/5/{what}", json={"reason": "why"}).status_code == 202
        assert served.front.asked[-1] == ("request", OF_ADA, kind, {"trial": 5, "reason": "why"})
        assert ada.post(f"{AT}/trials/77/{what}").status_code == 404
    assert len(served.front.asked) == 3


@pytest.mark.parametrize(
    "path",
    ["stop", "pause", "resume", "budget", "enqueue", "edit", "trials/1/end", "trials/1/pause", "trials/1/unpause"],
)
def test_somebody_elses_sweep_is_refused_and_audited(ada: TestClient, served: Served, path: str):
    reply = ada.post(f"/api/v1/sweeps/{OF_BOB}/{path}", json={})
    assert reply.status_code == 403 and reply.json()["detail"] == f"sweep '{OF_BOB}' belongs to another user"
    assert served.front.asked == []
    user, _, outcome, detail = served.audited()[-1]
    assert (user, outcome) == ("ada", "refused") and "belongs to another user" in detail
    assert served.client("root").post(f"/api/v1/sweeps/{OF_BOB}/stop").status_code == 202
