"""What was read last counts until something is written."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.app.stores import place
from rnnsweep.service.recent import KEPT, LASTS_S, Recent
from rnnsweep.sweep.ports import PutRung
from tests.service.conftest import OF_ADA, OF_BOB


def test_it_is_read_anew_after_a_change_a_driver_or_a_while(filled: Path):
    clock, reads = [0.0], []
    recent = Recent(place(filled), lambda: clock[0])

    def ask(name: str = OF_ADA) -> int:
        return recent.of(name, "table", lambda: reads.append(name) or len(reads))

    assert [ask(), ask(), ask(OF_BOB), ask()] == [1, 1, 2, 1]
    ledger = open_ledger(place(filled).ledger)
    fence = ledger.acquire(OF_ADA, "test", 1.0)
    assert [ask(), ask(), ask(OF_BOB)] == [3, 3, 2]
    ledger.commit(OF_ADA, fence, [PutRung(0, 99, 9999, {}, (0.5,))])
    assert [ask(), ask(), ask(OF_BOB)] == [4, 4, 2]
    ledger.release(OF_ADA, fence)
    ledger.close()
    assert [ask(), ask()] == [5, 5]
    clock[0] += LASTS_S
    assert [ask(), ask()] == [6, 6]


def test_of_many_who_ask_at_once_one_reads(filled: Path):
    recent, reads, together = Recent(place(filled)), [], threading.Barrier(8)

    def ask(_: int) -> int:
        together.wait(30)
        return recent.of(OF_ADA, "status", lambda: time.sleep(0.2) or reads.append(1) or len(reads))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {1}


def test_it_does_not_fill_the_memory(filled: Path):
    recent = Recent(place(filled))
    for index in range(KEPT + 20):
        recent.of(OF_ADA, f"kind{index}", lambda: None)
    assert len(recent._answers) == len(recent._making) == KEPT


def test_an_absent_store_is_asked_each_time_it_may_have_come(tmp_path: Path):
    recent = Recent(place(tmp_path / "none"))
    assert recent.of("s", "status", lambda: 1) == 1
