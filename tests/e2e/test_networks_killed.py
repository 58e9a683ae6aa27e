"""kill -9 in the middle of sweeps of networks that hold more than one plain loop, and of a cell of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.test_kill_and_resume import SWEEP, UNMIRRORED, kill_at, rnnsweep, table

NETWORKS = {
    "own cell": ["family=mine", "family.hidden=4", "task.length=10", "training.batch=2", "controllers=[clip]"],
    "three layers, all asked": [
        "family=srn",
        "family.layers=3",
        "controllers=[omega,sampling]",
        "controllers.omega.layers=all",
        "controllers.omega.weight=0.5",
        "controllers.sampling.layers=path",
        "controllers.sampling.q_min=-1",
        "controllers.sampling.q_max=1",
    ],
    "both ways, with masks and an embedding": [
        "family=lstm",
        "family.layers=2",
        "family.bidirectional=true",
        "family.dropout=0.3",
        "family.zoneout=0.1",
        "embedding=learned",
        "embedding.size=5",
        "controllers=[clip]",
    ],
}
SHORT = [*SWEEP, "budget.trials=3", "budget.updates=40", "space={init.sigma: 'tag(log,interval(0.05,0.5))'}"]
COMMON = ["launch", "search", "name=s", "cluster=inline", *SHORT, *UNMIRRORED]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A folder with a family made of a module that torch ships."""
    folder = tmp_path / "mine" / "conf" / "family"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("_target_: torch.nn.GRUCell\nhidden: 10\n")
    return tmp_path / "mine"


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize("name", NETWORKS)
def test_killed_and_resumed_equals_undisturbed(tmp_path: Path, config: Path, name: str) -> None:
    command = [*COMMON, *NETWORKS[name], "--config-dir", str(config)]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    rnnsweep(whole, *command)
    kill_at(killed, "s", 6, *command)
    rnnsweep(killed, "resume", "s")
    rows = table(killed, "s")
    assert [row["state"] for row in rows] == ["COMPLETE"] * 3
    assert rows == table(whole, "s")
    assert len({row["objective"] for row in rows}) > 1, "all alike: this would show nothing"
