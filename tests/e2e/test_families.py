"""A sweep across families by the command line: the document's example, made small, on both executors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.app.results.sweep import open_sweep

DOCUMENT = Path(__file__).parents[2] / "docs/configuration.md"
COMMAND = [sys.executable, "-m", "rnnsweep.app.cli.main"]
SMALL = [
    *("task.length=10", "family.hidden=6", "training.batch=4", "training.report_every=5", "training.eval_size=20"),
    *("training.stop_solved=false", "budget.updates=10", "budget.trials=9", "replicas=2", "engine=reference"),
]
OWN = {"srn": {"init.sigma"}, "lstm": {"family.forget_bias"}, "momentum_srn": {"family.mu", "init.sigma"}}
SHARED = {"family", "optimizer.lr", "controllers.omega.weight"}


def rnnsweep(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*COMMAND, *arguments, "--store", str(folder / "store")],
        capture_output=True, text=True, env=environment, timeout=540, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def launched(folder: Path, *options: str) -> list[dict]:
    """The finished sweep's table, without what may differ between two ways to the same result."""
    example = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)[1]
    (folder / "sweeps").mkdir(parents=True)
    (folder / "sweeps/which.yaml").write_text(example)
    rnnsweep(folder, "launch", "which", *SMALL, *options)
    rows = open_sweep("which", store=folder / "store").table()
    return [{key: value for key, value in row.items() if key not in ("mlflow_run_id", "attempts")} for row in rows]


@pytest.fixture(scope="module")
def inline(tmp_path_factory) -> tuple[Path, list[dict]]:
    folder = tmp_path_factory.mktemp("inline")
    return folder, launched(folder, "sampler=random", "cluster=inline")


@pytest.mark.slow
def test_all_families_run_to_the_end_each_with_its_own_keys(inline):
    _, rows = inline
    assert [row["state"] for row in rows] == ["COMPLETE"] * 9
    assert {row["params"]["family"] for row in rows} == set(OWN)
    for row in rows:
        assert set(row["params"]) == SHARED | OWN[row["params"]["family"]]


@pytest.mark.slow
def test_mlflow_shows_the_keys_and_shape_keys_of_each_family(inline):
    import mlflow

    folder, rows = inline
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'store/mlflow.db'}")
    experiment = client.get_experiment_by_name("which")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`rnnsweep.kind` = 'trial'")
    assert len(runs) == len(rows)
    for run in runs:
        assert set(run.data.params) == SHARED | OWN[run.data.params["family"]]
    shapes = {run.data.tags["shape_key"]: run.data.params["family"] for run in runs}
    assert set(shapes.values()) == set(OWN)
    assert len(shapes) == len(OWN), "one tensor program per family"


@pytest.mark.slow
def test_ray_gives_the_same_table_from_one_worker(inline, tmp_path):
    unmirrored = ("tracker=none", "store.optuna=none")
    assert launched(tmp_path, "sampler=random", "cluster=local", "cluster.workers=1", *unmirrored) == inline[1]
    ledger = open_ledger(f"sqlite:///{tmp_path / 'store/ledger.db'}")
    try:
        attempts = [attempt for trial in range(9) for attempt in ledger.attempts("which", trial)]
    finally:
        ledger.close()
    assert len({attempt.worker for attempt in attempts}) == 1


@pytest.mark.slow
def test_samplers_that_learn_stand_conditional_keys(tmp_path):
    rows = launched(tmp_path, "sampler=tpe", "sampler.startup=3", "pruner=median", "cluster=inline", "tracker=none")
    assert {row["state"] for row in rows} <= {"COMPLETE", "PRUNED"}
    assert all(set(row["params"]) == SHARED | OWN[row["params"]["family"]] for row in rows)
