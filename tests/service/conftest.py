"""A store, a desk for it, and a service on a pool of one inline worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.app.provenance import sessions
from rnnsweep.app.run import wiring
from rnnsweep.app.stores import StorePlace, place
from rnnsweep.service.desk import Desk
from rnnsweep.service.front import QueueState, Submission
from rnnsweep.service.service import Rules, Service
from rnnsweep.sweep.pool import Pool

SMALL = (
    *("task.length=12", "family.hidden=6", "training.batch=4", "training.report_every=10", "training.eval_size=20"),
    *("training.stop_solved=false", "budget.trials=3", "budget.updates=30", "sampler=random", "replicas=2"),
    *("tracker=none", "store.optuna=none"),
)
LONG = "budget.updates=100000"


def submission(name: str, *more: str, **wishes: object) -> Submission:
    return Submission("search", (f"name={name}", *SMALL, *more), **wishes)  # type: ignore[arg-type]


@pytest.fixture
def where(tmp_path: Path) -> StorePlace:
    return place(tmp_path / "store")


@pytest.fixture
def desk(where: StorePlace) -> Iterator[Desk]:
    made = Desk(where)
    yield made
    made.close()


@contextmanager
def serving(where: StorePlace, rules: Rules | None = None) -> Iterator[Service]:
    """A service in a thread; what it raises is raised here."""
    base = load(None, ["cluster=inline", "cluster.rows=16"], store=where.root)
    service = Service(where, Pool(wiring.executor(base, sessions.first(base))), rules)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            service.run()
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield service
    finally:
        service.interrupt()
        thread.join(60)
        service.close()
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def state(desk: Desk, name: str) -> QueueState:
    return next(one.state for one in desk.queue() if one.name == name)


def ended(desk: Desk, *names: str) -> Callable[[], bool]:
    return lambda: all(state(desk, name) is QueueState.ENDED for name in names)


def trained(desk: Desk, name: str) -> Callable[[], bool]:
    return lambda: bool(desk.ledger.reports(name))
