"""How far a rung is, counted over the packs that it trains in turn."""

from __future__ import annotations

import pytest

from rnnsweep.app.worker import rung_news
from rnnsweep.app.worker.rung_news import RungNews
from rnnsweep.sweep.rows import Orders
from tests.app.worker.test_trainer import spec, trainer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is, in seconds."""
    now = [0.0]
    monkeypatch.setattr(rung_news.time, "monotonic", lambda: now[0])
    return now


def test_a_quick_rung_says_nothing_and_a_long_one_once_a_period(clock):
    told: list[tuple[bool, int]] = []
    news = RungNews(lambda *words: told.append(words), period=1.0)
    for rung, seconds in enumerate((0.1, 0.6)):
        news.begin_rung()
        for pack in (40, 60):
            within = news.begin_pack(pack)
            for share in (0.5, 1.0):
                clock[0] += seconds
                within(share)
        assert told == [[], [(False, 40), (False, 100)]][rung]
    news.end()


def test_a_trainer_counts_the_updates_of_all_its_rows(tmp_path, monkeypatch, clock):
    """Rungs of 5 updates; two shape keys of two rows and one; the last rung of a row with 7 updates has 2."""
    worker, told = trainer(tmp_path), []
    monkeypatch.setattr(RungNews.__init__, "__defaults__", (0.0,))
    worker.watch(lambda compiling, updates: told.append(updates))
    rows = (spec(0), spec(1, updates=7), spec(2, family__hidden=12))
    for orders, due in ((Orders(join=rows), 5 + 5 + 5), (Orders(), 5 + 2 + 5)):
        told.clear()
        worker.advance(orders)
        found = [updates for updates in told if updates]
        assert found == sorted(found)
        assert (len(found), found[-1]) == (2 * 5, due)
    worker.close()
