"""`rnnsweep ui`: this store's own pages, on a free port, and no server that outlives it."""

from __future__ import annotations

import re
import socket

import pytest

from rnnsweep.adapters.mlflow.server import free_port
from rnnsweep.app.results import mlflow_ui


class Server:
    """A server that has ended by itself, or that the user ends."""

    def __init__(self, status: int | None) -> None:
        self.returncode, self.ended = status, False

    def wait(self, timeout: float | None = None) -> int | None:
        if self.returncode is None and timeout is None:
            raise KeyboardInterrupt
        return self.returncode

    def terminate(self) -> None:
        self.ended = True


@pytest.fixture
def taken():
    """A port that another server listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_that_is_taken_is_passed_over(taken):
    assert free_port(taken) > taken


def test_the_store_has_a_port_of_its_own_and_says_which(run, store, monkeypatch, taken):
    servers = []

    def serve(uri, host, port, token):
        assert len(token) > 40
        assert (uri, host) == (f"sqlite:///{store / 'mlflow.db'}", "127.0.0.1")
        servers.append(Server(None))
        return servers[-1]

    (store / "mlflow.db").touch()
    monkeypatch.setattr("rnnsweep.adapters.mlflow.server.serve", serve)
    result = run("ui", "--port", taken)
    assert result.exit_code == 0  # ended by Ctrl-C
    assert f"Port {taken} is taken" in result.stderr
    assert f"http://127.0.0.1:{taken}" not in result.stdout
    assert re.search(r"http://127\.0\.0\.1:\d+/\?token=\S{40}", result.stdout)
    assert servers[0].ended


def test_a_server_that_ends_by_itself_is_a_failure(run, store, monkeypatch):
    (store / "mlflow.db").touch()
    monkeypatch.setattr(mlflow_ui, "serve", lambda uri, port: mlflow_ui.Pages(Server(1), port, "T"))
    result = run("ui")
    assert result.exit_code == 1
    assert "ended by itself" in result.stderr
