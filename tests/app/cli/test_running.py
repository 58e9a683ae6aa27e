"""Launch, resume, train and the Python API on the inline executor; the long runs are in tests/e2e."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import rnnsweep
from rnnsweep.app.config.load import load
from rnnsweep.app.run import launch as running
from rnnsweep.app.run.submit import entrypoint, submit_launch
from rnnsweep.app.stores import place
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.states import SweepState

TRAINING = (
    "engine=reference",
    "task.length=10",
    "family.hidden=6",
    "training.batch=4",
    "training.report_every=10",
    "training.eval_size=20",
    "budget.updates=20",
)
TINY = ("cluster=inline", "tracker=none", "store.optuna=none", "sampler=random", *TRAINING)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A finished sweep of three trials."""
    root = tmp_path_factory.mktemp("tiny")
    sweep = rnnsweep.launch("quickstart", ["name=tiny", "budget.trials=3", *TINY], store=root, progress=False)
    return root, sweep


def test_launch_ends_complete(tiny):
    _, sweep = tiny
    status = sweep.status()
    assert status["state"] == "COMPLETE"
    assert status["trials"]["complete"] == 3
    assert status["updates"] == 3 * 20


def test_frames(tiny):
    _, sweep = tiny
    trials = sweep.trials()
    assert trials["trial"].tolist() == [0, 1, 2]
    assert "controllers.omega.weight" in trials.columns
    curves = sweep.curves("valid/error")
    assert curves.groupby("trial")["step"].apply(list).tolist() == [[10, 20]] * 3
    assert set(sweep.replicas()["value"]) == set(trials["objective"])  # one replica per trial


def test_best_is_a_module_that_computes(tiny):
    _, sweep = tiny
    best = sweep.best
    assert best.objective == sweep.trials()["objective"].min()
    network = best.load()
    assert isinstance(network, torch.nn.Module)
    assert not network.training


def test_resume_with_a_larger_budget(tiny, run):
    root, _ = tiny
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
    alone("launch", "quickstart", "name=again", "budget.trials=3", *mirrored)
    for name in ("mlflow.db", "optuna.db"):
        for file in tmp_path.glob(f"{name}*"):
            file.unlink()
    alone("resume", "again", "budget.trials=4")
    studied = optuna.load_study(study_name="again", storage=f"sqlite:///{tmp_path / 'optuna.db'}").get_trials()
    assert [trial.user_attrs["rnnsweep.trial"] for trial in studied] == [0, 1, 2, 3]
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("again")
    assert experiment is not None
    runs = {r.data.tags.get("rnnsweep.trial"): r for r in client.search_runs([experiment.experiment_id])}
    assert sorted(number for number in runs if number) == ["0", "1", "2", "3"]
    curve = client.get_metric_history(runs["0"].info.run_id, "valid/error")
    assert [point.step for point in curve] == [10, 20]


def test_launch_refuses_a_name_that_is_taken(tiny):
    root, _ = tiny
    with pytest.raises(ConfigError, match="resume tiny"):
        rnnsweep.launch("quickstart", ["name=tiny", *TINY], store=root, progress=False)


def test_resume_of_an_unknown_trial(tiny, run):
    root, _ = tiny
    result = run("resume", "tiny", "--trial", "77", "--store", root)
    assert result.exit_code == 2
    assert "77" in result.stderr


def test_fresh_names(store, monkeypatch):
    where = place(store)
    assert running.fresh_name(where, "other") == ("other", False)
    assert running.fresh_name(where, "quickstart") == ("quickstart", True)  # INTERRUPTED: goes on
    monkeypatch.setattr(running, "states", lambda where: [("quickstart", SweepState.COMPLETE)])
    assert running.fresh_name(where, "quickstart") == ("quickstart-2", False)


def test_train_prints_rungs(run):
    result = run("train", *TRAINING, "replicas=2")
    assert result.exit_code == 0, result.output
    assert [line.split()[:4] for line in result.stdout.splitlines()] == [
        ["replica", str(replica), "update", str(step)] for step in (10, 20) for replica in (0, 1)
    ]


def test_submitted_command_goes_to_the_cluster_itself_and_shows_no_password():
    command = entrypoint("quickstart", ["budget.trials=4", "cluster.address=http://127.0.0.1:8265"])
    assert command == "rnnsweep launch quickstart budget.trials=4 cluster.address=auto"
    here = entrypoint("quickstart", [], Path("stores"))
    assert here == f"rnnsweep launch quickstart cluster.address=auto --store {Path.cwd() / 'stores'}"
    with pytest.raises(ConfigError, match="password"):
        entrypoint("quickstart", ["store.ledger=postgresql://me:secret@db/rnn"])


@pytest.mark.parametrize(("folder", "travels"), [("checkout", False), ("users", True)])
def test_only_configs_of_the_users_own_travel_with_a_job(folder, travels, tmp_path, monkeypatch):
    from rnnsweep.adapters.hydra.search import packaged_configs
    from rnnsweep.adapters.ray import jobs

    here = tmp_path / folder
    (here / "conf" / "family").mkdir(parents=True)
    if folder == "checkout":  # the working directory is the one that the packaged configs lie in
        here = packaged_configs()[0].parent
    monkeypatch.chdir(here)
    sent = []
    monkeypatch.setattr(jobs, "submit", lambda *args, working_dir=None: sent.append(working_dir) or "job")
    monkeypatch.setattr(jobs, "failed_at_once", lambda *args: None)
    typed = ["cluster=ray", "cluster.address=http://127.0.0.1:8265", "name=never-launched"]
    submit_launch(load("quickstart", typed, check_units=False), "quickstart", typed)
    assert sent == ["." if travels else None]


def test_a_cluster_that_does_not_answer_leaves_nothing_behind(tmp_path, run, monkeypatch):
    def away(settings):
        raise ConfigError("no Ray cluster answers here", key="cluster.address", value=settings.address)

    monkeypatch.setattr("rnnsweep.adapters.ray.executor.connect", away)
    store = tmp_path / "new"
    result = run("launch", "quickstart", "cluster=ray", "cluster.address=10.0.0.1:6379", "--store", store)
    assert result.exit_code == 2
    assert "cluster.address" in result.stderr
    assert not store.exists()


def test_a_cluster_that_asks_for_a_token_is_told_so(tmp_path, run, monkeypatch):
    from ray.exceptions import AuthenticationError

    def closed(address):
        raise AuthenticationError("Missing authentication token")

    monkeypatch.setattr("rnnsweep.adapters.ray.jobs.JobSubmissionClient", closed)
    typed = ("cluster=ray", "cluster.address=http://10.0.0.1:8265", "--submit", "--store", tmp_path)
    result = run("launch", "quickstart", *typed)
    assert result.exit_code == 2
    assert "RAY_AUTH_MODE=token" in result.stderr
