"""`rnnsweep doctor --repair`: mirrors compared with the ledger, and written anew where something is gone."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.app.run.test_finished import resumed
from tests.chaos.sweeps import mlflow_points
from tests.kit.tiny import TINY

pytestmark = pytest.mark.slow


def alone(*words: str, code: int = 0) -> str:
    """A command in a process of its own: MLflow keeps connections to removed files."""
    command = [sys.executable, "-m", "rnnsweep.app.cli.main", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def execute(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def count(database: Path, table: str) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]


@pytest.fixture(scope="module")
def launched(tmp_path_factory) -> Path:
    """The store of a sweep of two trials with both mirrors; each test takes a copy."""
    store = tmp_path_factory.mktemp("launched") / "store"
    mirrored = [text for text in TINY if text not in ("tracker=none", "store.optuna=none")]
    alone("launch", "quickstart", "name=s", "budget.trials=2", *mirrored, "--store", str(store))
    return store


@pytest.fixture
def copied(launched, tmp_path) -> Path:
    return Path(shutil.copytree(launched, tmp_path / "copy"))


def test_what_was_deleted_from_a_mirror_comes_back(copied):
    optuna, mlflow = copied / "optuna.db", copied / "mlflow.db"
    points, values = count(mlflow, "metrics"), count(optuna, "trial_intermediate_values")
    assert points and values
    healthy = alone("doctor", "--no-ray", "--repair", "--store", str(copied))
    assert healthy.count("has everything") == 2
    execute(mlflow, "DELETE FROM metrics WHERE key = 'valid/error'", "UPDATE runs SET lifecycle_stage = 'deleted'")
    execute(optuna, "DELETE FROM trial_intermediate_values")
    healed = alone("doctor", "--no-ray", "--repair", "--store", str(copied))
    assert healed.count("had lost something and is written anew") == 2
    assert (count(mlflow, "metrics"), count(optuna, "trial_intermediate_values")) == (points, values)
    with closing(sqlite3.connect(mlflow)) as connection:
        assert connection.execute("SELECT DISTINCT lifecycle_stage FROM runs").fetchall() == [("active",)]


def test_extended_trials_reach_every_mirror_and_a_copied_store_is_a_store_of_its_own(launched, copied):
    """An extension's tag (objective@20) would have blocked MLflow for ever, and the copy written into the original."""
    before = {file: file.stat().st_mtime_ns for file in launched.rglob("*") if file.is_file()}
    out = alone("resume", "s", "--extend", "budget.updates=40", "--store", str(copied))
    assert "not up to date" not in out and "left out" not in out
    after = {file: file.stat().st_mtime_ns for file in launched.rglob("*") if file.is_file()}
    assert after == before
    with closing(sqlite3.connect(copied / "mlflow.db")) as connection:
        tags = connection.execute("SELECT value FROM tags WHERE key = 'objective_at_20'").fetchall()
        places = connection.execute("SELECT artifact_uri FROM runs").fetchall()
    assert len(tags) == 2
    assert all(place.startswith(str(copied)) for (place,) in places)
    shown = json.loads(alone("show", "s", "1", "--json", "--store", str(copied)))
    assert any("checkpoints/000/last.safetensors" in name for name in shown["artifacts"])
    assert not any(str(launched) in name for name in shown["artifacts"])


def test_removed_mirrors_are_written_anew_by_resume(copied):
    """What `doctor` advises for a damaged mlflow.db or optuna.db."""
    for name in ("mlflow.db", "optuna.db"):
        for file in copied.glob(f"{name}*"):
            file.unlink()
    alone("resume", "s", "budget.trials=3", "--store", str(copied))
    assert resumed("s", copied)[-1] == "[]"  # they have everything, which is seen without importing MLflow
    with closing(sqlite3.connect(copied / "optuna.db")) as connection:
        trials = connection.execute(
            "SELECT value_json FROM trial_user_attributes WHERE key = 'rnnsweep.trial' ORDER BY trial_id"
        ).fetchall()
    assert [json.loads(number) for (number,) in trials] == [0, 1, 2]
    points = mlflow_points(copied / "mlflow.db", "s")
    assert {trial for trial, _ in points} == {0, 1, 2}
    assert [step for step, _ in points[0, "valid/error"]] == [10, 20]
