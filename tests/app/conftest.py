"""A small ledger written with the real adapter: what the commands read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import rnnsweep
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.app import live_display
from rnnsweep.app.cli.main import app
from rnnsweep.app.config.load import load, to_json
from rnnsweep.app.results.sweep import Sweep
from rnnsweep.sweep.ports import PutReports, PutRung, PutSweep, PutTrial, SweepView, TrialView
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import RowState, SweepState, TrialState
from tests.kit.tiny import TINY

SWEEP = "quickstart"


def params(number: int) -> dict[str, Any]:
    return {
        "controllers.clip.threshold": 0.5 + number,
        "controllers.omega.weight": (0.0, 2.0)[number % 2],
        "controllers.sampling.q_min": float("-inf"),
        "controllers.sampling.q_max": (2.0, float("inf"))[number % 2],
        "init.sigma": 0.05 + 0.01 * number,
    }


TRIALS = (
    TrialView(0, TrialState.COMPLETE, params(0), (0.7,), attempts=1, started=100.0, finished=160.0, step=6000, rung=30),
    TrialView(
        1,
        TrialState.COMPLETE,
        params(1),
        (0.002,),
        attempts=2,
        started=100.0,
        finished=150.0,
        step=800,
        rung=4,
        solved_at=800,
        history=("attempt 1 lost: worker died", "attempt 2"),
    ),
    TrialView(2, TrialState.FAILED, params(2), reason="bug: ValueError: no", attempts=1, started=101.0, finished=102.0),
    TrialView(3, TrialState.PRUNED, params(3), (0.75,), attempts=1, started=101.0, finished=130.0, step=400, rung=2),
    TrialView(
        4,
        TrialState.COMPLETE,
        params(4),
        (1.0,),
        attempts=1,
        started=102.0,
        finished=130.0,
        step=400,
        rung=2,
        diverged_at=320,
        diverged_share=1.0,
    ),
    TrialView(5, TrialState.RUNNING, params(5), attempts=1, started=103.0, step=200, rung=1),
)


def reports() -> list[RowReport]:
    found = []
    for view in TRIALS:
        for rung in range(1, view.rung + 1):
            last = rung == view.rung
            solved = view.solved_at if last else None
            state = RowState.SOLVED if solved else RowState.ACTIVE
            if last and view.diverged_at:
                state = RowState.DIVERGED
            error = view.values[0] if last and view.values else 0.75
            metrics = {"valid/error": error, "valid/loss": error, "clip/share": 0.25, "weights/rho": 1.1}
            found.append(
                RowReport(
                    view.number,
                    0,
                    "t",
                    rung,
                    rung * 200,
                    metrics,
                    state,
                    solved_at=solved,
                    diverged_at=view.diverged_at if last else None,
                    device_s=0.5,
                    engine="cpu",
                )
            )
    return found


def fill(store: Path, name: str = SWEEP, state: SweepState = SweepState.INTERRUPTED) -> None:
    config = to_json(load("search", [f"name={name}"], store=store, check_units=False))
    view = SweepView(name, SweepState.RUNNING, config, (f"name={name}",), created=99.0, updated=99.0)
    ledger = open_ledger(f"sqlite:///{store / 'ledger.db'}")
    try:
        ledger.create(view)
        fence = ledger.acquire(name, "test", 1.0)
        writes: list[Any] = [PutTrial(trial) for trial in TRIALS]
        writes.append(PutReports(tuple(reports())))
        writes.append(PutRung(1, 4, 800, {"valid/error": 0.002}, (0.002,)))
        writes.append(PutRung(5, 1, 240, {"valid/error": 0.625}, (0.625,)))
        writes.append(PutSweep(SweepView(name, state, config, view.overrides, 99.0, 160.0, 61.0, 15.0, 9800, "")))
        ledger.commit(name, fence, writes)
        ledger.release(name, fence)
    finally:
        ledger.close()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line says that something takes long: on a busy machine one would stand among those that a test counts."""
    for name in ("PLAIN_S", "SILENCE_S"):
        monkeypatch.setattr(live_display, name, 3600.0)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> tuple[Path, Sweep]:
    """A finished sweep of three trials, and the store that it is in."""
    root = tmp_path_factory.mktemp("tiny")
    sweep = rnnsweep.launch("search", ["name=tiny", "budget.trials=3", *TINY], store=root, progress=False)
    return root, sweep


@pytest.fixture
def store(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    fill(root)
    return root


@pytest.fixture
def driven(store: Path) -> Iterator[None]:
    """The filled sweep while a driver holds its lock: what it says of itself holds."""
    ledger = open_ledger(f"sqlite:///{store / 'ledger.db'}")
    view = ledger.sweep(SWEEP)
    assert view is not None
    fence = ledger.acquire(SWEEP, "test", 1.0)
    ledger.commit(SWEEP, fence, [PutSweep(replace(view, state=SweepState.RUNNING))])
    yield
    ledger.release(SWEEP, fence)
    ledger.close()


@pytest.fixture
def run(store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Run a command on the filled store, away from the checkout's own configs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RNNSWEEP_STORE", str(store))
    monkeypatch.delenv("COLUMNS", raising=False)  # a terminal's width, which some that run tests set
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))
