from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rnnsweep.app.watch.feed import SweepFeed
from rnnsweep.app.watch.journal_source import StoreSource
from rnnsweep.errors import ConfigError, StoreError
from rnnsweep.sweep.ports import PutRung, PutSweep, PutTrial
from rnnsweep.sweep.states import TrialState
from tests.app.watch.conftest import Driven


def test_a_snapshot_is_the_table_and_the_curves(driven) -> None:
    made = driven(8)
    feed = SweepFeed(StoreSource(made.sweep().place, "watched"))
    snapshot = feed.read()
    assert [dict(entry) for entry in snapshot.entries] == made.sweep().table()
    assert snapshot.curves[5] == tuple((100.0 * rung, 1.0 / (6 + rung)) for rung in (1, 2, 3, 4))
    assert 2 not in snapshot.curves
    assert snapshot.best == made.sweep().best.number == 4  # of 0 and 4, the complete ones
    assert feed.metrics(5)["train/loss"][0] == (100.0, 2.0 / 7)
    feed.close()


def test_only_what_is_new_is_read_and_taken_in(driven, monkeypatch) -> None:
    made = driven(8)
    feed = SweepFeed(StoreSource(made.sweep().place, "watched"))
    before = feed.read()
    asked: list[int] = []
    changes = type(made.ledger).changes
    monkeypatch.setattr(
        type(made.ledger),
        "changes",
        lambda self, name, after, *more: asked.append(after) or changes(self, name, after, *more),
    )
    made.write(
        PutRung(5, 5, 500, {"valid/error": 0.001}, (0.001,)),
        PutSweep(replace(made.view, wall_s=15.0, updates=2500)),
    )
    after = feed.read()
    assert asked and min(asked) > 8  # nothing from the beginning
    assert after.entries[5]["value"] == 0.001 and after.entries[5]["step"] == 500
    assert after.entries[4] is before.entries[4]
    assert after.rate == 1500 / 5
    made.write(PutTrial(replace(after.trials[5], state=TrialState.COMPLETE, values=(0.001,), step=500, rung=5)))
    assert feed.read().best == 5
    feed.close()


def test_without_its_driver_nothing_runs(driven) -> None:
    made = driven(4)
    feed = SweepFeed(StoreSource(made.sweep().place, "watched"))
    snapshot = feed.read()
    assert (snapshot.view.state.value, snapshot.entries[1]["state"]) == ("RUNNING", "RUNNING")
    made.ledger.release(made.name, made.fence)
    snapshot = feed.read()
    assert (snapshot.view.state.value, snapshot.entries[1]["state"], snapshot.rate) == ("INTERRUPTED", "WAITING", None)
    made.fence = made.ledger.acquire(made.name, "test", 1.0)
    assert feed.read().entries[1]["state"] == "RUNNING"
    feed.close()


def test_a_store_that_was_away_is_found_again(driven, monkeypatch) -> None:
    made = driven(4)
    feed = SweepFeed(StoreSource(made.sweep().place, "watched"))
    first = feed.read()

    def away(*unused):
        raise StoreError("ledger", "database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(type(made.ledger), "changes", away)
        with pytest.raises(StoreError):
            feed.read()
    made.write(PutRung(1, 5, 500, {"valid/error": 0.25}, (0.25,)))
    again = feed.read()
    assert len(again.curves[1]) == len(first.curves[1]) + 1
    feed.close()
    with pytest.raises(ConfigError, match="no such sweep"):
        SweepFeed(StoreSource(made.sweep().place, "watch")).read()


@pytest.mark.postgres
def test_on_a_server_it_is_the_same(postgres_url: str, tmp_path: Path) -> None:
    made = Driven(tmp_path, url=postgres_url)
    made.fill(8)
    feed = SweepFeed(StoreSource(made.sweep().place, "watched"))
    assert [dict(entry) for entry in feed.read().entries] == made.sweep().table()
    made.write(PutRung(5, 5, 500, {"valid/error": 0.001}, (0.001,)))
    assert feed.read().entries[5]["step"] == 500
    made.sweep().end_trial(5, "no use")
    assert made.taken() == [("end_trial", {"trial": 5, "reason": "no use", "reopened": 0})]
    feed.close()
    made.ledger.release(made.name, made.fence)
    made.ledger.close()
