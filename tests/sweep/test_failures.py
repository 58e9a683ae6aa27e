"""Memory that runs out and stores that are away: who pays, and who does not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rnnsweep.errors import StoreError
from rnnsweep.sweep.rows import Orders, RowFailure, RowReport
from rnnsweep.sweep.states import TrialState
from tests.kit.executor import SimExecutor
from tests.kit.plans import plan
from tests.kit.trainer import Faults, SimTrainer
from tests.sweep.simulation import World


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_greedy_row_fails_alone_and_its_neighbours_pay_nothing(replicas: int, workers: int) -> None:
    world = World(plan(12, replicas=replicas, retries=2), faults=Faults(greedy=lambda trial: trial == 3))
    world.workers = workers
    assert world.run().exit_code == 1
    views = world.ledger.trials("s")
    assert [view.number for view in views if view.state is TrialState.FAILED] == [3]
    assert views[3].reason.startswith("out_of_memory: ")
    assert views[3].charged == 3
    assert all(view.charged == 0 for view in views if view.number != 3)
    calm = World(plan(12, replicas=replicas))
    calm.run()
    assert [row for row in world.table() if row[0] != 3] == [row for row in calm.table() if row[0] != 3]


def test_once_the_greedy_row_is_known_workers_hold_as_many_rows_as_before() -> None:
    world = World(plan(40, replicas=1), faults=Faults(greedy=lambda trial: trial == 0), workers=1, slots=8)
    seen: list[int] = []

    class Counting(SimExecutor):
        def poll(self, timeout: float):
            seen.extend(len(trainer.rows) for trainer in self.trainers.values())  # type: ignore[attr-defined]
            return super().poll(timeout)

    world.run(executor=Counting(world.trainer, 1))
    assert max(seen[len(seen) // 2 :]) == 8


class Unsaved(SimTrainer):
    """Its store is away for some of its attempts to write."""

    def __init__(self, *args, away) -> None:
        super().__init__(*args)
        self.away = away

    def advance(self, orders: Orders) -> tuple[list[RowReport], list[RowFailure]]:
        self._obey(orders)
        if self.rows and self.away():
            raise StoreError("checkpoints", "No space left on device")
        return super().advance(Orders())


def unsaved(world: World, away) -> SimExecutor:
    return SimExecutor(lambda w: Unsaved(w, world.disk, world.faults, 10, 8, "node", away=away), 2, seed=1)


def times(pattern: Sequence[bool]):
    answers = iter(pattern)
    return lambda: next(answers, False)


def test_a_store_that_comes_back_costs_no_trial_anything() -> None:
    world, calm = World(plan(6)), World(plan(6))
    calm.run()
    assert world.run(executor=unsaved(world, times([False, False, True, True, False, False, True]))).exit_code == 0
    assert world.table() == calm.table()
    assert all(view.charged == 0 for view in world.ledger.trials("s"))


def test_a_store_that_stays_away_stops_the_sweep_and_resume_goes_on() -> None:
    world, calm = World(plan(6)), World(plan(6))
    calm.run()
    answers = [False] * 4
    outcome = world.run(executor=unsaved(world, lambda: not answers or answers.pop()))
    assert (outcome.state, outcome.exit_code) == ("FAILED", 1)
    assert "No space left on device" in outcome.reason
    assert TrialState.FAILED not in world.states()
    assert world.run().exit_code == 0
    assert world.table() == calm.table()
