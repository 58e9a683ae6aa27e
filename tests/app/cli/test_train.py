"""`rnnsweep train`: one trial."""

from __future__ import annotations

from tests.kit.tiny import TRAINING


def test_train_prints_rungs(run):
    result = run("train", *TRAINING, "replicas=2")
    assert result.exit_code == 0, result.output
    assert [line.split()[:4] for line in result.stdout.splitlines()] == [
        ["replica", str(replica), "update", str(step)] for step in (10, 20) for replica in (0, 1)
    ]
