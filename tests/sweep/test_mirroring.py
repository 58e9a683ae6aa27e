"""One mirror's thread: what it writes, what it repeats, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rnnsweep.errors import StoreError
from rnnsweep.sweep.mirroring import MirrorThread
from rnnsweep.sweep.ports import Change
from tests.kit.clock import FakeClock
from tests.kit.ledger import MemoryLedger
from tests.kit.plans import plan
from tests.sweep.simulation import World


class Journal:
    """A mirror that keeps the numbers of what it was given."""

    name, batch = "journal", 5

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.away = self.closed = False

    def known(self) -> bool:
        return bool(self.seen)

    def write(self, changes: Sequence[Change]) -> None:
        if self.away:
            raise StoreError("journal", "away")
        self.seen += [change.seq for change in changes]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def ledger() -> MemoryLedger:
    """The ledger of a finished sweep."""
    world = World(plan(3))
    world.run()
    return world.ledger


def thread(ledger: MemoryLedger, mirror: Journal) -> MirrorThread:
    return MirrorThread(ledger, "s", mirror, FakeClock())  # type: ignore[arg-type]


def test_batches_come_in_order_and_the_cursor_follows(ledger: MemoryLedger) -> None:
    mirror = Journal()
    tail = thread(ledger, mirror)
    everything = [change.seq for change in ledger.journal]
    while count := tail.pump():
        assert count <= 5
        assert ledger.cursors["journal"] == mirror.seen[-1]
    assert mirror.seen == everything


def test_a_batch_that_failed_comes_again(ledger: MemoryLedger) -> None:
    mirror = Journal()
    tail = thread(ledger, mirror)
    tail.pump()
    mirror.away = True
    with pytest.raises(StoreError):
        tail.pump()
    assert ledger.cursors["journal"] == mirror.seen[-1] == ledger.journal[4].seq
    mirror.away = False
    tail.pump()
    assert mirror.seen == [change.seq for change in ledger.journal[:10]]


def test_another_session_goes_on_where_the_last_one_was(ledger: MemoryLedger) -> None:
    mirror = Journal()
    thread(ledger, mirror).pump()
    thread(ledger, mirror).pump()
    assert mirror.seen == [change.seq for change in ledger.journal[:10]]


def test_a_thread_that_is_drained_has_written_everything_and_closed_its_mirror(ledger: MemoryLedger) -> None:
    mirror = Journal()
    tail = thread(ledger, mirror)
    tail.start()
    assert tail.drain(10_000.0)
    assert mirror.seen == [change.seq for change in ledger.journal]
    assert mirror.closed
    assert tail.error is None


def test_a_mirror_that_is_away_says_why_and_is_given_up_after_the_time(ledger: MemoryLedger) -> None:
    mirror = Journal()
    mirror.away = True
    tail = thread(ledger, mirror)
    tail.start()
    assert not tail.drain(30.0)  # seconds of a clock that does not wait
    tail.stop()
    assert mirror.seen == []
    assert "journal" not in ledger.cursors
