"""What is read of sweeps is what the command line prints of them."""

from __future__ import annotations

import json

import pytest
from fastapi.testclient import TestClient

import rnnsweep
from rnnsweep.app.results.tables import jsonable
from rnnsweep.service.front import QueueState
from tests.service.conftest import OF_ADA, OF_BOB, OF_NOBODY, Served

AT = f"/api/v1/sweeps/{OF_ADA}"


@pytest.fixture
def local(served: Served) -> rnnsweep.Sweep:
    return rnnsweep.open_sweep(OF_ADA, store=served.front.place)


def same(reply, expected: object) -> bool:
    return reply.status_code == 200 and reply.json() == json.loads(json.dumps(jsonable(expected)))


def test_standing_table_and_trials_are_the_command_lines(ada: TestClient, local: rnnsweep.Sweep):
    assert same(ada.get(AT), local.status())
    assert same(ada.get("/api/v1/sweeps"), [local.status()])
    assert same(ada.get(f"{AT}/table"), local.table())
    assert same(ada.get(f"{AT}/ranking"), local.ranking())
    assert same(ada.get(f"{AT}/best"), local.ranking()[0])
    assert same(ada.get(f"{AT}/front"), local.front())
    assert same(ada.get(f"{AT}/trials/1"), local.show(1))


def test_a_table_is_filtered_and_sorted(ada: TestClient):
    reply = ada.get(f"{AT}/table", params={"where": ["state=COMPLETE", "objective<0.9"], "sort": "-objective"})
    assert [entry["trial"] for entry in reply.json()] == [0, 1]
    wrong = ada.get(f"{AT}/table", params={"where": "objectiv<1"})
    assert wrong.status_code == 400 and "objective" in wrong.json()["detail"]


def test_frames(ada: TestClient, local: rnnsweep.Sweep):
    assert ada.get(f"{AT}/trials").json()["state"] == local.trials()["state"].tolist()
    assert ada.get(f"{AT}/replicas").json()["value"] == local.replicas()["value"].tolist()
    curves = ada.get(f"{AT}/curves", params={"key": "valid/error", "trial": 1}).json()
    assert curves["value"] == local.curves("valid/error", trial=1)["value"].tolist()
    assert ada.get(f"{AT}/curves", params={"key": "valid/eror"}).status_code == 400


def test_the_journal_goes_on_where_one_was(ada: TestClient):
    every = ada.get(f"{AT}/journal").json()
    seqs = [entry["seq"] for entry in every]
    assert len(seqs) == 9 and seqs == sorted(seqs)
    assert ada.get(f"{AT}/journal", params={"after": seqs[3], "limit": 2}).json() == every[4:6]
    assert all("config" not in entry["data"] for entry in every)


def test_the_config_is_resolved(ada: TestClient):
    config = ada.get(f"{AT}/config").json()
    assert config["objective"]["metric"] == "valid/error" and config["store"]["root"]


@pytest.mark.parametrize("path", ["", "/table", "/trials/1", "/journal", "/events", "/artifacts", "/report", "/config"])
def test_sweeps_of_others_and_none(ada: TestClient, served: Served, path: str):
    for name, status in ((OF_BOB, 403), (OF_NOBODY, 403), ("nope", 404), ("%2e%2e", 404), ("a%00b", 404), ("%ff", 404)):
        reply = ada.get(f"/api/v1/sweeps/{name}{path}")
        assert reply.status_code == status and reply.headers["content-type"] == "application/problem+json", name
    refused = [entry for entry in served.audited() if entry[2] == "refused"]
    assert len(refused) == 2 and "belongs to another user" in refused[0][3]


def test_a_reader_sees_its_own_users_and_an_operator_of_all_everything(served: Served):
    assert served.client("eve").get("/api/v1/sweeps").json() == []
    names = [entry["sweep"] for entry in served.client("root").get("/api/v1/sweeps").json()]
    assert names == [OF_ADA, OF_BOB, OF_NOBODY]


def test_a_sweep_that_waits_for_its_turn(served: Served, ada: TestClient):
    served.front.add("later", "ada", QueueState.QUEUED)
    assert ada.get("/api/v1/sweeps/later").json()["state"] == "QUEUED"
    assert [entry["state"] for entry in ada.get("/api/v1/sweeps").json()] == ["INTERRUPTED", "QUEUED"]
    reply = ada.get("/api/v1/sweeps/later/table")
    assert reply.status_code == 409 and "is queued" in reply.json()["detail"]


def test_odd_numbers_are_wrong_input(ada: TestClient):
    for path in ("trials/-1", f"trials/{10**30}", "trials/x", "journal?after=-1", f"journal?after={10**30}"):
        reply = ada.get(f"{AT}/{path}")
        assert reply.status_code == 422 and reply.json()["detail"]
    assert ada.get(f"{AT}/trials/77").status_code == 404


def test_a_route_that_is_none(ada: TestClient):
    assert ada.get("/api/v1/nothing").status_code == 404
    reply = ada.put(AT)
    assert reply.status_code == 405 and reply.headers["content-type"] == "application/problem+json"
