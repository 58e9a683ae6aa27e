"""Every request is looked at, and what is refused or changes something is written down."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from rnnsweep.service.access_layer import AccessLayer
from rnnsweep.service.limits import Limits
from tests.service.conftest import OF_ADA, OF_BOB, Served, make_served

STOP = f"/api/v1/sweeps/{OF_ADA}/stop"


def test_without_a_right_token_nothing_is_reached(served: Served):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}, {"Cookie": "rnnsweep=wrong"}):
        client = served.client()
        for method, path in (("GET", "/api/v1/sweeps"), ("POST", STOP), ("GET", "/api/v1/openapi.json"), ("GET", "/x")):
            reply = client.request(method, path, headers=headers)
            assert reply.status_code == 401 and reply.headers["www-authenticate"] == "Bearer"
            assert reply.json()["detail"].startswith(("wrong token", "no token"))
    assert served.front.asked == []
    assert {(user, outcome) for user, _, outcome, _ in served.audited()} == {("", "refused")}
    assert len(served.audited()) == 16


def test_health_needs_no_token_and_is_not_written_down(served: Served):
    assert served.client().get("/api/v1/health").json()["status"] == "ok"
    assert served.audited() == []


def test_a_browser_is_led_to_the_login(served: Served):
    reply = served.client().get("/sweeps/a", headers={"Accept": "text/html"})
    assert reply.status_code == 303 and reply.headers["location"] == "/login?next=/sweeps/a"


def test_a_reader_writes_nothing(served: Served):
    eve = served.client("eve")
    for path in (STOP, "/api/v1/sweeps", "/whatever"):
        reply = eve.post(path, json={})
        assert reply.status_code == 403 and "a reader's token" in reply.json()["detail"]
    assert eve.delete("/api/v1/sweeps").status_code == 403
    assert served.front.asked == []
    assert [entry[2] for entry in served.audited()] == ["refused"] * 4


@pytest.mark.parametrize("host", ["evil.org", "evil.org:8788", "127.0.0.1.evil.org", "", "localhost.", "[::", "a@b"])
def test_another_host_name_is_refused(served: Served, host: str):
    reply = served.client("root").get("/api/v1/sweeps", headers={"Host": host})
    assert reply.status_code == 403 and "does not answer to the host name" in reply.json()["detail"]
    assert served.audited()[0][2] == "refused"


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8788", "10.0.0.7:80"])
def test_this_machines_names_and_addresses_are_fine(served: Served, host: str):
    assert served.client("root").get("/api/v1/me", headers={"Host": host}).status_code == 200


def test_a_name_that_was_allowed_is_fine(filled: Path):
    with ExitStack() as resources:
        served = make_served(filled, resources, hosts=["Sweeps.example.org"])
        headers = {"Host": "sweeps.example.org", "Origin": "https://sweeps.example.org"}
        assert served.client("root").get("/api/v1/me", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.org"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    ],
)
def test_a_page_of_another_origin_is_refused(served: Served, headers: dict[str, str]):
    session = served.access.log_in(served.tokens["ada"])
    reply = served.client().post(STOP, headers={**headers, "Cookie": f"rnnsweep={session}"})
    assert reply.status_code == 403 and served.front.asked == []
    own = {"Origin": "http://127.0.0.1:8788", "Sec-Fetch-Site": "same-origin", "Cookie": f"rnnsweep={session}"}
    assert served.client().post(STOP, headers=own).status_code == 202


def test_an_oversized_body_is_refused_before_it_is_read(served: Served):
    big = b"x" * ((1 << 20) + 1)
    ada = served.client("ada")
    assert ada.post("/api/v1/sweeps", content=big).status_code == 413
    pieces = (b"x" * 65536 for _ in range(17))  # no length is said
    assert ada.post("/api/v1/sweeps", content=pieces).status_code == 413
    assert ada.post("/api/v1/sweeps", content=b"{}", headers={"Content-Length": "-1"}).status_code == 413
    assert [entry[2] for entry in served.audited()] == ["refused"] * 3 and served.front.asked == []


def test_a_body_that_never_comes_is_not_waited_for(filled: Path):
    with ExitStack() as resources:
        served = make_served(filled, resources, Limits(body_s=0.05))
        sent: list[dict] = []

        async def never() -> dict:
            await asyncio.sleep(60)
            return {}

        async def app(scope, receive, send) -> None:
            raise AssertionError("the route was reached")

        async def send(message) -> None:
            sent.append(message)

        headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {served.tokens['ada']}".encode())]
        scope = {"type": "http", "method": "POST", "path": STOP, "headers": headers, "client": ("127.0.0.1", 1)}
        asyncio.run(AccessLayer(app, served.access)({**scope, "query_string": b""}, never, send))
        assert sent[0]["status"] == 408 and "408" in served.audited()[0][3]


def test_rates(filled: Path):
    with ExitStack() as resources:
        limits = Limits(rate=0.01, burst=5, changes=0.01, changes_burst=2, wrong=0.01, wrong_burst=3)
        served = make_served(filled, resources, limits)
        ada, bob, nobody = served.client("ada"), served.client("bob"), served.client()
        assert [ada.get("/api/v1/me").status_code for _ in range(7)] == [200] * 5 + [429] * 2
        refused = ada.get("/api/v1/me")
        assert int(refused.headers["retry-after"]) > 1 and "too many requests" in refused.json()["detail"]
        path = f"/api/v1/sweeps/{OF_BOB}/stop"
        assert [bob.post(path).status_code for _ in range(4)] == [202] * 2 + [429] * 2
        assert [nobody.get("/api/v1/me").status_code for _ in range(5)] == [401] * 3 + [429] * 2
        assert served.client("root").get("/api/v1/me").status_code == 200  # others are not meant
        assert len(served.front.asked) == 2
        # those who come again and again are noted once a minute, or they would fill the ledger
        assert sum("429" in detail for *_, detail in served.audited()) == 3


def test_a_change_stands_in_the_audit_before_it_is_made(served: Served, monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[str, ...]] = []
    monkeypatch.setattr(served.front, "stop", lambda name, reason: seen.extend(served.audited()))
    assert served.client("ada").post(STOP).status_code == 202
    assert seen == [("ada", STOP, "begun", "")]
    assert served.audited() == [("ada", STOP, "done", f"202 sweep {OF_ADA}: stop")]


def test_a_bug_is_noted_and_shows_nothing(served: Served, monkeypatch: pytest.MonkeyPatch):
    def broken(name: str, reason: str) -> None:
        raise ValueError("secret detail")

    monkeypatch.setattr(served.front, "stop", broken)
    reply = served.client("ada", raise_server_exceptions=False).post(STOP)
    assert reply.status_code == 500 and "secret" not in reply.text
    assert served.audited()[0][2] == "failed"


def test_what_cannot_be_written_down_is_not_done(served: Served, monkeypatch: pytest.MonkeyPatch):
    from rnnsweep.errors import StoreError

    def away(entry: object) -> int:
        raise StoreError("ledger", "away")

    monkeypatch.setattr(served.access.audit, "add", away)
    assert served.client("ada").post(STOP).status_code == 503
    assert served.client("eve").post(STOP).status_code == 503
    assert served.front.asked == []


def test_replies_are_not_kept_or_framed(served: Served):
    headers = served.client("ada").get("/api/v1/me").headers
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY" and "frame-ancestors 'none'" in headers["content-security-policy"]


def test_the_token_is_in_no_audit_and_no_reply(served: Served):
    token = served.tokens["ada"]
    ada = served.client("ada")
    ada.get(f"/api/v1/sweeps/{token}")
    ada.post("/api/v1/sweeps", json={"sweep": "search", "overrides": ["store.mlflow=http://me:hushhush@host"]})
    served.client().get("/api/v1/me", headers={"Authorization": f"Bearer {token}x"})
    kept = str([entry for entry in served.audited() if not entry[1].endswith(token)])
    assert token not in kept and "hushhush" not in kept


def test_no_websocket(served: Served):
    sent: list[dict] = []

    async def run() -> None:
        async def send(message) -> None:
            sent.append(message)

        await AccessLayer(None, served.access)({"type": "websocket"}, None, send)  # type: ignore[arg-type]

    asyncio.run(run())
    assert sent == [{"type": "websocket.close", "code": 1008}]
