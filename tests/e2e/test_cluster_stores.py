"""PostgreSQL for the ledger, Optuna's mirror and MLflow, and an MLflow server that proxies artifacts: only URLs change.

A sweep is launched, its driver killed, the sweep resumed; table and curves equal the undisturbed sweep's on SQLite.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from tests.chaos.conftest import UNMIRRORED
from tests.chaos.nodes import free_port
from tests.chaos.sweeps import COMMAND, Store, check_same, kill, record

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
TRIALS, SECRET = 4, "not-to-be-shown"
OPTIONS = ("sampler=random", f"budget.trials={TRIALS}", "budget.updates=150")


class ClusterStore(Store):
    """A store whose ledger is elsewhere."""

    url = ""

    def ledger(self):
        return open_ledger(self.url)


@contextlib.contextmanager
def database(server: str) -> Iterator[str]:
    name = f"rnnsweep_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield with_password(f"{server.partition('?')[0].rpartition('/')[0]}/{name}")
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def with_password(url: str) -> str:
    """A server that trusts us takes any password; none must show up anywhere."""
    who, _, where = url.partition("@")
    return url if ":" in who.partition("://")[2] else f"{who}:{SECRET}@{where}"


@contextlib.contextmanager
def mlflow_server(backend: str, folder: Path) -> Iterator[str]:
    uri = f"http://127.0.0.1:{(port := free_port())}"
    backend = backend.replace("postgresql://", "postgresql+psycopg://")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", backend, "--serve-artifacts", "--artifacts-destination", str(folder)]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with open(folder.parent / "server.txt", "wb") as out:
        process = subprocess.Popen(
            [*command, *stores], env={**os.environ, **quiet}, stdout=out, stderr=out, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{uri}/health", timeout=2):
                break
            assert process.poll() is None and time.monotonic() < deadline, (folder.parent / "server.txt").read_text()
            time.sleep(0.3)
        yield uri
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def test_killed_and_resumed_on_postgresql_and_an_mlflow_server(postgres_server: str, tmp_path: Path) -> None:
    calm = Store(tmp_path / "calm", OPTIONS)
    first = calm.launch("cluster=inline", *UNMIRRORED)
    (tmp_path / "artifacts").mkdir()
    with contextlib.ExitStack() as stack:
        ledger, optuna, mlflow = (stack.enter_context(database(postgres_server)) for _ in range(3))
        uri = stack.enter_context(mlflow_server(mlflow, tmp_path / "artifacts"))
        store = ClusterStore(tmp_path / "store", OPTIONS)
        store.url = ledger
        urls = (f"store.ledger={ledger}", f"store.optuna={optuna}", f"store.mlflow={uri}")
        process = store.launch("cluster=inline", *urls, f"store.root={store.root}")
        assert store.await_rungs(24, process), store.output()
        kill(process)
        again = [*COMMAND, "resume", "s", "--store", ledger]
        done = subprocess.run(again, env=store.variables(), capture_output=True, text=True, timeout=540, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert calm.finish(first) == 0, calm.output()
        check_same(record(store), record(calm))
        check_mirrors(uri, optuna, tmp_path / "artifacts")
        shown = [*(tmp_path / "artifacts").rglob("*"), *tmp_path.glob("*/output.txt")]
        assert not [file for file in shown if file.is_file() and SECRET.encode() in file.read_bytes()]


def check_mirrors(uri: str, optuna_url: str, artifacts: Path) -> None:
    import mlflow
    import optuna

    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`rnnsweep.kind` = 'trial'")
    assert len(runs) == TRIALS
    for run in runs:
        assert run.info.status == "FINISHED"
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "valid/error")]
        assert len(steps) == len(set(steps)) == 15
        assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"config.yaml", "checkpoints"}
    assert list(artifacts.rglob("*.safetensors")), "artifacts did not go through the server"
    study = optuna.load_study(study_name="s", storage=optuna_url.replace("postgresql://", "postgresql+psycopg://"))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * TRIALS
