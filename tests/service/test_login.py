"""The way in for browsers."""

from __future__ import annotations

import pytest

from rnnsweep.service.login import own_path
from tests.service.conftest import Served

ME = "/api/v1/me"


def enter(served: Served, token: str, **more: str):
    client = served.client()
    return client, client.post("/login", data={"token": token, **more})


def test_a_token_becomes_a_cookie_that_scripts_and_other_sites_have_not(served: Served):
    client, reply = enter(served, served.tokens["ada"], next="/sweeps/a")
    assert reply.status_code == 303 and reply.headers["location"] == "/sweeps/a"
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie
    assert served.tokens["ada"] not in cookie
    assert client.get(ME).json()["user"] == "ada"
    assert served.audited() == [("ada", "/login", "done", "logged in")]


def test_a_wrong_token_is_told_and_noted(served: Served):
    client, reply = enter(served, "wrong", next='"><script>')
    assert reply.status_code == 401 and "set-cookie" not in reply.headers and "<script>" not in reply.text
    assert client.get(ME).status_code == 401
    assert served.audited()[0][2:] == ("refused", "wrong token")


def test_leaving_makes_the_cookie_worthless(served: Served):
    client, reply = enter(served, served.tokens["ada"])
    cookie = reply.headers["set-cookie"].partition(";")[0]
    assert client.post("/logout").headers["location"] == "/login"
    assert served.client().get(ME, headers={"Cookie": cookie}).status_code == 401


def test_a_reader_can_leave(served: Served):
    client, _ = enter(served, served.tokens["eve"])
    assert client.post("/logout").status_code == 303 and client.get(ME).status_code == 401


@pytest.mark.parametrize("body", [b"", b"token", b"&" * 5000, b"token=\xff\xfe", b"token=%00", b"a=" + b"&a=" * 20])
def test_any_form_is_answered(served: Served, body: bytes):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert served.client().post("/login", content=body, headers=headers).status_code == 401


def test_the_page_has_no_script_and_nothing_from_elsewhere(served: Served):
    reply = served.client().get("/login?next=//evil.org")
    assert reply.status_code == 200 and "evil" not in reply.text and "<script" not in reply.text
    assert "default-src 'none'" in reply.headers["content-security-policy"]


def test_next_is_a_path_of_ours():
    assert own_path("/a?b=c") == "/a?b=c"
    for path in ("//evil.org", "/\\evil", "https://evil", "javascript:x", "", "/a\r\nSet-Cookie: x", "/ä"):
        assert own_path(path) == "/"


def test_a_browser_says_where_the_form_comes_from(served: Served):
    # under no-referrer it sends the origin null, and null is refused
    client = served.client()
    assert client.get("/login").headers["referrer-policy"] == "same-origin"
    sent = {"token": served.tokens["ada"]}
    assert client.post("/login", data=sent, headers={"Origin": "null"}).status_code == 403
    assert client.post("/login", data=sent, headers={"Origin": "http://127.0.0.1:8788"}).status_code == 303
