"""Rows that kill their process or exhaust its memory, in the real trainer: each fails alone, with the reason."""

from __future__ import annotations

import pytest

from tests.chaos.sweeps import SMALL, Record, Store, record

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

POISON = "controllers.witness.fault"
OTHERS = ("budget.retries=1", "budget.updates=100", "replicas=1", "sampler=random", "budget.trials=6")


def points(fault: int) -> str:
    """Six points of which the third is poisonous; the rest of their coordinates is drawn."""
    return "sampler.enqueue=[" + ",".join(f"{{{POISON}:{fault if n == 2 else 0}}}" for n in range(6)) + "]"


def run(store: Store, fault: int, cluster: str) -> tuple[int, Record]:
    space = f"space={{{POISON}: choice(0,1,2,3), init.sigma: interval(0.05,0.3)}}"
    process = store.launch(*OTHERS, f"cluster={cluster}", space, points(fault))
    return store.finish(process), record(store)


def check_alone(store: Store, found: Record, reason: str, charged: int) -> None:
    states = [str(row["state"]) for row in found.table]
    assert states == ["COMPLETE", "COMPLETE", "FAILED", "COMPLETE", "COMPLETE", "COMPLETE"], found.table
    assert reason in found.table[2]["reason"]
    ledger = store.ledger()
    assert [view.charged for view in ledger.trials(store.name)] == [0, 0, charged, 0, 0, 0]
    ledger.close()


@pytest.mark.parametrize(("fault", "reason"), [(1, "died"), (2, "died")], ids=["segfault", "exit"])
def test_a_row_that_kills_its_worker_fails_alone(store: Store, fault: int, reason: str) -> None:
    assert "budget.retries=1000" in SMALL  # overridden below
    code, found = run(store, fault, "local")
    assert code == 1, store.output()
    check_alone(store, found, reason, charged=2)


@pytest.mark.parametrize("cluster", ["inline", "local"])
def test_a_row_that_exhausts_memory_fails_alone(store: Store, cluster: str) -> None:
    """Under RLIMIT_AS of its own process, 256 MB above what it has."""
    code, found = run(store, 3, cluster)
    assert code == 1, store.output()
    check_alone(store, found, "out_of_memory", charged=2)
