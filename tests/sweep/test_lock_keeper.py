"""The driver's hold on its sweep."""

from __future__ import annotations

import threading

import pytest

from rnnsweep.errors import FencedError, StoreError
from rnnsweep.sweep.lock_keeper import LockKeeper
from tests.kit.ledger import MemoryLedger
from tests.kit.plans import opened, plan


class Counting(MemoryLedger):
    """Counts renewals and sets `seen` after a few; may be away at first."""

    def __init__(self, away: int = 0) -> None:
        super().__init__()
        self.away, self.renewals, self.seen = away, 0, threading.Event()

    def renew(self, name: str, fence: int) -> None:
        self.renewals += 1
        if self.renewals > 3:
            self.seen.set()
        if self.renewals <= self.away:
            raise StoreError("ledger", "away")
        super().renew(name, fence)


def test_a_ledger_that_is_away_is_asked_again_and_the_hold_is_kept() -> None:
    ledger = Counting(away=2)
    opened(plan(), ledger)
    keeper = LockKeeper(ledger, "s", ledger.fence, 0.001)
    keeper.start()
    assert ledger.seen.wait(30)
    keeper.check()
    keeper.stop()
    assert not keeper.fenced


def test_a_hold_that_was_taken_over_is_noticed_and_not_renewed_again() -> None:
    ledger = Counting()
    _, fence = opened(plan(), ledger)
    ledger.acquire("s", "another", 0.0)
    keeper = LockKeeper(ledger, "s", fence, 0.001)
    keeper.start()
    keeper._thread.join(30)
    assert ledger.renewals == 1
    with pytest.raises(FencedError, match="taken over"):
        keeper.check()


def test_without_a_period_commits_renew() -> None:
    ledger = Counting()
    opened(plan(), ledger)
    keeper = LockKeeper(ledger, "s", ledger.fence, 0.0)
    keeper.start()
    keeper.stop()
    assert ledger.renewals == 0
