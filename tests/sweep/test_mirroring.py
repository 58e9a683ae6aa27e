"""One mirror's thread: what it writes, what it repeats, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import pytest

from rnnsweep.errors import StoreError
from rnnsweep.sweep.mirroring import MOST_REFUSALS, MirrorThread, drain, rewrite
from rnnsweep.sweep.ports import Change
from tests.kit.clock import FakeClock
from tests.kit.ledger import MemoryLedger
from tests.kit.plans import plan
from tests.sweep.simulation import World


class Journal:
    """A mirror that keeps the numbers of what it was given."""

    name, batch = "journal", 5

    def __init__(self, holds: bool = True, refuses: Callable[[Change], bool] = lambda _: False) -> None:
        self.seen: list[int] = []
        self.compared: list[int] = []
        self.away = self.closed = False
        self._holds, self._refuses = holds, refuses

    def holds(self, batches: Iterable[Sequence[Change]]) -> bool:
        self.compared = [change.seq for changes in batches for change in changes]
        return self._holds

    def start_over(self) -> None:
        self.seen.clear()

    def write(self, changes: Sequence[Change]) -> None:
        if self.away:
            raise StoreError("journal", "away")
        for change in changes:
            if self._refuses(change):
                raise ValueError(f"entry {change.seq} has an illegal name\nand more lines")
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


def exhaust(tail: MirrorThread) -> None:
    while tail.pump():
        pass


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


def test_a_store_that_lost_something_is_compared_with_what_it_took_and_written_anew(ledger: MemoryLedger) -> None:
    thread(ledger, Journal()).pump()
    mirror = Journal(holds=False)
    tail = thread(ledger, mirror)
    exhaust(tail)
    everything = [change.seq for change in ledger.journal]
    assert mirror.compared == everything[:5]
    assert mirror.seen == everything
    assert tail.anew


@pytest.mark.parametrize("refused", [{1}, {7, 8}, {3, 11, 12}])
def test_an_entry_that_the_store_cannot_take_is_noted_and_all_others_are_written(
    ledger: MemoryLedger, refused: set[int]
) -> None:
    """It would have come again for ever, and with it everything after it."""
    everything = [change.seq for change in ledger.journal]
    mirror = Journal(refuses=lambda change: change.seq in refused)
    tail = thread(ledger, mirror)
    exhaust(tail)
    assert sorted(set(mirror.seen)) == [seq for seq in everything if seq not in refused] + [
        change.seq for change in ledger.journal if change.kind == "skipped"
    ]
    assert set(ledger.skipped("s", "journal")) == refused
    reasons = {reason for _, reason in tail.refused}
    assert reasons == {f"ValueError: entry {seq} has an illegal name" for seq in refused}
    again = Journal(refuses=lambda change: change.seq in refused)
    later = thread(ledger, again)
    later.pump()
    assert not refused & set(again.compared)
    assert (again.seen, later.refused) == ([], [])


def test_an_outage_among_refusals_is_waited_for(ledger: MemoryLedger) -> None:
    mirror = Journal(refuses=lambda change: change.seq == 2)
    tail = thread(ledger, mirror)
    mirror.away = True
    with pytest.raises(StoreError):
        tail.pump()
    assert ledger.skipped("s", "journal") == {}
    mirror.away = False
    tail.pump()
    assert set(ledger.skipped("s", "journal")) == {2}


def test_a_store_that_refuses_everything_is_away(ledger: MemoryLedger) -> None:
    mirror = Journal(refuses=lambda _: True)
    tail = thread(ledger, mirror)
    with pytest.raises(StoreError, match="takes nothing"):
        exhaust(tail)
    assert len(tail.refused) <= MOST_REFUSALS


def test_a_mirror_is_compared_and_written_without_a_driver(ledger: MemoryLedger) -> None:
    mirror = Journal()
    assert rewrite(ledger, "s", mirror, FakeClock()) == (False, [])  # type: ignore[arg-type]
    assert mirror.seen == [change.seq for change in ledger.journal]
    again = Journal(holds=False)
    assert rewrite(ledger, "s", again, FakeClock()) == (True, [])  # type: ignore[arg-type]
    assert again.seen == mirror.seen
    assert again.closed


def wait(tails: Sequence[MirrorThread], seconds: float) -> tuple[list[str], list[str]]:
    """Names of mirrors that are behind after so many seconds of a clock that does not wait, and what was said."""
    said: list[str] = []
    return drain(tails, FakeClock(), (seconds, seconds), said.append), said  # type: ignore[arg-type]


def test_a_thread_that_is_drained_has_written_everything_and_closed_its_mirror(ledger: MemoryLedger) -> None:
    mirror = Journal()
    tail = thread(ledger, mirror)
    tail.start()
    assert wait([tail], 10_000.0)[0] == []
    assert mirror.seen == [change.seq for change in ledger.journal]
    assert mirror.closed
    assert tail.error is None


def test_a_mirror_that_is_away_is_named_with_what_it_costs_and_given_up_after_the_time(ledger: MemoryLedger) -> None:
    mirror, healthy = Journal(), Journal()
    mirror.away, healthy.name = True, "healthy"
    tails = [thread(ledger, mirror), thread(ledger, healthy)]
    for tail in tails:
        tail.start()
    behind, said = wait(tails, 10_000.0)
    assert behind == ["journal"]
    assert mirror.seen == []
    assert "journal" not in ledger.cursors
    assert healthy.seen == [change.seq for change in ledger.journal]
    assert "journal is away (journal: away), at most" in said[-1]
    assert "Ctrl-C ends the wait" in said[-1]


def test_who_was_told_to_wait_hears_that_it_is_over(ledger: MemoryLedger) -> None:
    class Ticking(FakeClock):
        """The mirror is away for the first three seconds of the wait."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            mirror.away = self.monotonic() < begin + 3.0
            time.sleep(0.001)  # the mirror's thread gets its turn

    mirror, said, clock = Journal(), [], Ticking()
    begin = clock.monotonic()
    mirror.away = True
    tail = thread(ledger, mirror)
    tail.start()
    assert drain([tail], clock, (10_000.0, 10_000.0), said.append) == []  # type: ignore[arg-type]
    assert "journal is" in said[0]
    assert said[-1].startswith("journal: written, after ")
    assert sum("written, after" in text for text in said) == 1


def test_ctrl_c_ends_the_wait_and_no_more(ledger: MemoryLedger) -> None:
    class Impatient(FakeClock):
        def sleep(self, seconds: float) -> None:
            raise KeyboardInterrupt

    mirror, said = Journal(), []
    mirror.away = True
    tail = thread(ledger, mirror)
    tail.start()
    assert drain([tail], Impatient(), (120.0, 30.0), said.append) == ["journal"]  # type: ignore[arg-type]
    assert said == ["not waited for: the next resume writes the rest"]
    assert mirror.closed
