"""Events: every entry of the journal once, from where a client was."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.service import routes_events
from rnnsweep.service.limits import Limits
from rnnsweep.sweep.ports import PutRung
from tests.service.conftest import OF_ADA, Served, make_served

AT = f"/api/v1/sweeps/{OF_ADA}"


def events(text: str) -> list[dict[str, str]]:
    blocks = [block.splitlines() for block in text.split("\n\n") if "id: " in block]
    return [dict(line.split(": ", 1) for line in block) for block in blocks]


def test_the_whole_journal_then_what_is_new(served: Served, ada):
    reply = ada.get(f"{AT}/events")
    assert reply.headers["content-type"].startswith("text/event-stream")
    journal = ada.get(f"{AT}/journal").json()
    got = events(reply.text)
    assert [json.loads(event["data"]) for event in got] == journal
    assert [(event["id"], event["event"]) for event in got] == [(str(one["seq"]), one["kind"]) for one in journal]
    seen = got[4]["id"]
    rest = ada.get(f"{AT}/events", headers={"Last-Event-ID": seen})
    assert [event["id"] for event in events(rest.text)] == [event["id"] for event in got[5:]]
    assert events(ada.get(f"{AT}/events", params={"after": got[-1]["id"]}).text) == []


@pytest.mark.parametrize("seen", ["x", "-1", str(10**30)])
def test_an_odd_place_is_wrong_input(ada, seen: str):
    assert ada.get(f"{AT}/events", headers={"Last-Event-ID": seen}).status_code == 422


def test_what_is_written_meanwhile_arrives(filled: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(routes_events, "POLL_S", 0.02)
    monkeypatch.setattr(routes_events, "QUIET_S", 0.05)
    with ExitStack() as resources:
        served = make_served(filled, resources, Limits(stream_s=2.0))

        def write() -> None:
            time.sleep(0.5)
            ledger = open_ledger(served.front.place.ledger)
            fence = ledger.acquire(OF_ADA, "test", 1.0)
            ledger.commit(OF_ADA, fence, [PutRung(3, 9, 1800, {"valid/error": 0.5}, (0.5,))])
            ledger.release(OF_ADA, fence)
            ledger.close()

        writer = threading.Thread(target=write)
        writer.start()
        text = served.client("ada").get(f"{AT}/events", params={"after": 9}).text
        writer.join()
        new = [json.loads(event["data"]) for event in events(text)]
        assert [(one["kind"], one["trial"], one["data"]["rung"]) for one in new if one["trial"] == 3][-1] == (
            "rung",
            3,
            9,
        )
        assert ": still here" in text


def test_a_stream_ends_with_its_token(filled: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(routes_events, "POLL_S", 0.02)
    with ExitStack() as resources:
        served = make_served(filled, resources, Limits(stream_s=60.0))
        client = served.client("ada")
        client.get("/api/v1/me")
        revoking = threading.Timer(0.5, lambda: (served.access._book.remove("ada"), served.access.forget()))
        revoking.start()
        began = time.monotonic()
        client.get(f"{AT}/events")
        assert time.monotonic() - began < 30
        assert client.get("/api/v1/me").status_code == 401


def test_streams_are_counted_and_given_back(filled: Path):
    with ExitStack() as resources:
        served = make_served(filled, resources, Limits(streams=1, stream_s=0.2))
        client = served.client("ada")
        for _ in range(3):  # one after the other is fine
            assert client.get(f"{AT}/events").status_code == 200
        served = make_served(filled, resources, Limits(streams=0))
        reply = served.client("ada").get(f"{AT}/events")
        assert reply.status_code == 429 and "too many event streams" in reply.json()["detail"]
