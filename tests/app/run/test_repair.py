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

from tests.kit.tiny import TINY


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


@pytest.mark.slow
@pytest.mark.slow
def test_what_was_deleted_from_a_mirror_comes_back(tmp_path):
    store = ["--store", str(tmp_path)]
    mirrored = [text for text in TINY if text not in ("tracker=none", "store.optuna=none")]
    alone("launch", "quickstart", "name=lost", "budget.trials=2", *mirrored, *store)
    optuna, mlflow = tmp_path / "optuna.db", tmp_path / "mlflow.db"
    points, values = count(mlflow, "metrics"), count(optuna, "trial_intermediate_values")
    healthy = alone("doctor", "--no-ray", "--repair", *store, code=0)
    assert healthy.count("has everything") == 2
    execute(mlflow, "DELETE FROM metrics WHERE key = 'valid/error'", "UPDATE runs SET lifecycle_stage = 'deleted'")
    execute(optuna, "DELETE FROM trial_intermediate_values")
    healed = alone("doctor", "--no-ray", "--repair", *store, code=0)
    assert healed.count("had lost something and is written anew") == 2
    assert (count(mlflow, "metrics"), count(optuna, "trial_intermediate_values")) == (points, values)
    with closing(sqlite3.connect(mlflow)) as connection:
        assert connection.execute("SELECT DISTINCT lifecycle_stage FROM runs").fetchall() == [("active",)]


@pytest.mark.slow
def test_extended_trials_reach_every_mirror_and_a_copied_store_is_a_store_of_its_own(tmp_path):
    """An extension's tag (objective@20) would have blocked MLflow for ever, and the copy written into the original."""
    first, copy = tmp_path / "first", tmp_path / "copy"
    mirrored = [text for text in TINY if text not in ("tracker=none", "store.optuna=none")]
    alone("launch", "quickstart", "name=ext", "budget.trials=2", *mirrored, "--store", str(first))
    shutil.copytree(first, copy)
    before = {file: file.stat().st_mtime_ns for file in first.rglob("*") if file.is_file()}
    out = alone("resume", "ext", "--extend", "budget.updates=40", "--store", str(copy))
    assert "not up to date" not in out and "left out" not in out
    after = {file: file.stat().st_mtime_ns for file in first.rglob("*") if file.is_file()}
    assert after == before
    with closing(sqlite3.connect(copy / "mlflow.db")) as connection:
        tags = connection.execute("SELECT value FROM tags WHERE key = 'objective_at_20'").fetchall()
        places = connection.execute("SELECT artifact_uri FROM runs").fetchall()
    assert len(tags) == 2
    assert all(place.startswith(str(copy)) for (place,) in places)
    shown = json.loads(alone("show", "ext", "1", "--json", "--store", str(copy)))
    assert any("checkpoints/000/last.safetensors" in name for name in shown["artifacts"])
    assert not any(str(first) in name for name in shown["artifacts"])
