"""A share as its driver sees it, over a pool that only takes notes."""

from __future__ import annotations

import threading
import time

import pytest

from rnnsweep.sweep.fair_slots import Claim
from rnnsweep.sweep.pool_share import LINGER, PoolShare, ShareNotes
from rnnsweep.sweep.ports import RungTrained, WorkerLost, WorkerNews
from rnnsweep.sweep.rows import Opening, Orders, RowSpec, Withdrawal


class Notes:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def joining(self, share: PoolShare) -> None:
        self.calls.append(("joining",))

    def ordering(self, share: PoolShare, worker: str, orders: Orders) -> None:
        self.calls.append(("ordering", worker))

    def leaving(self, share: PoolShare) -> None:
        self.calls.append(("leaving",))
        share.over.set()

    def seeing(self, share: PoolShare, lost: frozenset[str]) -> None:
        self.calls.append(("seeing", *lost))


def made() -> tuple[PoolShare, Notes]:
    notes = Notes()
    return PoolShare(notes, Claim(1), Opening(None)), notes


def test_a_poll_waits_for_the_first_event_and_no_longer_than_told() -> None:
    share, _ = made()
    share.start()
    before = time.monotonic()
    assert share.poll(0.1) == []
    assert 0.09 < time.monotonic() - before < 1.0
    threading.Timer(0.1, share.put, [RungTrained("w", ())]).start()
    assert share.poll(10.0) == [RungTrained("w", ())]


def test_news_are_heard_within_a_poll_and_are_no_event() -> None:
    share, _ = made()
    heard: list[WorkerNews] = []
    share.watch(heard.append)
    share.put(WorkerNews("w", True))
    assert heard == []
    assert share.poll(0.0) == []
    assert heard == [WorkerNews("w", True)]


def test_the_pool_hears_that_a_loss_is_known_once_its_round_is_over() -> None:
    share, notes = made()
    share.start()
    share.put(WorkerLost("w", "node", "gone"))
    share.poll(0.0)
    share.order("w", Orders())
    assert ("seeing", "w") not in notes.calls
    share.poll(0.0)
    assert notes.calls == [("joining",), ("ordering", "w"), ("seeing", "w")]


def test_what_has_come_is_delivered_before_an_error_and_none_is_raised_after_a_stop() -> None:
    share, notes = made()
    share.start()
    share.put(RungTrained("w", ()))
    share.fail(RuntimeError("over"))
    assert share.poll(0.0) == [RungTrained("w", ())]
    with pytest.raises(RuntimeError, match="over"):
        share.poll(0.0)
    share.stop(graceful=True)
    assert share.poll(0.0) == []
    share.order("w", Orders())
    share.stop(graceful=True)
    assert notes.calls.count(("leaving",)) == 1
    assert not [call for call in notes.calls if call[0] == "ordering"]


def test_a_withdrawn_row_may_be_there_until_its_worker_has_answered_often_enough() -> None:
    notes, spec = ShareNotes(), RowSpec(3, 0, "t", {}, 10)
    notes.obey("w", Orders(join=(spec,)))
    notes.obey("w", Orders(leave=(Withdrawal(3, 0, "t"),)))
    for _ in range(LINGER):
        assert notes.there("w") == {(3, 0)}
        notes.trained("w")
    assert notes.there("w") == set()
