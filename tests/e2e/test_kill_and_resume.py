"""kill -9 of the driver in the middle of a real sweep, resume, and compare with the undisturbed sweep, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rnnsweep.app.cli.main import app

SWEEP = [
    "task.length=12",
    "family.hidden=10",
    "training.batch=4",
    "training.report_every=10",
    "training.eval_size=20",
    "training.stop_solved=false",
    "budget.trials=6",
    "budget.updates=200",
    "replicas=2",
    "sampler=random",
    "cluster.rows=6",
]
UNMIRRORED = ["tracker=none", "store.optuna=none"]
"""Where only the ledger is looked at: half of a small sweep's time is MLflow's."""
ENDLESS = ["search", "name=s", "cluster=inline", *SWEEP, "budget.updates=100000"]
COMMAND = [sys.executable, "-m", "rnnsweep.app.cli.main"]


def rnnsweep(store: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*COMMAND, *arguments, "--store", str(store)], capture_output=True, text=True, env=environment, timeout=540
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def shown(store: Path, *arguments: str) -> Any:
    """What a command that only reads shows as JSON; in this process, as to start one takes seconds."""
    done = CliRunner().invoke(app, [*arguments, "--json", "--store", str(store)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def table(store: Path, name: str) -> list[dict]:
    """The table without what may differ: run ids and numbers of attempts."""
    rows = shown(store, "table", name)
    return [{key: value for key, value in row.items() if key not in ("mlflow_run_id", "attempts")} for row in rows]


def curves(store: Path, name: str, trial: int) -> dict:
    return shown(store, "show", name, str(trial))["curves"]


def begin(store: Path, *command: str) -> subprocess.Popen[str]:
    """Start a command that drives a sweep."""
    return subprocess.Popen(
        [*COMMAND, *command, "--store", str(store)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def await_rungs(store: Path, name: str, rungs: int, process: subprocess.Popen[str]) -> None:
    """Wait until the ledger holds so many rungs of a sweep."""
    from rnnsweep.adapters.ledger.sql_ledger import open_ledger

    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        assert process.poll() is None, "the sweep ended before it was to be disturbed"
        if (store / "ledger.db").exists():
            ledger = open_ledger(f"sqlite:///{store / 'ledger.db'}")
            found = len([change for change in ledger.changes(name, 0, 100_000) if change.kind == "rung"])
            ledger.close()
            if found >= rungs:
                return
        time.sleep(0.05)
    raise AssertionError(f"fewer than {rungs} rungs after 400 s")


def kill_at(store: Path, name: str, rungs: int, *command: str) -> None:
    """Start a driver, and kill it once the ledger holds some rungs."""
    process = begin(store, *command)
    await_rungs(store, name, rungs, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[list[dict], dict]:
    store = tmp_path_factory.mktemp("undisturbed")
    rnnsweep(store, "launch", "search", "name=s", "cluster=inline", *SWEEP, *UNMIRRORED)
    return table(store, "s"), curves(store, "s", 3)


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize(("cluster", "kills", "mirrors"), [("inline", (3, 60), UNMIRRORED), ("local", (20,), [])])
def test_killed_and_resumed_equals_undisturbed(tmp_path, undisturbed, cluster, kills, mirrors):
    """Killed as the sweep begins, and again as it is half over."""
    command = ["launch", "search", "name=s", f"cluster={cluster}", *SWEEP, *mirrors]
    for rungs in kills:
        kill_at(tmp_path, "s", rungs, *command)
        command = ["resume", "s"]
    rnnsweep(tmp_path, *command)
    rows = table(tmp_path, "s")
    assert [row["state"] for row in rows] == ["COMPLETE"] * 6
    assert rows == undisturbed[0]
    assert curves(tmp_path, "s", 3) == undisturbed[1]
    if not mirrors:
        assert_no_doubled_points(tmp_path, "s")


@pytest.mark.slow
@pytest.mark.chaos
def test_rows_out_of_patience_end_where_they_would_have_without_the_kill(tmp_path):
    waiting = [
        *UNMIRRORED,
        "budget.patience=2",
        "budget.min_delta=0.02",
        "objective.metric=valid/loss",
        "objective.take=best",
    ]
    command = ["launch", "search", "name=s", "cluster=inline", *SWEEP, *waiting]
    rnnsweep(tmp_path / "whole", *command)
    kill_at(tmp_path / "killed", "s", 15, *command)
    rnnsweep(tmp_path / "killed", "resume", "s")
    rows, wanted = table(tmp_path / "killed", "s"), table(tmp_path / "whole", "s")
    assert rows == wanted
    early = [row for row in rows if "no improvement of valid/loss in 2 evaluations" in (row["reason"] or "")]
    assert early
    for row in early:
        trial = row["trial"]
        assert curves(tmp_path / "killed", "s", trial) == curves(tmp_path / "whole", "s", trial)


def assert_no_doubled_points(store: Path, name: str) -> None:
    """Every curve in MLflow has each step once, and as many as the ledger has."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id], "tags.mlflow.parentRunId != ''", max_results=1000)
    assert len(runs) == 6
    for run in runs:
        assert run.info.status == "FINISHED"
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "valid/error")]
        assert len(steps) == len(set(steps)) == 20


@pytest.mark.slow
def test_a_second_driver_is_refused_with_exit_4(tmp_path):
    first = begin(tmp_path, "launch", *ENDLESS, *UNMIRRORED)
    try:
        await_rungs(tmp_path, "s", 1, first)
        second = rnnsweep(tmp_path, "resume", "s", check=False)
        assert second.returncode == 4, second.stdout + second.stderr
        assert "another driver" in second.stderr
        assert rnnsweep(tmp_path, "stop", "s").returncode == 0
        first.communicate(timeout=180)
        assert first.returncode == 3
        assert shown(tmp_path, "status", "s")["state"] == "STOPPED"
    finally:
        first.kill()
        first.wait()


@pytest.mark.slow
def test_ctrl_c_once_is_resumable(tmp_path):
    process = begin(tmp_path, "launch", *ENDLESS)
    try:
        await_rungs(tmp_path, "s", 1, process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=180)
        assert process.returncode == 3, output
        assert "rnnsweep resume s" in output
        assert shown(tmp_path, "status", "s")["state"] == "INTERRUPTED"
    finally:
        process.kill()
        process.wait()
