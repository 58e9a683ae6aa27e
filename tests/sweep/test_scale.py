"""The decision path at the size of a large cluster: work and memory per trial do not grow with the sweep.

How long it takes is for `benchmarks/scale.py` to say.
"""

from __future__ import annotations

import sys
import tracemalloc

from rnnsweep.sweep.command_batch import CommandBatch
from rnnsweep.sweep.events import Tick
from rnnsweep.sweep.ports import UNINFORMED, RungTrained, WorkerJoined
from rnnsweep.sweep.rebuild import Records, rebuild
from rnnsweep.sweep.records import SweepMemory
from rnnsweep.sweep.rows import Orders, RowReport, WorkerInfo
from rnnsweep.sweep.states import RowState
from tests.kit.plans import plan


class Quick:
    """Sampler and executor that cost nothing."""

    wants_replicas = False
    origin = UNINFORMED

    def __init__(self) -> None:
        self.joined: list[tuple[str, Orders]] = []

    def ask(self, number: int) -> dict[str, float]:
        return {"x": number / 10_000}

    def report(self, number: int, step: int, value: float) -> None: ...

    def prune(self, number: int, step: int) -> bool:
        return False

    def tell(self, view) -> None: ...

    def order(self, worker: str, orders: Orders) -> None:
        if orders.join:
            self.joined.append((worker, orders))


def held(trials: int) -> SweepMemory:
    """The memory of a machine at the end of a sweep."""
    memory, _ = rebuild(plan(trials, updates=30, replicas=1), 1, 0.0, Records())
    run(trials, 4, 3, memory)
    return memory


def run(trials: int, workers: int, rungs: int, memory: SweepMemory | None = None) -> int:
    """Run a sweep through machine and turn; returns the number of reports."""
    quick = Quick()
    if memory is None:
        memory, _ = rebuild(plan(trials, updates=10 * rungs, replicas=1), 1, 0.0, Records())
    turn = CommandBatch(memory, quick, quick)  # type: ignore[arg-type]
    turn.take([WorkerJoined(WorkerInfo(f"w{n}", f"n{n}", "cpu", "", 2)) for n in range(workers)])
    turn.finish(lambda writes: None)
    reports = 0
    while memory.stopping is None:
        orders, quick.joined = quick.joined, []
        events = []
        for rung in range(1, rungs + 1):
            state = RowState.DONE if rung == rungs else RowState.ACTIVE
            for worker, order in orders:
                made = [
                    RowReport(s.trial, 0, s.token, rung, 10 * rung, {"valid/error": 0.5}, state) for s in order.join
                ]
                events.append(RungTrained(worker, tuple(made)))
                reports += len(made)
        turn.take([Tick(0.0, 0.0), *events])
        turn.finish(lambda writes: None)
    return reports


def calls(trials: int, workers: int) -> float:
    """Calls of Python and C functions per trial; nothing in a run depends on time, so the number is exact."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        run(trials, workers, 3)
    finally:
        sys.setprofile(None)
    return count / trials


def test_a_thousand_workers_and_ten_thousand_trials() -> None:
    assert run(10_000, 1000, 3) == 30_000


def test_work_per_trial_does_not_grow_with_trials_and_workers() -> None:
    run(50, 4, 3)  # imports and caches
    assert calls(2000, 200) < 1.1 * calls(200, 20)


def test_memory_per_finished_trial() -> None:
    """What the machine still holds after a thousand more trials have come and gone."""
    run(50, 4, 3)  # imports and caches
    sizes = []
    for trials in (200, 1200):
        tracemalloc.start()
        kept = held(trials)
        sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert kept.open == {}
    assert (sizes[1] - sizes[0]) / 1000 < 20_000 / 10  # the ledger's and mirrors' share is not in here
