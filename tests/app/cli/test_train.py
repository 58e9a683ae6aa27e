"""`rnnsweep train`: one trial."""

from __future__ import annotations

from tests.kit.tiny import TRAINING


def test_train_prints_rungs(run):
    result = run("train", *TRAINING, "replicas=2")
    assert result.exit_code == 0, result.output
    assert [line.split()[:4] for line in result.stdout.splitlines()] == [
        ["replica", str(replica), "update", str(step)] for step in (10, 20) for replica in (0, 1)
    ]


def test_a_network_is_kept_where_it_is_asked_for(run, tmp_path):
    result = run("train", *TRAINING, "--out", tmp_path / "mine")
    assert result.exit_code == 0, result.output
    assert "rnnsweep.load_trained" in result.stderr
    assert (tmp_path / "mine" / "trial.yaml").is_file()
    again = run("train", *TRAINING, "--out", tmp_path / "mine")
    assert again.exit_code == 2
    assert "--out" in again.stderr


def test_one_that_is_not_kept_is_no_secret(run):
    assert "--out DIR" in run("train", *TRAINING).stderr
