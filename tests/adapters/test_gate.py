"""The gate before other projects' pages: who gets in, and how; by decision, through ASGI and through WSGI."""

from __future__ import annotations

import asyncio
from wsgiref.util import setup_testing_defaults

import pytest

from rnnsweep.adapters.gate import VARIABLE, Gate, asgi, gate_of_environment, with_token, wsgi

GATE = Gate("right", "rnnsweep-5000")
HOST = {"host": "127.0.0.1:5000"}
COOKIE = {"cookie": "other=1; rnnsweep-5000=right"}


def status(method: str = "GET", target: str = "/", **headers: str) -> int:
    """200 where the application is reached."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = GATE.reply(method, target, {**HOST, **given})
    return 200 if reply is None else reply.status.value


def test_without_the_token_nothing_is_reached():
    assert status() == status("POST", "/api/2.0/mlflow/experiments/delete") == status("GET", "/health") == 401
    assert (
        status(cookie="rnnsweep-5000=wrong") == status(cookie="rnnsweep-5001=right") == status(cookie="\x00=;;") == 401
    )
    assert status(authorization="Bearer wrong") == status(authorization="Basic right") == 401
    assert status(target="/?token=wrong") == status(target="/?token=") == status("POST", "/?token=right") == 401


def test_a_gate_without_a_token_lets_nobody_in(monkeypatch):
    assert Gate("", "c").reply("GET", "/?token=", {**HOST, "cookie": "c="}).status == 401
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(KeyError):
        gate_of_environment(5000)
    monkeypatch.setenv(VARIABLE, "T")
    assert gate_of_environment(5000) == Gate("T", "rnnsweep-5000")


def test_cookie_and_bearer_let_in():
    assert status(**COOKIE) == status(authorization="Bearer right") == status("POST", "/x", **COOKIE) == 200


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("/?token=right", "/"),
        ("/a/b?x=1%202&token=right&y=", "/a/b?x=1+2&y="),
        ("//evil.example/?token=right", "/evil.example/"),
    ],
)
def test_the_link_sets_the_cookie_and_loses_the_token(target, place):
    reply = GATE.reply("GET", target, HOST)
    assert reply is not None and reply.status == 303
    headers = dict(reply.all_headers)
    assert headers["Location"] == place
    assert headers["Set-Cookie"] == "rnnsweep-5000=right; Path=/; HttpOnly; SameSite=Strict"
    assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:5000", "10.0.0.1:5000", "127.0.0.1.evil.example", "", "[::1"]
)
def test_names_that_were_made_to_point_here_are_refused(host):
    assert status(host=host, **COOKIE) == status(target="/?token=right", host=host) == 403


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1:8888", "[::1]:5000", "localhost"])
def test_this_machine_by_whatever_port_a_tunnel_has(host):
    assert status(host=host, origin=f"http://{host}", **COOKIE) == 200


def test_pages_of_other_servers_on_this_machine_cannot_act_for_the_user():
    for origin in ("http://127.0.0.1:6666", "http://evil.example", "null", "https://127.0.0.1:5000"):
        assert status("POST", origin=origin, **COOKIE) == 403
    assert status(sec_fetch_site="same-site", sec_fetch_mode="no-cors", **COOKIE) == 403
    assert status(sec_fetch_site="cross-site", sec_fetch_mode="navigate", **COOKIE) == 200  # a person follows a link


def test_links_keep_their_fragment():
    assert with_token("http://h/#/a?b=1", "T") == "http://h/?token=T#/a?b=1"
    assert with_token("http://h/x?y=1", "T") == "http://h/x?y=1&token=T"


def through_asgi(kind: str, **headers: str) -> list[dict[str, object]]:
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def app(scope, receive, send) -> None:
        await send({"type": "reached"})

    given = [(name.encode(), value.encode()) for name, value in {**HOST, **headers}.items()]
    scope = {"type": kind, "method": "GET", "raw_path": b"/", "query_string": b"", "headers": given}
    asyncio.run(asgi(app, GATE)(scope, None, send))
    return sent


def test_asgi():
    assert through_asgi("http", **COOKIE) == through_asgi("websocket", **COOKIE) == [{"type": "reached"}]
    assert through_asgi("lifespan") == [{"type": "reached"}]
    assert through_asgi("http")[0]["status"] == 401
    assert through_asgi("websocket") == [{"type": "websocket.close", "code": 1008}]


def test_wsgi():
    def answer(**headers: str) -> tuple[str, bytes]:
        environ: dict[str, str] = {**headers}
        setup_testing_defaults(environ)
        begun: list[str] = []
        body = wsgi(lambda environ, start: [b"reached"], GATE)(environ, lambda line, headers: begun.append(line))
        return "".join(begun), b"".join(body)

    host = HOST["host"]
    assert answer(HTTP_HOST=host, HTTP_COOKIE=COOKIE["cookie"]) == ("", b"reached")
    assert answer(HTTP_HOST=host)[0] == "401 Unauthorized"
    assert answer(HTTP_HOST="evil.example", HTTP_COOKIE=COOKIE["cookie"])[0] == "403 Forbidden"
