"""`rnnsweep resume`: go on with a sweep."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.app.run.test_finished import resumed
from tests.kit.tiny import TINY


def test_resume_with_a_larger_budget(tiny, run, tmp_path):
    root = tmp_path / "copied"
    shutil.copytree(tiny[0], root)  # other tests count the shared sweep's trials
    result = run("resume", "tiny", "budget.trials=4", "--store", root)
    assert result.exit_code == 0, result.output
    assert "rnnsweep report tiny" in result.stdout
    assert json.loads(run("status", "tiny", "--json", "--store", root).stdout)["trials"]["complete"] == 4
    assert (root / "reports" / "tiny" / "overview.png").is_file()


@pytest.mark.slow
def test_removed_mirrors_are_written_anew_by_resume(tmp_path):
    """What `doctor` advises for a damaged mlflow.db or optuna.db."""
    import optuna
    from mlflow import MlflowClient

    def alone(*words: str) -> None:  # in a process of its own: MLflow keeps connections to removed files
        command = [sys.executable, "-m", "rnnsweep.app.cli.main", *words, "--store", str(tmp_path)]
        subprocess.run(command, check=True)

    mirrored = [text for text in TINY if text not in ("tracker=none", "store.optuna=none")]
    alone("launch", "search", "name=again", "budget.trials=3", *mirrored)
    for name in ("mlflow.db", "optuna.db"):
        for file in tmp_path.glob(f"{name}*"):
            file.unlink()
    alone("resume", "again", "budget.trials=4")
    assert resumed("again", tmp_path)[-1] == "[]"  # they have everything, which is seen without importing MLflow
    studied = optuna.load_study(study_name="again", storage=f"sqlite:///{tmp_path / 'optuna.db'}").get_trials()
    assert [trial.user_attrs["rnnsweep.trial"] for trial in studied] == [0, 1, 2, 3]
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("again")
    assert experiment is not None
    runs = {r.data.tags.get("rnnsweep.trial"): r for r in client.search_runs([experiment.experiment_id])}
    assert sorted(number for number in runs if number) == ["0", "1", "2", "3"]
    curve = client.get_metric_history(runs["0"].info.run_id, "valid/error")
    assert [point.step for point in curve] == [10, 20]


def test_resume_of_an_unknown_trial(tiny, run):
    root, _ = tiny
    result = run("resume", "tiny", "--trial", "77", "--store", root)
    assert result.exit_code == 2
    assert "77" in result.stderr
