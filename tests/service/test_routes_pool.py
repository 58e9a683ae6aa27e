"""The service itself."""

from __future__ import annotations

from fastapi.testclient import TestClient

from rnnsweep.app import api
from tests.service.conftest import OF_ADA, OF_BOB, Served


def test_queue_and_workers(ada: TestClient):
    (line,) = ada.get("/api/v1/queue").json()
    assert (line["name"], line["state"], line["user"], line["weight"]) == (OF_ADA, "ENDED", "ada", 1.0)
    (worker,) = ada.get("/api/v1/workers").json()
    assert worker["rows"] == {OF_ADA: 2, "(others)": 2} and worker["slots"] == 4


def test_what_is_known(ada: TestClient):
    assert ada.get("/api/v1/units").json() == api.known_units()
    names = [entry["sweep"] for entry in ada.get("/api/v1/catalogue").json()]
    assert names == [name for name, _ in api.known_sweeps()]


def test_a_config_is_shown_and_nothing_written(ada: TestClient, served: Served):
    reply = ada.post("/api/v1/config", json={"sweep": "search", "overrides": ["init.sigma=0.25"]})
    assert reply.status_code == 200 and reply.json()["init"]["sigma"] == 0.25
    for overrides in (["store.root=/x"], ["name=${oc.env:HOME}"], ["init.sigm=1"]):
        assert ada.post("/api/v1/config", json={"sweep": "search", "overrides": overrides}).status_code in (400, 403)
    assert served.front.asked == []


def test_me(served: Served):
    assert served.client("eve").get("/api/v1/me").json() == {"user": "eve", "role": "reader", "every": False}
    assert served.client("root").get("/api/v1/me").json() == {"user": "root", "role": "operator", "every": True}


def test_the_audit_is_for_operators_of_all(served: Served):
    for user in ("ada", "eve"):
        assert served.client(user).get("/api/v1/audit").status_code == 403
    served.client("ada").post(f"/api/v1/sweeps/{OF_BOB}/stop")
    entries = served.client("root").get("/api/v1/audit").json()
    assert [(entry["user"], entry["outcome"]) for entry in entries] == [
        ("ada", "refused"),
        ("eve", "refused"),
        ("ada", "refused"),
    ]
    assert entries[2]["role"] == "operator" and entries[2]["method"] == "POST" and entries[2]["at"] > 0
    after = served.client("root").get("/api/v1/audit", params={"after": entries[1]["id"]}).json()
    assert after == entries[2:]
