"""Blocks of a config as frozen data: stores, cluster, plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnsweep.app.config.blocks import cluster_config, worst_values
from rnnsweep.app.config.load import load
from rnnsweep.errors import ConfigError

EVERYTHING = str(Path(__file__).with_name("everything.yaml"))


def quick(*overrides, **more):
    return load(EVERYTHING, overrides, check_units=False, **more)


def test_stores_default_below_the_root(tmp_path, monkeypatch):
    assert quick().store.root == tmp_path / "mlruns"
    monkeypatch.setenv("RNNSWEEP_STORE", "elsewhere")
    assert quick().store.ledger == f"sqlite:///{tmp_path}/elsewhere/ledger.db"
    store = quick("store.optuna=none", "store.mlflow='http://127.0.0.1:5000'", store=Path("mine")).store
    assert store.root == tmp_path / "mine"
    assert (store.optuna, store.artifacts, store.checkpoints) == (None, None, f"{tmp_path}/mine/checkpoints")


def test_several_objectives_and_enqueued_points():
    objectives = "objective=[{metric: valid/error}, {metric: solved_at, goal: minimize, reduce: median}]"
    config = quick(objectives, "sampler.enqueue=[{init.sigma: 0.1}]")
    assert [objective.worst for objective in config.plan.objectives] == [1.0, 6000.0]
    assert config.plan.enqueue == ({"init.sigma": 0.1},)
    assert "enqueue" not in config.sampler
    with pytest.raises(ConfigError, match="not searched"):
        quick("sampler.enqueue=[{optimizer.lr: 0.1}]")
    with pytest.raises(ConfigError, match=r"sampler\.enqueue\.0"):
        load(EVERYTHING, ["sampler.enqueue=[{init.sigma: -1}]"])


def test_what_a_diverged_replica_scores():
    assert worst_values(60)["train/loss"] == 1e9, "finite where chance is not known"
    assert worst_values(60, {"valid/error": 1.0}) == {"valid/error": 1.0, "solved_at": 60.0}


def test_directories_of_units_are_absolute(tmp_path):
    block = {"executor": "inline", "py_paths": ["mine"]}
    assert cluster_config(block).py_paths == (str(tmp_path / "mine"),)


@pytest.mark.parametrize("name", ["ledger", "optuna", "mlflow"])
@pytest.mark.parametrize("kind", ["directory", "dangling link"])
def test_a_database_that_can_never_be_one_is_refused_before_anything_is_written(name, kind, tmp_path):
    path = tmp_path / f"{name}.db"
    if kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere" / "file.db")
    with pytest.raises(ConfigError, match="is a directory" if kind == "directory" else "is a link into") as error:
        load(None, ["name=t"], store=tmp_path, check_units=False)
    assert (error.value.key, error.value.value) == (f"store.{name}", str(path))
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_a_database_elsewhere_is_one(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "ledger.db").symlink_to(tmp_path / "elsewhere" / "ledger.db")  # not made yet
    load(None, ["name=t"], store=tmp_path, check_units=False)
