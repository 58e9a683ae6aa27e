"""Rows that kill their process or exhaust its memory, in the real trainer: each fails alone, with the reason."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import UNMIRRORED
from tests.chaos.sweeps import Store, record

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

KEY = "controllers.witness.fault"
FEW = ("budget.updates=100", "replicas=1", "sampler=random", *UNMIRRORED)
SEGFAULT, EXIT, MEMORY = 1, 2, 3


def run(store: Store, faults: list[int], cluster: str, retries: int) -> int:
    """One trial per fault (0 is a good one); the rest of their coordinates is drawn."""
    points = "sampler.enqueue=[" + ",".join(f"{{{KEY}:{fault}}}" for fault in faults) + "]"
    space = f"space={{{KEY}: choice(0,1,2,3), init.sigma: interval(0.05,0.3)}}"
    more = (f"cluster={cluster}", f"budget.retries={retries}", f"budget.trials={len(faults)}", space, points)
    return store.finish(store.launch(*FEW, *more))


def check_alone(store: Store, reasons: dict[int, str], charged: int) -> None:
    """The poisonous trials failed with the reason; nobody else was charged anything."""
    found = record(store)
    for row in found.table:
        assert str(row["state"]) == ("FAILED" if row["number"] in reasons else "COMPLETE"), found.table
        assert reasons.get(row["number"], "") in row["reason"]
    ledger = store.ledger()
    for view in ledger.trials(store.name):
        assert view.charged == (charged if view.number in reasons else 0), view
    ledger.close()


def test_rows_that_kill_their_worker_or_exhaust_it_fail_alone_on_ray(store: Store) -> None:
    assert run(store, [0, SEGFAULT, 0, EXIT, 0, MEMORY, 0, 0], "local", retries=0) == 1, store.output()
    check_alone(store, {1: "died", 3: "died", 5: "out_of_memory"}, charged=1)


def test_a_row_that_exhausts_memory_fails_alone_in_the_driver_s_own_process(store: Store) -> None:
    """Under RLIMIT_AS of its own, 256 MB above what the process has."""
    assert run(store, [0, 0, MEMORY, 0, 0, 0], "inline", retries=1) == 1, store.output()
    check_alone(store, {2: "out_of_memory"}, charged=2)
