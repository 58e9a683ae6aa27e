"""A service that runs, over the filled store of the command line's tests; it trains what is queued, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rnnsweep.app.accounts import first_token, grant
from rnnsweep.app.cli.main import app
from rnnsweep.service.front import QueueState
from rnnsweep.service.http import serve_http
from tests.app.conftest import SWEEP, fill
from tests.kit.small_front import SmallFront


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> SmallFront:
    store = tmp_path_factory.mktemp("served") / "store"
    fill(store)
    front = SmallFront(store)
    front.add(SWEEP, "ada")
    return front


@pytest.fixture(scope="module")
def token(front: SmallFront) -> str:
    """Of an operator of all sweeps."""
    token = first_token(front.place)
    assert token is not None
    return token


@pytest.fixture(scope="module")
def reader(front: SmallFront, token: str) -> str:
    """The token of somebody who sees all sweeps and steers none."""
    return grant("eve", "reader", True, front.place)


@pytest.fixture(scope="module")
def url(front: SmallFront, reader: str) -> Iterator[str]:
    ending = threading.Event()

    def train() -> None:
        while not ending.wait(0.1):
            for line in front.queue():
                if line.state is QueueState.QUEUED:
                    front.run(line.name)

    training = threading.Thread(target=train)
    with serve_http(front, port=0).start() as server:
        training.start()
        yield server.url
        ending.set()
        training.join()


@pytest.fixture
def ask(url: str, token: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Run a command that asks the service, away from every store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RNNSWEEP_TOKEN", token)
    for name in ("RNNSWEEP_STORE", "RNNSWEEP_SERVICE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return lambda *words: CliRunner().invoke(app, [*map(str, words), "--service", url])
