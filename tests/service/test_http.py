"""The server itself: where it listens, what it asks for, how it ends and comes back."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest

from rnnsweep.app.accounts import TOKEN_FILE, first_token
from rnnsweep.errors import ConfigError
from rnnsweep.service.http import API, serve_http
from tests.kit.small_front import SmallFront
from tests.service.conftest import OF_ADA, Served

ME = f"{API}/me"


@pytest.fixture
def front(filled: Path) -> SmallFront:
    return SmallFront(filled)


def test_only_loopback_listens_unless_told_otherwise(front: SmallFront):
    with serve_http(front, port=0).start() as server:
        assert server.url.startswith("http://127.0.0.1:")
        port = int(server.url.rpartition(":")[2])
        listening = [
            one.laddr.ip
            for one in psutil.Process().net_connections("tcp")
            if one.status == psutil.CONN_LISTEN and one.laddr.port == port
        ]
        assert listening == ["127.0.0.1"]


def test_a_token_is_asked_for_and_outlives_a_restart(front: SmallFront):
    token = first_token(front.place)
    assert token is not None and first_token(front.place) is None  # shown once
    file = front.place.root / TOKEN_FILE
    assert file.stat().st_mode & 0o777 == 0o600 and file.read_text().strip() == token
    headers = {"Authorization": f"Bearer {token}"}
    for _ in range(2):
        with serve_http(front, port=0).start() as server:
            assert httpx.get(server.url + ME).status_code == 401
            me = httpx.get(server.url + ME, headers=headers).json()
            assert me["role"] == "operator" and me["every"]


@pytest.mark.parametrize("user", ["ada", "eve"])
def test_the_page_comes_with_its_style_and_its_scripts(served: Served, user: str):
    client = served.client(user)
    for path in ("/", f"/sweeps/{OF_ADA}", f"/sweeps/{OF_ADA}/trials/0"):
        page = client.get(path) if user == "ada" or path == "/" else served.client("root").get(path)
        files = re.findall(r'(?:href|src)="(/assets/[^"]+)"', page.text)
        assert page.status_code == 200 and len(files) >= 2
        for file in files:
            reply = client.get(file)
            assert (reply.status_code, "immutable" in reply.headers["cache-control"]) == (200, True), file


def test_a_session_outlives_a_restart(front: SmallFront):
    token = first_token(front.place)
    with serve_http(front, port=0).start() as server, httpx.Client(base_url=server.url) as browser:
        browser.post("/login", data={"token": token})
        cookies = dict(browser.cookies)
        assert browser.get(ME).status_code == 200
    with serve_http(front, port=0).start() as server:
        assert httpx.get(server.url + ME, cookies=cookies).status_code == 200


def test_an_open_service_is_for_this_machine(front: SmallFront):
    with serve_http(front, port=0, open=True).start() as server:
        assert httpx.get(server.url + ME).json() == {"user": "local", "role": "operator", "every": True}
        assert httpx.get(server.url + ME, headers={"Host": "evil.org"}).status_code == 403
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"):
        with pytest.raises(ConfigError, match="without a token others could steer it"):
            serve_http(front, host, 0, open=True)


def test_a_port_that_is_taken_or_none(front: SmallFront):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match=r"--port=\d+: cannot listen there: Address already in use"):
            serve_http(front, port=other.getsockname()[1])
    with pytest.raises(ConfigError, match="--port=99999: is no port"):
        serve_http(front, port=99999)
    with pytest.raises(ConfigError, match=r"--host='no-such-host\.invalid': cannot listen there"):
        serve_http(front, "no-such-host.invalid")


def test_it_ends_while_streams_are_open(front: SmallFront):
    token = first_token(front.place)
    server = serve_http(front, port=0).start()
    lines: list[str] = []

    def read() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.stream("GET", f"{server.url}{API}/sweeps/{OF_ADA}/events", headers=headers, timeout=30) as reply:
            lines.extend(reply.iter_lines())

    reader = threading.Thread(target=read)
    reader.start()
    while not lines and reader.is_alive() and len(lines) < 1:
        time.sleep(0.2)
        if server._server.server_state.total_requests:
            break
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 8
    reader.join(10)
    assert not reader.is_alive() and any(line.startswith("id: ") for line in lines)
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url + ME)


def test_forwarded_addresses_are_believed_of_proxies_only(front: SmallFront):
    token = first_token(front.place)
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": "203.0.113.9"}
    for proxies, remote in (((), "127.0.0.1"), (("127.0.0.1",), "203.0.113.9")):
        with serve_http(front, port=0, proxies=proxies).start() as server:
            httpx.post(f"{server.url}{API}/sweeps/{OF_ADA}/stop", headers=headers)
            entries = httpx.get(f"{server.url}{API}/audit", headers=headers).json()
            assert entries[-1]["remote"] == remote


def test_every_route_is_described_and_asks_for_a_token(served: Served):
    schema = served.client("root").get(f"{API}/openapi.json").json()
    paths = schema["paths"]
    assert {path.removeprefix(f"{API}/sweeps/{{name}}") for path in paths if "{name}" in path} == {
        *("", "/config", "/journal", "/table", "/ranking", "/best", "/front", "/trials", "/trials/{trial}"),
        *("/replicas", "/curves", "/stop", "/pause", "/resume", "/budget", "/enqueue", "/edit", "/edits"),
        *("/events", "/logs", "/record"),
        *("/report", "/artifacts", "/artifacts/{path}"),
        *(f"/trials/{{trial}}/{what}" for what in ("end", "pause", "unpause")),
    }
    asked = [(path, method) for path, methods in paths.items() for method in methods if path != f"{API}/health"]
    nobody = served.client()
    for path, method in asked:
        concrete = path.format(name=OF_ADA, trial=1, path="x") if "{" in path else path
        assert nobody.request(method, concrete).status_code == 401, (method, path)
    assert served.front.asked == [] and len(asked) > 30


def test_the_page_shows_what_the_account_may_see(served: Served):
    client = served.client("ada")
    page = client.get(f"/sweeps/{OF_ADA}")
    assert page.status_code == 200 and OF_ADA in page.text and "ada" in page.text
    assert client.get("/sweeps/bob-one").status_code == 403  # whose sweep it is, is asked of the page too
    listed = client.get("/").text
    assert OF_ADA in listed and "bob-one" not in listed


def test_the_command_line_imports_no_server():
    code = "import sys, rnnsweep.app.cli.main, rnnsweep; print([m for m in ('fastapi', 'uvicorn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
