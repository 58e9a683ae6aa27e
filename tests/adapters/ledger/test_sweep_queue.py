"""The queue's table, beside a ledger of before that has none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rnnsweep.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from rnnsweep.adapters.ledger.sweep_queue import QueueEntry, SweepQueue


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield opened
    opened.close()


def test_lines_keep_their_order_and_all_that_they_hold(ledger: SqlLedger) -> None:
    queue = SweepQueue(ledger.database)
    assert queue.entries() == []
    first = QueueEntry("b", "QUEUED", "ada", 2.5, -1, 12.5, "waits", ("budget.trials=9",), "pause")
    queue.put(first)
    queue.put(QueueEntry("a", "QUEUED"))
    queue.put(replace(first, state="RUNNING"))
    assert queue.entries() == [replace(first, state="RUNNING"), QueueEntry("a", "QUEUED")]
    assert queue.get("a") == QueueEntry("a", "QUEUED")
    assert queue.get("c") is None


def test_a_line_is_altered_as_it_is_now(ledger: SqlLedger) -> None:
    queue, again = SweepQueue(ledger.database), SweepQueue(ledger.database)
    queue.put(QueueEntry("a", "QUEUED"))

    def add(count: int) -> None:
        for _ in range(count):
            queue.change("a", lambda one: replace(one, priority=one.priority + 1))

    threads = [threading.Thread(target=add, args=(20,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert again.get("a") == QueueEntry("a", "QUEUED", priority=60)
    assert queue.change("nobody", lambda one: one) is None


def test_a_ledger_with_a_queue_is_one_for_those_who_know_of_none(ledger: SqlLedger, tmp_path: Path) -> None:
    SweepQueue(ledger.database).put(QueueEntry("a", "QUEUED"))
    other = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert other.sweeps() == []
    other.close()
