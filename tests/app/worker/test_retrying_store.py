"""Trouble with the checkpoint store is waited for, then told from trouble with rows."""

from __future__ import annotations

import pytest

from rnnsweep.app.worker import retrying_store
from rnnsweep.app.worker.retrying_store import RetryingStore
from rnnsweep.errors import StoreError


@pytest.fixture
def clock(monkeypatch):
    """Sleeping moves the time, and nothing else does."""
    now = [0.0]
    monkeypatch.setattr(retrying_store.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(retrying_store.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def failing(store: RetryingStore, monkeypatch, times: float, error: Exception) -> list[int]:
    calls: list[int] = []

    def rungs(folder):
        calls.append(1)
        if len(calls) <= times:
            raise error
        return [1]

    monkeypatch.setattr(store._store, "rungs", rungs)
    return calls


def test_a_store_that_comes_back_in_time_costs_only_time(tmp_path, monkeypatch, clock):
    store = RetryingStore(str(tmp_path))
    calls = failing(store, monkeypatch, 3, OSError(28, "No space left on device"))
    assert store.rungs("x") == [1]
    assert len(calls) == 4
    assert clock[0] == pytest.approx(0.2 + 0.4 + 0.8)


def test_one_that_stays_away_is_the_stores_fault_after_its_patience(tmp_path, monkeypatch, clock):
    store = RetryingStore(str(tmp_path), patience=7.0)
    failing(store, monkeypatch, float("inf"), OSError(5, "Input/output error"))
    with pytest.raises(StoreError, match="Input/output error") as error:
        store.rungs("x")
    assert str(tmp_path) in str(error.value)
    assert clock[0] == pytest.approx(7.0)


def test_other_errors_are_not_waited_for(tmp_path, monkeypatch, clock):
    store = RetryingStore(str(tmp_path))
    failing(store, monkeypatch, 1, ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        store.rungs("x")
    assert clock[0] == 0.0
