"""What is printed of a sweep that a service runs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.remote_outcome import command, finish_remote, ways_on
from rnnsweep.app.remote.remote_sweep import RemoteSweep
from rnnsweep.errors import SweepInterrupted
from rnnsweep.sweep.session import Outcome
from rnnsweep.sweep.states import SweepState

URL = "http://127.0.0.1:1"


class Answering:
    """A connection whose answers are known."""

    url = URL

    def get(self, *path: object, **query: Any) -> Any:
        counts = {"waiting": 0, "running": 0, "complete": 1, "pruned": 0, "failed": 1}
        whole = {"sweep": "s", "state": "COMPLETE", "trials": counts, "best": None, "wall_s": 1.0}
        return whole if len(path) == 2 else []


@pytest.fixture(autouse=True)
def chosen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(source.VARIABLE, raising=False)
    source.take_service(["launch", "s", "--service", URL])
    yield
    source.take_service([])


def sweep(state: SweepState = SweepState.COMPLETE, code: int = 0) -> RemoteSweep:
    return RemoteSweep("s", Answering(), Outcome(state, code, "why"))  # type: ignore[arg-type]


def test_commands_ask_the_same_service(monkeypatch: pytest.MonkeyPatch):
    assert command("status", "a b") == f"rnnsweep status 'a b' --service {URL}"
    assert ways_on(sweep())[1] == f"more      rnnsweep resume s budget.trials=N --service {URL}"
    assert ways_on(sweep(SweepState.STOPPED, 3))[1] == f"go on     rnnsweep resume s --service {URL}"
    monkeypatch.setenv(source.VARIABLE, URL)
    assert command("status", "s") == "rnnsweep status s"


def test_the_exit_code_is_the_runs(capsys: pytest.CaptureFixture[str]):
    service: Any = SimpleNamespace(
        connection=Answering(), wait=lambda one, watch: replace(one, outcome=sweep(code=1).outcome)
    )
    with pytest.raises(typer.Exit) as ended:
        finish_remote(service, sweep(), wait=True)
    assert ended.value.exit_code == 1
    assert "Sweep 's' is COMPLETE: 2 trials, 1 failed, 1 s." in capsys.readouterr().out


def test_ctrl_c_leaves_it_running_and_says_how_to_follow():
    def interrupted(one: object, watch: object) -> None:
        raise KeyboardInterrupt

    service: Any = SimpleNamespace(connection=Answering(), wait=interrupted)
    with pytest.raises(SweepInterrupted) as left:
        finish_remote(service, sweep(), wait=True)
    assert left.value.command == f"rnnsweep logs s --follow --service {URL}"
