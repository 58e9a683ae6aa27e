"""What every executor promises (`rnnsweep.sweep.ports.Executor`), checked for each implementation."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rnnsweep.sweep.ports import Executor, ExecutorEvent, RungTrained, WorkerJoined, WorkerLost, WorkerNews
from rnnsweep.sweep.rows import Orders, RowReport, RowSpec, Withdrawal
from rnnsweep.sweep.states import RowState

KIT = Path(__file__).parent / "executor_kit"
sys.path.insert(0, str(KIT))
from counting_trainer import EVERY, factory, value  # noqa: E402

Build = Callable[..., Executor]


def build_inline(trainers: Callable[..., object]) -> Executor:
    from rnnsweep.adapters.inline import InlineExecutor

    return InlineExecutor(trainers)


def build_ray(trainers: Callable[..., object]) -> Executor:
    from rnnsweep.adapters.ray.cluster import RaySettings
    from rnnsweep.adapters.ray.executor import RayExecutor

    return RayExecutor(trainers, RaySettings(workers=1, py_paths=(str(KIT),)))


BUILDERS: dict[str, Build] = {"ray": build_ray}
if importlib.util.find_spec("rnnsweep.adapters.inline") is not None:
    BUILDERS["inline"] = build_inline


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """One private Ray for the module: executors join a process's connection where there is one."""
    from rnnsweep.adapters.ray.cluster import RaySettings, connect, disconnect

    assert connect(RaySettings(workers=1))
    yield
    disconnect()


@pytest.fixture(params=sorted(BUILDERS))
def executor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Executor]:
    if request.param == "ray":
        request.getfixturevalue("ray_here")
    made = BUILDERS[request.param](factory(str(tmp_path / "trace")))
    made.start()
    yield made
    made.stop(graceful=False)


def wait_for(executor: Executor, done: Callable[[list[ExecutorEvent]], bool], seconds: float = 120.0) -> list:
    """Events until `done(events)`; fails after `seconds`."""
    events: list[ExecutorEvent] = []
    end = time.monotonic() + seconds
    while not done(events):
        assert time.monotonic() < end, events
        events += executor.poll(0.2)
    return events


def joined(executor: Executor) -> str:
    events = wait_for(executor, lambda found: any(isinstance(e, WorkerJoined) for e in found))
    return next(e.info.worker for e in events if isinstance(e, WorkerJoined))


def reports(events: list[ExecutorEvent], trial: int | None = None) -> list[RowReport]:
    found = [r for e in events if isinstance(e, RungTrained) for r in e.reports]
    return [r for r in found if trial is None or r.trial == trial]


def ended(trial: int) -> Callable[[list[ExecutorEvent]], bool]:
    return lambda events: any(r.state.ended for r in reports(events, trial))


def spec(trial: int, rungs: int = 3, **params: object) -> RowSpec:
    return RowSpec(trial, 0, f"t{trial}", params, rungs * EVERY)


def test_a_worker_introduces_itself_once(executor: Executor) -> None:
    first = wait_for(executor, lambda found: bool(found))
    assert [type(e) for e in first] == [WorkerJoined]
    info = first[0].info
    assert info.worker
    assert info.node
    assert info.slots == 4
    assert executor.poll(0.1) == []


def test_rows_report_every_rung_in_order_and_then_no_more(executor: Executor) -> None:
    worker = joined(executor)
    executor.order(worker, Orders(join=(spec(0, x=2.0), spec(1, rungs=2, x=5.0))))
    events = wait_for(executor, ended(0))
    for trial, x, rungs in ((0, 2.0, 3), (1, 5.0, 2)):
        got = reports(events, trial)
        assert [(r.rung, r.step) for r in got] == [(n, n * EVERY) for n in range(1, rungs + 1)]
        assert [r.metrics["valid/loss"] for r in got] == [x / n for n in range(1, rungs + 1)]
        assert [r.state for r in got] == [RowState.ACTIVE] * (rungs - 1) + [RowState.DONE]
    assert all(e.worker == worker for e in events)
    assert executor.poll(0.3) == []


def test_an_idle_worker_is_woken_by_orders(executor: Executor) -> None:
    worker = joined(executor)
    for trial in range(3):
        executor.order(worker, Orders(join=(spec(trial, rungs=1, x=3.0),)))
        assert reports(wait_for(executor, ended(trial)))[-1].metrics["valid/loss"] == value(spec(trial, x=3.0), 1)


def test_a_row_whose_updates_were_raised_goes_on_after_its_old_end(executor: Executor) -> None:
    worker = joined(executor)
    raised = RowSpec(0, 0, "t0", {"do": "repeat"}, 6 * EVERY, restore=("old",), restore_to=2)
    executor.order(worker, Orders(join=(raised,)))
    events = wait_for(executor, lambda events: any(r.step == 6 * EVERY for r in reports(events, 0)))
    states = [(r.rung, r.state) for r in reports(events, 0)]
    assert states == [(2, RowState.DONE), *((n, RowState.ACTIVE) for n in (3, 4, 5)), (6, RowState.DONE)]
    assert executor.poll(0.3) == []


@pytest.mark.parametrize(("command", "state"), [("solve@2", RowState.SOLVED), ("diverge@2", RowState.DIVERGED)])
def test_a_row_that_ends_early_leaves_by_itself(executor: Executor, command: str, state: RowState) -> None:
    worker = joined(executor)
    executor.order(worker, Orders(join=(spec(0, rungs=9, do=command), spec(1, rungs=4))))
    events = wait_for(executor, ended(1))
    assert [r.state for r in reports(events, 0)] == [RowState.ACTIVE, state]
    assert executor.poll(0.3) == []


def test_compiling_is_told_while_it_lasts(executor: Executor) -> None:
    news: list[tuple[WorkerNews, bool]] = []
    trained: list[ExecutorEvent] = []
    executor.watch(lambda said: news.append((said, bool(reports(trained)))))
    worker = joined(executor)
    executor.order(worker, Orders(join=(spec(0, do="compile"),)))
    while not ended(0)(trained):
        trained += executor.poll(0.2)
    assert news == [(WorkerNews(worker, True), False), (WorkerNews(worker, False), False)]


def test_how_far_a_long_rung_is_is_told_before_it_is_over(executor: Executor) -> None:
    seen: list[WorkerNews | int] = []
    executor.watch(seen.append)
    worker = joined(executor)
    executor.order(worker, Orders(join=(spec(0, rungs=3, do="tell"),)))
    while 3 not in seen:
        seen += [report.rung for report in reports(executor.poll(0.2))]
    told = {rung: [WorkerNews(worker, False, 10 * rung + updates) for updates in (2, 4)] for rung in (1, 2)}
    assert [one for one in seen if isinstance(one, WorkerNews)] == [*told[1], *told[2]]
    assert [one for one in seen if isinstance(one, int)] == [1, 2, 3]
    # A worker is up to one rung ahead: of the second rung it may tell before the driver has polled the first.
    assert all(seen.index(told[rung][-1]) < seen.index(rung) for rung in told)


def test_a_withdrawn_row_trains_at_most_the_rung_that_was_handed_over(executor: Executor) -> None:
    worker = joined(executor)
    executor.order(worker, Orders(join=(spec(0, rungs=1000),)))
    events = wait_for(executor, lambda found: bool(reports(found)))
    seen = reports(events)[-1].rung
    executor.order(worker, Orders(leave=(Withdrawal(0, 0, "t0", keep_rung=seen),)))
    for _ in range(5):
        events += executor.poll(0.1)
    assert seen <= reports(events)[-1].rung <= seen + 1


def test_a_row_withdrawn_before_it_was_handed_over_never_trains(executor: Executor) -> None:
    worker = joined(executor)
    executor.order(worker, Orders(join=(spec(0), spec(1))))
    executor.order(worker, Orders(leave=(Withdrawal(0, 0, "t0"),)))
    events = wait_for(executor, ended(1))
    assert {r.trial for r in reports(events)} == {1}


def test_a_worker_is_at_most_one_rung_ahead_of_its_driver(executor: Executor, tmp_path: Path) -> None:
    worker = joined(executor)
    executor.order(worker, Orders(join=(spec(0, rungs=1000),)))
    rung = reports(wait_for(executor, lambda found: bool(reports(found))))[-1].rung
    time.sleep(0.5)  # the driver thinks; a rung takes a millisecond
    assert (tmp_path / "trace").read_text().count(" advance 0:") <= rung + 1


def test_a_failure_is_one_rows_own(executor: Executor) -> None:
    worker = joined(executor)
    executor.order(worker, Orders(join=(spec(0, do="fail@2"), spec(1))))
    events = wait_for(executor, ended(1))
    failures = [f for e in events if isinstance(e, RungTrained) for f in e.failures]
    assert [(f.trial, f.token, f.kind, f.reason) for f in failures] == [(0, "t0", "bug", "told to fail")]
    assert [r.rung for r in reports(events, 0)] == [1]
    assert [r.rung for r in reports(events, 1)] == [1, 2, 3]


def test_an_exception_that_escapes_loses_the_worker_with_its_reason(executor: Executor) -> None:
    worker = joined(executor)
    executor.order(worker, Orders(join=(spec(0, do="raise@2"),)))
    events = wait_for(executor, lambda found: any(isinstance(e, WorkerLost) for e in found))
    lost = next(e for e in events if isinstance(e, WorkerLost))
    assert lost.worker == worker
    assert "ValueError: told to raise" in lost.reason
    assert [r.rung for r in reports(events)] == [1]
    rest = events[events.index(lost) + 1 :]
    fresh = next((e for e in rest if isinstance(e, WorkerJoined)), None)
    new = fresh.info.worker if fresh else joined(executor)
    assert new != worker
    executor.order(new, Orders(join=(spec(0, rungs=1),)))
    assert reports(wait_for(executor, ended(0)))[-1].rung == 1


def test_orders_for_an_unknown_worker_are_ignored(executor: Executor) -> None:
    joined(executor)
    executor.order("nobody", Orders(join=(spec(0),)))
    assert executor.poll(0.2) == []


def test_poll_waits_no_longer_than_told(executor: Executor) -> None:
    joined(executor)
    before = time.monotonic()
    assert executor.poll(0.3) == []
    assert time.monotonic() - before < 2.0  # 0.3 s and a busy machine


def test_a_graceful_stop_ends_the_rung_and_closes_the_trainer(executor: Executor, tmp_path: Path) -> None:
    worker = joined(executor)
    executor.order(worker, Orders(join=(spec(0, rungs=1000, do="sleep"),)))
    wait_for(executor, lambda found: bool(reports(found)))
    executor.stop(graceful=True)
    executor.stop(graceful=True)
    lines = [line.split()[2] for line in (tmp_path / "trace").read_text().splitlines()]
    assert lines[-1] == "closed"
    assert lines.count("advance") == lines.count("done") <= 2
    executor.order(worker, Orders(join=(spec(1),)))
    assert len(reports(executor.poll(0.1))) <= 1
    assert executor.poll(0.1) == []
