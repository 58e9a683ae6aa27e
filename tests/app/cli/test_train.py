"""`rnnsweep train`: one trial."""

from __future__ import annotations

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
    assert again.exit_code == 2
    assert "--out" in again.stderr


def test_one_that_is_not_kept_is_no_secret(run):
    assert "--out DIR" in run("train", *TRAINING).stderr


@pytest.mark.parametrize("typed", ["optimizer.lr=0,1", "optimizer.lr=interval(0.1,0.2)", "family=choice(srn,lstm)"])
def test_a_range_is_refused_where_one_network_is_trained(run, typed):
    """A decimal comma is a choice of two values to the grammar: it was trained with the default, without a word."""
    result = run("train", *TRAINING, typed)
    assert result.exit_code == 2
    assert f"{typed.partition('=')[0]}: is a range, but one network takes one value" in result.stderr
    assert "no comma" in result.stderr
