"""Several drivers over one pool of simulated workers: each sweep is what it is alone."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnsweep.errors import MismatchError, StoreError
from rnnsweep.sweep.driver import Driver, Outcome
from rnnsweep.sweep.fair_slots import Claim, Limits
from rnnsweep.sweep.pool import Pool
from rnnsweep.sweep.ports import RungTrained, WorkerJoined, WorkerLost, WorkerResized
from rnnsweep.sweep.rows import Orders, RowSpec
from rnnsweep.sweep.states import SweepState, TrialState
from tests.kit.executor import SimExecutor
from tests.kit.plans import plan
from tests.kit.pooled_trainer import PooledSim
from tests.kit.trainer import Disk, SimTrainer
from tests.sweep.simulation import World


def inner(workers: int = 2, slots: int = 8, turn_s: float = 0.0, **more: Any) -> SimExecutor:
    """Simulated workers; `turn_s` is how long a turn takes, for tests that act while sweeps train."""
    made: list[PooledSim] = []

    def choose(sweeps: dict[int, Any]) -> list[int]:
        time.sleep(turn_s)
        return list(sweeps)

    def factory(worker: str) -> PooledSim:
        made.append(PooledSim(worker, slots, choose=choose))
        return made[-1]

    executor = SimExecutor(factory, workers, **more)
    executor.made = made  # type: ignore[attr-defined]
    return executor


@contextmanager
def pool_of(executor: SimExecutor, limits: Limits | None = None) -> Iterator[Pool]:
    pool = Pool(executor, limits)
    pool.start()
    try:
        yield pool
    finally:
        pool.stop()


def driver(pool: Pool, world: World, **claim: Any) -> Driver:
    rows = world.plan.budget.trials * world.plan.replicas if world.plan.budget.trials else None
    share = pool.share(Claim(0, rows, world.plan.replicas, **claim), world.trainer)
    return world.driver(executor=share)


def together(drivers: Sequence[Driver]) -> list[Outcome]:
    """Run drivers at once, each in a thread as in a service."""
    outcomes: dict[int, Outcome] = {}

    def run(index: int, one: Driver) -> None:
        outcomes[index] = one.run()

    threads = [threading.Thread(target=run, args=(index, one)) for index, one in enumerate(drivers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a driver does not end"
    return [outcomes[index] for index in range(len(drivers))]


def alone(world: World) -> World:
    """The same sweep on workers of its own."""
    calm = World(world.plan, rule=world.rule, faults=world.faults)
    calm.run()
    return calm


def same(world: World, other: World) -> None:
    assert world.table() == other.table()
    assert world.curves() == other.curves()
    assert world.rungs() == other.rungs()


def prune_odd(trial: int, step: int, value: float) -> bool:
    return trial % 2 == 1 and step >= 20


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.02]), st.integers(1, 3), st.sampled_from([2, 3, 8]))
@settings(max_examples=15, deadline=None)
def test_sweeps_that_share_a_pool_have_the_tables_that_they_have_alone(seed, kill, workers, slots):
    worlds = [
        World(plan(trials=5, updates=40, replicas=2, retries=1000)),
        World(plan(trials=7, updates=25, replicas=1, retries=1000), rule=prune_odd),
        World(plan(trials=3, updates=60, replicas=2, retries=1000)),
    ]
    with pool_of(inner(workers, slots, seed=seed, kill=kill)) as pool:
        outcomes = together([driver(pool, one, weight=weight) for one, weight in zip(worlds, (1, 2, 4), strict=True)])
    assert [one.state for one in outcomes] == [SweepState.COMPLETE] * 3, outcomes
    for world in worlds:
        same(world, alone(world))


def test_a_sweep_that_comes_later_takes_places_and_gives_them_back() -> None:
    """Rows that must make way are charged nothing and go on from their checkpoints."""
    large, small = World(plan(trials=12, updates=600, replicas=1)), World(plan(trials=4, updates=20, replicas=1))
    executor = inner(1, slots=8, turn_s=0.005)
    with pool_of(executor) as pool:
        first = threading.Thread(target=driver(pool, large).run)
        first.start()
        while len(large.ledger.row_reports) < 20:
            time.sleep(0.001)
        together([driver(pool, small)])
        first.join(120)
    same(large, alone(large))
    same(small, alone(small))
    lost = [view for view in large.ledger.attempt_views.values() if view.outcome == "displaced"]
    assert lost
    assert not any(view.charged for view in lost)


def test_a_row_that_kills_its_worker_fails_alone_and_no_row_of_another_sweep_is_charged() -> None:
    guilty, innocent = World(plan(trials=5, replicas=1, retries=1)), World(plan(trials=1, updates=300, replicas=1))
    guilty.faults.poison = lambda trial, replica, rung: trial == 2 and rung == 2
    with pool_of(inner(2, slots=8)) as pool:
        together([driver(pool, guilty), driver(pool, innocent)])
    states = [TrialState.FAILED if number == 2 else TrialState.COMPLETE for number in range(5)]
    assert guilty.states() == states
    assert innocent.states() == [TrialState.COMPLETE]
    assert [view.charged for view in innocent.ledger.trials("s")] == [0]
    assert [view.charged for view in guilty.ledger.trials("s")] == [0, 0, 2, 0, 0]


def test_one_worker_for_all_finds_the_guilty_row_too() -> None:
    guilty, innocent = World(plan(trials=4, replicas=1, retries=0)), World(plan(trials=3, updates=200, replicas=1))
    guilty.faults.poison = lambda trial, replica, rung: trial == 1 and rung == 3
    with pool_of(inner(1, slots=8)) as pool:
        together([driver(pool, guilty), driver(pool, innocent)])
    assert guilty.states() == [TrialState.COMPLETE, TrialState.FAILED, TrialState.COMPLETE, TrialState.COMPLETE]
    assert innocent.states() == [TrialState.COMPLETE] * 3
    assert not any(view.charged for view in innocent.ledger.trials("s"))


class Broken(SimTrainer):
    """Its sweep's checkpoints cannot be written."""

    def advance(self, orders: Orders):
        super().advance(orders)
        if self.rows:
            raise StoreError("checkpoints", "No space left on device")
        return [], []


def test_a_sweep_whose_store_is_full_stops_and_the_others_go_on() -> None:
    full, healthy = World(plan(trials=3)), World(plan(trials=6, updates=300))
    executor = inner(2)
    with pool_of(executor) as pool:
        share = pool.share(Claim(0, 6, 2), lambda worker: Broken(worker, full.disk))
        outcomes = together([full.driver(executor=share), driver(pool, healthy)])
    assert outcomes[0].state is SweepState.FAILED
    assert "No space left" in outcomes[0].reason
    assert TrialState.FAILED not in full.states()
    assert outcomes[1].state is SweepState.COMPLETE
    same(healthy, alone(healthy))
    assert executor.count == 2, "no worker was lost"


def test_a_sweep_that_no_worker_takes_is_told_why_and_the_others_go_on() -> None:
    def refuse(worker: str) -> SimTrainer:
        raise ValueError("torch 1.0 there, 2.0 here")

    other, healthy = World(plan(trials=3)), World(plan(trials=3))
    with pool_of(inner(2)) as pool:
        one = other.driver(executor=pool.share(Claim(0, 6, 2), refuse))
        with pytest.raises(MismatchError, match=r"torch 1\.0"):
            one.run()
        assert together([driver(pool, healthy)])[0].state is SweepState.COMPLETE


def test_a_pool_that_fails_ends_its_drivers_with_the_reason() -> None:
    class Failing(SimExecutor):
        def start(self) -> None:
            raise RuntimeError("no worker could start")

    world = World(plan())
    pool = Pool(Failing(lambda worker: PooledSim(worker)))
    pool.start()
    with pytest.raises(RuntimeError, match="no worker could start"):
        driver(pool, world).run()
    pool.stop()


def test_a_stopped_sweep_leaves_its_workers_to_the_others_and_goes_on_later() -> None:
    stopped, other = World(plan(trials=6, updates=400)), World(plan(trials=6, updates=200))
    executor = inner(1, slots=24, turn_s=0.005)
    with pool_of(executor) as pool:
        one = driver(pool, stopped)
        thread = threading.Thread(target=one.run)
        thread.start()
        while len(stopped.ledger.row_reports) < 30:
            time.sleep(0.001)
        one.interrupt()
        thread.join(60)
        assert stopped.ledger.sweep("s").state is SweepState.INTERRUPTED
        assert all(not trainer.sweeps for trainer in executor.made)
        assert together([driver(pool, other), driver(pool, stopped)])[1].state is SweepState.COMPLETE
    same(stopped, alone(stopped))
    same(other, alone(other))


def hand(executor: SimExecutor, limits: Limits | None = None) -> Pool:
    """A pool without its thread: the test says when it looks."""
    pool = Pool(executor, limits)
    executor.start()
    pool.step(0.0)
    return pool


def spec(trial: int, updates: int = 1000) -> RowSpec:
    return RowSpec(trial, 0, f"t{trial}", {"x": 0.5}, updates)


def world_trainer(disk: Disk) -> Callable[[str], SimTrainer]:
    return lambda worker: SimTrainer(worker, disk)


def test_each_share_sees_its_own_rows_and_slots_only() -> None:
    pool = hand(inner(1, slots=8))
    one, two = (pool.share(Claim(0), world_trainer({})) for _ in range(2))
    one.start()
    pool.step(0.0)
    assert [event.info.slots for event in one.poll(0.0)] == [8]
    two.start()
    pool.step(0.0)
    assert one.poll(0.0) == [WorkerResized("w0", 4)]
    joined = two.poll(0.0)
    assert isinstance(joined[0], WorkerJoined)
    assert joined[0].info.slots == 4
    for share, trial in ((one, 0), (two, 0), (two, 1)):
        share.order("w0", Orders(join=(spec(trial),)))
    for _ in range(3):
        pool.step(0.0)
    assert {report.trial for event in one.poll(0.0) for report in event.reports} == {0}
    assert {report.trial for event in two.poll(0.0) for report in event.reports} == {0, 1}
    pool._balance()
    assert pool.use()[0].rows == {1: 1, 2: 2}
    two.stop(graceful=False)
    for _ in range(4):
        pool.step(0.0)
    assert WorkerResized("w0", 8) in one.poll(0.0)
    assert two.over.is_set()


def test_a_loss_says_whether_others_were_there() -> None:
    executor = inner(1, slots=8)
    pool = hand(executor)
    one, two = (pool.share(Claim(0), world_trainer({})) for _ in range(2))
    for share in (one, two):
        share.start()
    pool.step(0.0)
    one.order("w0", Orders(join=(spec(0),)))
    pool.step(0.0)
    executor.lose("w0", "killed")
    pool.step(0.0)
    lost = [[event for event in share.poll(0.0) if isinstance(event, WorkerLost)] for share in (one, two)]
    assert [[event.shared for event in events] for events in lost] == [[False], [True]], "no row of the second"
    for share in (one, two):
        share.order("w1", Orders(join=(spec(1),)))
    pool.step(0.0)
    executor.lose("w1", "killed")
    pool.step(0.0)
    lost = [[event for event in share.poll(0.0) if isinstance(event, WorkerLost)] for share in (one, two)]
    assert [[event.shared for event in events] for events in lost] == [[True], [True]]


def test_orders_of_a_driver_that_has_left_are_dropped() -> None:
    pool = hand(inner(1))
    share = pool.share(Claim(0), world_trainer({}))
    share.start()
    pool.step(0.0)
    share.stop(graceful=False)
    share.order("w0", Orders(join=(spec(0),)))
    for _ in range(3):
        pool.step(0.0)
    assert not [event for event in share.poll(0.0) if isinstance(event, RungTrained)]


def test_rows_and_with_them_row_updates_go_by_weight() -> None:
    """Slots alone give the share here: the simulated worker trains a rung of all its rows in every turn."""
    pool = hand(inner(2, slots=60))
    shares = [pool.share(Claim(0, weight=weight), world_trainer({})) for weight in (1, 2, 3)]
    for share in shares:
        share.start()
    pool.step(0.0)
    trained: Counter[int] = Counter()
    for number, share in enumerate(shares):
        trial = 0
        for worker, slots in share.notes.slots.items():
            rows = tuple(spec(trial + index) for index in range(slots))
            trial += slots
            share.order(worker, Orders(join=rows))
        assert trial == 20 * (number + 1)
    for _ in range(40):
        pool.step(0.0)
    for number, share in enumerate(shares):
        trained[number] = sum(len(event.reports) for event in share.poll(0.0) if isinstance(event, RungTrained))
    assert trained[1] == 2 * trained[0] > 0
    assert trained[2] == 3 * trained[0]
