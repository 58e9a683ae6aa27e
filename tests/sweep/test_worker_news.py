"""What workers say within a rung is shown, and decides nothing."""

from __future__ import annotations

import pytest

from rnnsweep.adapters.inline import InlineExecutor
from rnnsweep.sweep.ports import WorkerNews
from rnnsweep.sweep.rows import Orders
from tests.kit.executor import SimExecutor
from tests.kit.plans import plan
from tests.kit.trainer import SimTrainer
from tests.sweep.simulation import World


def test_who_compiles_is_shown_before_the_round_is_over() -> None:
    seen: list[bool] = []

    class Compiling(SimExecutor):
        def poll(self, timeout: float):
            if self.trainers and not seen.count(True):
                self.hear(WorkerNews("w1", True))
                assert seen[-1]
                self.hear(WorkerNews("w1", False))
                assert not seen[-1]
                self.hear(WorkerNews("w0", True))  # and is stopped before it says that it has ended
            return super().poll(timeout)

    world = World(plan(3))
    executor = Compiling(world.trainer, 2)
    world.run(executor=executor, observer=lambda progress: seen.append(progress.compiling))
    assert True in seen
    assert not seen[-1]


def test_what_a_worker_has_done_of_its_rung_is_shown_and_never_counted_twice() -> None:
    """Rungs of 10 updates, 2 replicas: 20 row-updates at once, of which the worker tells 7, then 15."""
    seen: list[tuple[int, float]] = []

    class Telling(SimTrainer):
        def advance(self, orders: Orders):
            found = super().advance(orders)
            for updates in (7, 15) if found[0] else ():
                self.tell(False, updates)
            return found

    world = World(plan(1))
    whole = 2 * world.plan.budget.updates
    watch = lambda progress: seen.append((progress.updates, sum(progress.shares.values())))  # noqa: E731
    world.run(executor=InlineExecutor(lambda worker, cores: Telling(worker, world.disk)), observer=watch)
    done = [updates for updates, _ in seen]
    assert done == sorted(done)
    assert {7, 15, 20 + 7, 20 + 15, 40 + 7} <= set(done)
    assert all(share == pytest.approx(updates / whole) for updates, share in seen)
    assert done[-1] == whole
