"""The executor without processes: what is its own, beside the contract that all executors keep."""

from __future__ import annotations

import pytest

from rnnsweep.adapters.inline import InlineExecutor
from rnnsweep.errors import StoreError
from rnnsweep.sweep.ports import RungTrained, WorkerJoined, WorkerLost
from rnnsweep.sweep.rows import Orders, RowSpec, Withdrawal
from tests.kit.trainer import SimTrainer


class Watched(SimTrainer):
    """Notes its orders; raises what it is told to."""

    error: Exception | None = None

    def __init__(self, worker: str) -> None:
        super().__init__(worker, {})
        self.orders: list[Orders] = []
        self.closed = False

    def advance(self, orders: Orders):
        self.orders.append(orders)
        if Watched.error is not None:
            error, Watched.error = Watched.error, None
            raise error
        return super().advance(orders)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def made() -> list[Watched]:
    return []


@pytest.fixture
def executor(made: list[Watched]) -> InlineExecutor:
    def build(worker: str, cores: int) -> Watched:
        assert cores == 3
        made.append(Watched(worker))
        return made[-1]

    started = InlineExecutor(build, cores=3)
    started.start()
    [event] = started.poll(0.1)
    assert isinstance(event, WorkerJoined)
    return started


def spec(trial: int = 0) -> RowSpec:
    return RowSpec(trial, 0, "t", {"x": 0.5}, 30)


@pytest.mark.parametrize(("error", "store"), [(ValueError("x"), False), (StoreError("checkpoints", "full"), True)])
def test_an_exception_costs_the_worker_and_a_fresh_trainer_takes_its_place(executor, made, error, store) -> None:
    executor.order("inline-0", Orders(join=(spec(),)))
    Watched.error = error
    lost, joined = executor.poll(0.1)
    assert isinstance(lost, WorkerLost)
    assert (lost.worker, lost.store) == ("inline-0", store)
    assert str(error) in lost.reason
    assert joined.info.worker == "inline-1"
    assert made[0].closed
    executor.order("inline-0", Orders(join=(spec(1),)))  # late orders for the lost worker
    assert executor.poll(0.1) == []
    executor.order("inline-1", Orders(join=(spec(),)))
    [rung] = executor.poll(0.1)
    assert isinstance(rung, RungTrained)
    assert [report.rung for report in rung.reports] == [1]


def test_nothing_is_trained_without_rows_but_withdrawals_are_obeyed(executor, made) -> None:
    executor.order("inline-0", Orders(acknowledged={(0, 0): 1}))
    assert executor.poll(0.1) == []
    assert made[0].orders == []
    executor.order("inline-0", Orders(leave=(Withdrawal(0, 0, "t", 2),)))
    assert executor.poll(0.1) == []
    assert made[0].orders == [Orders(leave=(Withdrawal(0, 0, "t", 2),), acknowledged={(0, 0): 1})]


@pytest.mark.parametrize("graceful", [True, False])
def test_a_graceful_stop_obeys_the_last_withdrawals(executor, made, graceful: bool) -> None:
    executor.order("inline-0", Orders(leave=(Withdrawal(0, 0, "t", 2),)))
    executor.stop(graceful)
    assert [orders.leave for orders in made[0].orders] == ([(Withdrawal(0, 0, "t", 2),)] if graceful else [])
    assert made[0].closed
    executor.stop(graceful)
    assert executor.poll(0.1) == []


def test_a_graceful_stop_begins_no_rung(executor, made) -> None:
    executor.order("inline-0", Orders(join=(spec(),), leave=(Withdrawal(1, 0, "t", 2),)))
    executor.stop(graceful=True)
    assert made[0].orders == []


def test_rows_wait_for_those_that_the_driver_has_on_the_way(executor) -> None:
    executor.order("inline-0", Orders(join=(spec(0),)))
    assert executor.poll(0.0) == []
    executor.order("inline-0", Orders(join=(spec(1),)))
    [event] = executor.poll(0.1)
    assert [report.trial for report in event.reports] == [0, 1]
