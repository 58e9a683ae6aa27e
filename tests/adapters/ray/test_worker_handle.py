"""A worker's queue as its driver sees it, on a double of Ray's actor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError, RayTaskError, WorkerCrashedError

from rnnsweep.adapters.ray.cluster import Node
from rnnsweep.adapters.ray.worker_handle import IN_FLIGHT, PING_S, WorkerHandle, reason_of
from rnnsweep.sweep.rows import Orders, RowReport, RowSpec, Withdrawal
from rnnsweep.sweep.states import RowState

SPEC = RowSpec(0, 0, "t", {}, 30)


class Actor:
    """Every method is remote and notes its arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *args: self.calls.append((name, args)) or len(self.calls))


@pytest.fixture
def handle() -> WorkerHandle:
    return WorkerHandle("w", Node("id", "label", 1, 0), Actor(), answered=0.0, joined=True)


def advances(handle: WorkerHandle) -> list[Orders]:
    return [args[0] for name, args in handle.actor.calls if name == "advance"]


def test_two_rungs_are_in_flight_while_there_are_rows(handle: WorkerHandle) -> None:
    handle.waiting = Orders(join=(SPEC,))
    handle.pump(1.0)
    assert advances(handle) == [Orders(join=(SPEC,)), Orders()]
    assert len(handle.calls) == IN_FLIGHT
    handle.pump(1.0)
    assert len(advances(handle)) == 2
    handle.calls.popleft()
    handle.pump(1.0)
    assert len(advances(handle)) == 3


def test_a_worker_without_rows_gets_its_orders_once_and_is_pinged_when_idle(handle: WorkerHandle) -> None:
    handle.waiting = Orders(leave=(Withdrawal(0, 0, "t", 2),))
    handle.pump(1.0)
    assert len(advances(handle)) == 1
    handle.calls.clear()
    handle.answered = 1.0
    handle.pump(1.0 + PING_S / 2)
    assert not handle.calls
    handle.pump(1.0 + PING_S)
    assert [what for what, _ in handle.calls] == ["ping"]


def test_nothing_is_ordered_before_the_trainer_is_built(handle: WorkerHandle) -> None:
    handle.joined = False
    handle.waiting = Orders(join=(SPEC,))
    handle.pump(9.0)
    assert handle.actor.calls == []


def test_last_orders_train_nothing(handle: WorkerHandle) -> None:
    handle.waiting = Orders(join=(SPEC, RowSpec(1, 0, "t", {}, 30)))
    handle.pump(1.0)
    handle.waiting = Orders(leave=(Withdrawal(0, 0, "t"),), acknowledged={(1, 0): 1})
    assert handle.last_orders() == Orders()  # the other row would train
    handle.rows.settle([RowReport(1, 0, "t", 3, 30, {}, RowState.DONE)], [])
    assert handle.last_orders() == Orders(leave=(Withdrawal(0, 0, "t"),))


def test_only_a_worker_that_owes_an_answer_can_hang(handle: WorkerHandle) -> None:
    assert not handle.hung(100.0, 5.0)  # idle
    handle.call("ping", 100.0)
    assert not handle.hung(200.0, 5.0)  # its process is not known yet: it waits for a free place
    handle.process = (1, 2.0)
    assert not handle.hung(105.0, 5.0)
    assert handle.hung(105.1, 5.0)


def test_reasons_are_one_line_for_people() -> None:
    told = RayTaskError("advance", "Traceback\nValueError: x\nmore", ValueError("x\nmore"))
    assert reason_of(told) == "ValueError: x"
    bare = RayTaskError("advance", "Traceback\n  File\nKeyError: 'y'\n\n", ValueError())
    bare.cause = None
    assert reason_of(bare) == "KeyError: 'y'"
    crashed = reason_of(WorkerCrashedError())
    assert crashed.startswith("worker process died: ")
    assert "\n" not in crashed
    assert reason_of(RayActorError()).startswith("worker process died: ")
