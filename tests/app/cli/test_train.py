"""`rnnsweep train`: one trial."""

from __future__ import annotations

import shlex

import pytest

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
    assert (again.exit_code, again.stdout) == (0, result.stdout)
    assert "trained to its end before" in again.stderr
    other = run("train", *TRAINING, "optimizer.lr=0.5", "--out", tmp_path / "mine")
    assert other.exit_code == 2
    assert "mine': holds a training with optimizer.lr=0.01, not 0.5; allowed: a new" in other.stderr


def test_ctrl_c_says_the_command_that_goes_on(run, tmp_path, monkeypatch):
    def interrupted(*unused, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("rnnsweep.app.worker.trainer.train_rung", interrupted)
    lost = run("train", *TRAINING)
    assert (lost.exit_code, "with --out DIR" in lost.stderr) == (130, True)
    kept = run("train", *TRAINING, "--out", tmp_path / "my net")
    assert kept.exit_code == 3
    typed = kept.stderr.splitlines()[-1].removeprefix("Interrupted. Go on with: rnnsweep ")
    assert shlex.split(typed) == ["train", *TRAINING, "--out", str(tmp_path / "my net")]
    monkeypatch.undo()
    assert run(*shlex.split(typed)).exit_code == 0


def test_one_that_is_not_kept_is_no_secret(run):
    assert "--out DIR" in run("train", *TRAINING).stderr


@pytest.mark.parametrize("typed", ["optimizer.lr=0,1", "optimizer.lr=interval(0.1,0.2)", "family=choice(srn,lstm)"])
def test_a_range_is_refused_where_one_network_is_trained(run, typed):
    """A decimal comma is a choice of two values to the grammar: it was trained with the default, without a word."""
    result = run("train", *TRAINING, typed)
    assert result.exit_code == 2
    assert f"{typed.partition('=')[0]}: is a range, but one network takes one value" in result.stderr
    assert "no comma" in result.stderr
