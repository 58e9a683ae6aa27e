"""One trial without a sweep."""

from __future__ import annotations

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.app.worker.single import TrainingWatch, train_one
from rnnsweep.errors import RnnsweepError
from tests.kit.tiny import TRAINING


def config(tmp_path, *more: str):
    return load(None, [*TRAINING, *more], store=tmp_path / "store", check_units=False)


def test_all_replicas_train_to_the_budget_and_the_store_is_not_touched(tmp_path):
    seen = []
    reports = train_one(config(tmp_path, "replicas=2"), TrainingWatch(seen.append))
    assert [(report.replica, report.step) for report in reports] == [(0, 10), (1, 10), (0, 20), (1, 20)]
    assert seen == reports
    assert not (tmp_path / "store").exists()


def test_checkpoints_stay_where_a_folder_is_named(tmp_path):
    train_one(config(tmp_path), checkpoints=tmp_path / "kept")
    assert [path.name for path in sorted((tmp_path / "kept").rglob("*.json"))][-1] == "rung-000002.json"


def test_every_update_is_told_with_the_one_of_the_next_report(tmp_path):
    told = []
    train_one(config(tmp_path), TrainingWatch(within=lambda update, end: told.append((update, end))))
    assert told == [(update, 10) for update in range(1, 11)] + [(update, 20) for update in range(11, 21)]


def test_a_replica_that_cannot_be_trained_says_why(tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("on purpose")

    monkeypatch.setattr("rnnsweep.app.worker.trainer.train_rung", broken)
    with pytest.raises(RnnsweepError, match="replica 0: bug: RuntimeError: on purpose"):
        train_one(config(tmp_path))
