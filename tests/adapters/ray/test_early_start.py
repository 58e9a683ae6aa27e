"""A start of Ray that goes on while the driver does other things, on doubles of Ray."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from rnnsweep.adapters.ray import cluster, early_start, executor
from rnnsweep.adapters.ray.cluster import RaySettings
from rnnsweep.adapters.ray.early_start import EarlyStart
from rnnsweep.adapters.ray.executor import RayExecutor
from rnnsweep.errors import ConfigError
from tests.kit.trainer import SimTrainer


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> Iterator[threading.Event]:
    """Ray comes up once this is set."""
    event = threading.Event()

    def connect(settings: RaySettings) -> bool:
        event.wait(10.0)
        calls.append("connected")
        return True

    monkeypatch.setattr(early_start, "connect", connect)
    monkeypatch.setattr(executor, "connect", lambda settings: pytest.fail("a second start"))
    monkeypatch.setattr(executor, "disconnect", lambda: calls.append("disconnected"))
    monkeypatch.setattr(RayExecutor, "_balance", lambda self: calls.append("workers"))
    yield event
    event.set()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "Ray's start"]


def build(**settings: object) -> RayExecutor:
    return RayExecutor(lambda worker, cores: SimTrainer(worker, {}), RaySettings(**settings))  # type: ignore[arg-type]


def test_ray_and_workers_start_while_others_work_and_the_start_waits_for_them(go, calls) -> None:
    made = build()
    made.connect()
    made.begin()
    assert calls == []
    go.set()
    made.start()
    assert calls == ["connected", "workers"]
    # the kernel ends Ray's processes with the thread that started them: it lives as long as they
    assert len(threads()) == 1
    made.stop(graceful=False)
    assert calls == ["connected", "workers", "disconnected"]
    assert threads() == []
    made.stop(graceful=False)
    assert calls.count("disconnected") == 1


def test_a_start_that_nobody_waited_for_is_undone(go, calls) -> None:
    made = build()
    made.connect()
    made.begin()
    threading.Timer(0.2, go.set).start()
    made.stop(graceful=False)
    assert calls[-1] == "disconnected"
    assert threads() == []


class Queue:
    """Stands for a worker's handle: notes what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    def call(self, what: str, now: float, *given: object) -> None:
        self.calls.append((what, given))


def test_workers_start_before_it_is_known_what_they_train(go, calls) -> None:
    go.set()
    made = RayExecutor(None, RaySettings())
    handle = made._handles["w"] = Queue()  # type: ignore[assignment]
    made.begin()
    made.begin()  # once only
    for _ in range(100):
        if "workers" in calls:
            break
        time.sleep(0.05)
    assert calls == ["connected", "workers"]
    assert handle.calls == []
    made.supply(lambda worker, cores: SimTrainer(worker, {}))
    made.start()
    assert [what for what, _ in handle.calls] == ["build"]
    assert calls == ["connected", "workers"]
    made._handles.clear()  # it is no actor that could be ended
    made.stop(graceful=False)
    assert threads() == []


def test_a_start_that_never_learns_what_to_train_is_undone(go, calls) -> None:
    go.set()
    made = RayExecutor(None, RaySettings())
    made.begin()
    made.stop(graceful=False)
    assert calls == ["connected", "workers", "disconnected"]
    assert threads() == []


def test_a_ray_that_lingers_ends_with_the_next_stop(go, calls) -> None:
    go.set()
    made = build()
    made.lingers = True
    made.begin()
    made.start()
    made.stop(graceful=True)
    assert calls == ["connected", "workers"]
    assert len(threads()) == 1
    made.stop(graceful=False)
    made.stop(graceful=True)
    assert calls == ["connected", "workers", "disconnected"]
    assert threads() == []


def test_nothing_starts_before_it_is_sure_to_be_needed_or_where_the_settings_are_refused(go, calls) -> None:
    go.set()
    build().connect()
    with pytest.raises(ConfigError, match="more cores than this machine has"):
        build(cores_per_worker=100_000).connect()
    assert threads() == []
    assert calls == []


def test_what_goes_wrong_is_raised_where_the_start_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(settings: RaySettings) -> bool:
        raise RuntimeError("no raylet")

    monkeypatch.setattr(early_start, "connect", refuse)
    early = EarlyStart(RaySettings(), lambda: None)
    with pytest.raises(RuntimeError, match="no raylet"):
        early.result()
    assert not early.wait()
    early.end()


@pytest.mark.parametrize("where", ["here", "in a thread"])
def test_handlers_that_a_library_has_replaced_beneath_python_come_back(where: str) -> None:
    """As Ray's core does, in C++: Python believes that its handler is still there."""
    heard: list[int] = []

    def replaced() -> None:
        put = cluster.ctypes.pythonapi.PyOS_setsig
        with cluster._handlers_kept():
            put(signal.SIGTERM, 1)  # SIG_IGN

    def run(work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        replaced() if where == "here" else run(replaced)
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
