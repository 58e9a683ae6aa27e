"""`rnnsweep.connect`."""

from __future__ import annotations

import pytest

import rnnsweep
from rnnsweep.app.remote import service_client
from rnnsweep.app.remote.connection import ServiceError
from rnnsweep.app.remote.service_client import Service, outcome_of
from rnnsweep.errors import ConfigError, StoreError
from rnnsweep.sweep.rebuild import Reopen
from tests.kit.small_front import SmallFront


@pytest.fixture
def service(url: str, token: str) -> Service:
    return rnnsweep.connect(url, token)


def test_what_it_knows(service: Service):
    assert [entry["sweep"] for entry in service.statuses()] == ["quickstart"]
    assert service.queue()[0]["name"] == "quickstart" and service.workers()[0]["worker"] == "w0"
    assert "search" in dict(service.known_sweeps()) and "srn" in service.known_units()["family"]
    assert service.resolved_config("search", ["init.sigma=0.25"])["init"]["sigma"] == 0.25
    assert service.audit()[-1]["path"] == "/api/v1/config"


def test_launch_wait_and_resume(service: Service, front: SmallFront):
    sweep = service.launch("search", ["name=tiny", "budget.trials=2"])
    seen: list[tuple[str, str]] = []
    ended = service.wait(sweep, lambda status, state: seen.append((status["state"], state)))
    assert ended.outcome is not None and (ended.outcome.state.value, ended.outcome.exit_code) == ("COMPLETE", 0)
    assert seen[-1] == ("COMPLETE", "ENDED")
    assert ended.table() == rnnsweep.open_sweep("tiny", store=front.place).table()
    with pytest.raises(ConfigError, match="the store has a sweep of this name"):
        service.launch("search", ["name=tiny"])
    assert service.launch("search", ["name=tiny", "budget.trials=2"], fresh=True).name == "tiny-2"
    service.resume("tiny", ["budget.trials=3"])
    assert front.asked[-1][:3] == ("resume", "tiny", ("budget.trials=3",))
    service.resume("tiny", failed=True, trials=[1], extend=True)
    assert front.asked[-1] == ("resume", "tiny", (), Reopen(failed=True, trials=(1,), extend=True))


def test_whoever_waits_outlasts_a_restart_but_not_an_end(service: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(service_client, "PERIOD_S", 0.01)
    sweep, answer, silent = service.open_sweep("quickstart"), service.connection.get, 3

    def get(*path: object, **query: object):
        nonlocal silent
        silent -= 1
        if silent >= 0:
            raise StoreError("service", "Connection refused")
        return answer(*path, **query)

    monkeypatch.setattr(service.connection, "get", get)
    ended = service.wait(sweep)
    assert ended.outcome is not None and silent < 0
    silent = 10**9
    monkeypatch.setattr(service_client, "AWAY_S", 0.05)
    with pytest.raises(StoreError, match="Connection refused"):
        service.wait(sweep)


def test_who_cannot_connect(url: str):
    with pytest.raises(ServiceError, match="wrong token"):
        rnnsweep.connect(url, "wrong")
    with pytest.raises(StoreError, match="Connection refused"):
        rnnsweep.connect("http://127.0.0.1:1", "t")


@pytest.mark.parametrize(
    ("state", "failed", "code"),
    [
        ("COMPLETE", 0, 0),
        ("COMPLETE", 2, 1),
        ("FAILED", 2, 1),
        ("STOPPED", 0, 3),
        ("INTERRUPTED", 1, 3),
        ("QUEUED", 0, 3),
    ],
)
def test_exit_codes_are_a_drivers(state: str, failed: int, code: int):
    assert outcome_of({"state": state, "trials": {"failed": failed}}, "").exit_code == code
