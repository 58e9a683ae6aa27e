"""Requests to a service: addresses, tokens, errors."""

from __future__ import annotations

import math
import socket
import threading
from pathlib import Path

import pytest

from rnnsweep.app.accounts import TOKEN_FILE
from rnnsweep.app.remote.connection import FILE, TOKEN, Connection, ServiceError, find_token, numbers, words
from rnnsweep.errors import ConfigError, StoreError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in (TOKEN, FILE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RNNSWEEP_STORE", str(tmp_path))


@pytest.mark.parametrize("url", ["", "x", "ftp://x", "http://", "http://x:y", "http://x:0", "http://[", "file:///etc"])
def test_what_is_no_url(url: str):
    with pytest.raises(ConfigError, match="is no URL of a service; allowed: http://127"):
        Connection(url)


@pytest.mark.parametrize("url", ["http://me:hushhush@x", "http://x?token=hushhush", "http://x#hushhush"])
def test_a_secret_in_an_url_is_refused(url: str):
    with pytest.raises(ConfigError, match="holds more than an address"):
        Connection(url)


def test_an_address_behind_a_proxy():
    connection = Connection("https://host/sweeps/", "t")
    assert connection.url == "https://host/sweeps" and connection.safe and not connection.local
    assert not Connection("http://host", "t").safe and Connection("http://localhost:1", "t").safe
    assert "t" not in repr(connection).replace("Connection(https://host/sweeps)", "")


def test_where_a_token_comes_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert find_token(True) == ""
    own, other = tmp_path / TOKEN_FILE, tmp_path / "token"
    for file, text in ((own, "own\n"), (other, "other\n")):
        file.write_text(text)
        file.chmod(0o600)
    assert find_token(True) == "own" and find_token(False) == ""  # to no other machine
    monkeypatch.setenv(FILE, str(other))
    assert find_token(True) == find_token(False) == "other"
    other.chmod(0o640)
    with pytest.raises(ConfigError, match="others may read this token; allowed: mode 0600"):
        find_token(False)
    monkeypatch.setenv(FILE, str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        find_token(False)
    monkeypatch.setenv(TOKEN, " mine ")
    assert find_token(False) == "mine"
    with pytest.raises(ConfigError, match="is no token"):
        Connection("http://127.0.0.1:1", "a\nb")


def replying(reply: bytes) -> str:
    """The URL of a server that gives one reply to whoever asks."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening, listening.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(reply)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_that_is_no_service():
    html = b"HTTP/1.1 502 Bad\r\nContent-Length: 6\r\n\r\n<html>"
    with pytest.raises(ServiceError, match="replies 502, which no service of rnnsweep does"):
        Connection(replying(html), "t").get("me")
    with pytest.raises(StoreError, match="service: http://127"):
        Connection(replying(b"nonsense\r\n\r\n"), "t").get("me")
    with pytest.raises(StoreError, match="Connection refused"):
        Connection("http://127.0.0.1:1", "t").get("me")


def test_no_redirect_is_followed():
    reply = b"HTTP/1.1 302 Found\r\nLocation: http://evil.org/\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(ServiceError, match="replies 302"):
        Connection(replying(reply), "t").get("me")


def test_a_file_that_broke_off_is_not_there(tmp_path: Path):
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    with pytest.raises(StoreError):
        Connection(replying(reply), "t").save(tmp_path / "file", "x")
    assert list(tmp_path.iterdir()) == []


def test_infinities_cross():
    data = {"a": [math.inf, -math.inf, 1, None, "x"], "b": True}
    assert numbers(words(data)) == data


def test_errors_are_raised_again(url: str, token: str, reader: str):
    with pytest.raises(ConfigError) as wrong:
        Connection(url, token).get("sweeps", "quickstrat")
    assert wrong.value.key == "SWEEP" and wrong.value.hint == "quickstart"
    with pytest.raises(ServiceError, match="a reader's token cannot change anything") as refused:
        Connection(url, reader).post("sweeps", "quickstart", "stop")
    assert (refused.value.status, refused.value.exit_code) == (403, 2)
    with pytest.raises(ServiceError, match="wrong token") as unknown:
        Connection(url, "wrong").get("me")
    assert unknown.value.exit_code == 2
