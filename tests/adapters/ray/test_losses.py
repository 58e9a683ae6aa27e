"""Workers and nodes that die, hang, come, go and are excluded, on a real cluster."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest
from counting_trainer import EVERY

from rnnsweep.sweep.rows import Orders, RowSpec
from tests.kit.processes import has_ended

pytestmark = pytest.mark.chaos


def endless(trial: int = 0, **params: object) -> RowSpec:
    return RowSpec(trial, 0, f"t{trial}", params, 10_000 * EVERY)


def pid(info: Any) -> int:
    return int(info.versions["pid"])


def died(number: int, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if has_ended(number):
            return True
        time.sleep(0.05)
    return False


def node_id(executor: Any, info: Any) -> str:
    return executor._handles[info.worker].node.id


def lost_and_replaced(watch: Any, executor: Any) -> tuple[Any, Any, list]:
    """The loss, the worker that stands in, and all events until then."""
    events = watch.until(executor, lambda found: watch.lost(found) and watch.joined(found))
    (lost,), (fresh,) = watch.lost(events), watch.joined(events)
    assert fresh.worker != lost.worker
    return lost, fresh, events


@pytest.mark.parametrize("busy", [True, False])
def test_a_killed_worker_is_seen_at_once_and_replaced(started: Any, watch: Any, busy: bool) -> None:
    executor = started(workers=1)
    (info,) = watch.workers(executor, 1)
    if busy:
        executor.order(info.worker, Orders(join=(endless(do="sleep"),)))
        watch.until(executor, bool)
    os.kill(pid(info), signal.SIGKILL)
    before = time.monotonic()
    events = watch.until(executor, watch.lost)
    assert time.monotonic() - before < 10.0  # 0.1 s, and 1.1 s for an idle one, where cores are free
    (lost,) = watch.lost(events)
    assert (lost.worker, lost.node) == (info.worker, info.node)
    assert "worker process died" in lost.reason
    executor.order(info.worker, Orders(join=(endless(),)))  # too late: ignored
    (fresh,) = watch.joined(events) or watch.workers(executor, 1)
    executor.order(fresh.worker, Orders(join=(endless(),)))
    assert watch.reports(watch.until(executor, watch.reports))[0].rung == 1


@pytest.mark.parametrize("poison", ["segv@2", "exit@2", "raise@2"])
def test_a_poisonous_row_takes_its_worker_only(started: Any, watch: Any, poison: str) -> None:
    executor = started(workers=2)
    first, second = watch.workers(executor, 2)
    executor.order(first.worker, Orders(join=(endless(0, do=poison),)))
    executor.order(second.worker, Orders(join=(endless(1, do="sleep"),)))
    lost, fresh, events = lost_and_replaced(watch, executor)
    assert lost.worker == first.worker
    assert [r.rung for r in watch.reports(events) if r.trial == 0] == [1]
    executor.order(fresh.worker, Orders(join=(endless(2),)))
    events += watch.until(executor, lambda found: {1, 2} <= {r.trial for r in watch.reports(found)})
    neighbour = [r.rung for r in watch.reports(events) if r.trial == 1]
    assert neighbour == list(range(1, len(neighbour) + 1))  # it never noticed


def test_a_stopped_worker_is_lost_at_its_deadline_and_killed(started: Any, watch: Any) -> None:
    executor = started(workers=2, deadline_s=4.0)
    first, second = watch.workers(executor, 2)
    executor.order(second.worker, Orders(join=(endless(1, do="sleep"),)))
    executor.order(first.worker, Orders(join=(endless(0, do="freeze@2"),)))
    watch.until(executor, lambda found: any(r.trial == 0 for r in watch.reports(found)))
    before = time.monotonic()
    lost, _, _ = lost_and_replaced(watch, executor)
    assert time.monotonic() - before < 20.0  # 4 s and a new worker, where cores are free
    assert lost.worker == first.worker
    assert "no answer for 4 s" in lost.reason
    assert died(pid(first))  # SIGSTOP holds off everything but SIGKILL
    assert not died(pid(second), 0.2)


def test_a_start_that_takes_longer_than_the_deadline_gets_more_time(started: Any, watch: Any) -> None:
    from counting_trainer import slow_factory

    (info,) = watch.workers(started(slow_factory, workers=1, deadline_s=4.0), 1)
    assert not info.worker.endswith("-1")  # the first was lost at 4 s


def test_a_killed_raylet_loses_its_workers(cluster: Any, started: Any, watch: Any) -> None:
    node = cluster.add_node(num_cpus=2)
    executor = started(workers=6)
    infos = watch.workers(executor, 6)
    there = [info for info in infos if info.node.endswith(node.node_id[:8])]
    assert len(there) == 2
    for trial, info in enumerate(infos):
        executor.order(info.worker, Orders(join=(endless(trial, do="sleep"),)))
    watch.until(executor, lambda found: len({r.trial for r in watch.reports(found)}) == 6)
    os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)
    before = time.monotonic()
    events = watch.until(executor, lambda found: len(watch.lost(found)) == 2)
    assert time.monotonic() - before < 20.0  # 1 s where cores are free
    assert {e.worker for e in watch.lost(events)} == {info.worker for info in there}
    assert all(died(pid(info)) for info in there)
    later = watch.until(executor, lambda found: len({r.trial for r in watch.reports(found)}) == 4)
    assert not watch.lost(later)
    cluster.remove_node(node, allow_graceful=False)


def test_nodes_join_and_leave_a_running_sweep(cluster: Any, started: Any, watch: Any) -> None:
    executor = started()
    watch.workers(executor, 4)
    node = cluster.add_node(num_cpus=1)
    (info,) = watch.workers(executor, 1)
    assert info.node.endswith(node.node_id[:8])
    executor.order(info.worker, Orders(join=(endless(),)))
    assert watch.reports(watch.until(executor, watch.reports))
    cluster.remove_node(node)
    (lost,) = watch.lost(watch.until(executor, watch.lost))
    assert (lost.worker, lost.node) == (info.worker, info.node)


def test_an_excluded_node_gets_no_more_workers(started: Any, watch: Any) -> None:
    executor = started(workers=2)
    first, second = watch.workers(executor, 2)
    assert first.node != second.node
    executor.exclude(first.node)
    os.kill(pid(first), signal.SIGKILL)
    lost, fresh, _ = lost_and_replaced(watch, executor)
    assert lost.node == first.node
    assert fresh.node == second.node


def test_a_worker_that_keeps_dying_is_replaced_ever_more_slowly(started: Any, watch: Any) -> None:
    executor = started(workers=1)
    (info,) = watch.workers(executor, 1)
    node = info.node
    for _ in range(3):
        os.kill(pid(info), signal.SIGKILL)
        _, info, _ = lost_and_replaced(watch, executor)
    assert executor._losses[node_id(executor, info)] >= 2 or info.node != node
    executor.order(info.worker, Orders(join=(endless(),)))
    watch.until(executor, watch.reports)
    assert node_id(executor, info) not in executor._losses  # a trained rung clears the node's record
