"""`rnnsweep doctor --repair`: mirrors compared with the ledger, and written anew where something is gone."""

from __future__ import annotations

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
