"""A filled store behind a service, with three accounts of which two have a sweep; and one on an inline worker."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rnnsweep.adapters.ledger.access_tables import Account, AccountBook, AuditLog, Role, make_tables
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.app.config.load import load
from rnnsweep.app.provenance import sessions
from rnnsweep.app.run import wiring
from rnnsweep.app.stores import StorePlace, kept_open, place
from rnnsweep.service.access import Access
from rnnsweep.service.desk import Desk
from rnnsweep.service.front import QueueState, Submission
from rnnsweep.service.http import build_app
from rnnsweep.service.limits import Limits
from rnnsweep.service.service import Rules, Service
from rnnsweep.sweep.pool import Pool
from tests.app.conftest import fill
from tests.kit.small_front import SmallFront

OF_ADA, OF_BOB, OF_NOBODY = "ada-one", "bob-one", "quickstart"
GENEROUS = Limits(rate=1e6, burst=1e6, changes=1e6, changes_burst=1e6, wrong=1e6, wrong_burst=1e6, stream_s=0.2)


@dataclass
class Served:
    """A service as tests see it.

    Attributes:
        tokens: by user: ada and bob operate their own sweeps, eve reads ada's, root operates all.
    """

    front: SmallFront
    access: Access
    tokens: dict[str, str]

    def client(self, user: str = "", **settings: Any) -> TestClient:
        """A client with a user's token; without a user with none."""
        headers = {"Authorization": f"Bearer {self.tokens[user]}"} if user else {}
        settings = {"base_url": "http://127.0.0.1:8788", "follow_redirects": False, **settings}
        return TestClient(build_app(self.front, self.access), headers=headers, **settings)

    def audited(self) -> list[tuple[str, str, str, str]]:
        """User, path, outcome and detail of each entry."""
        keys = ("user", "path", "outcome", "detail")
        return [tuple(entry[key] for key in keys) for entry in self.access.audit.entries()]  # type: ignore[misc]


def make_served(store: Path, resources: ExitStack, limits: Limits = GENEROUS, **settings: Any) -> Served:
    front = SmallFront(store)
    ledger = resources.enter_context(kept_open(front.place))
    own = open_ledger(front.place.ledger)
    resources.callback(own.close)
    make_tables(own.database)
    book = AccountBook(own.database)
    people = (Account("ada"), Account("bob"), Account("eve", Role.READER), Account("root", Role.OPERATOR, True))
    for person in people:
        book.put(person)
    tokens = {person.user: book.issue(person.user) for person in people}
    front.add(OF_ADA, "ada")
    front.add(OF_BOB, "bob")
    del ledger
    return Served(front, Access(book, AuditLog(own.database), limits=limits, **settings), tokens)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("written") / "store"
    for name in (OF_ADA, OF_BOB, OF_NOBODY):
        fill(store, name)
    return store


@pytest.fixture
def filled(written: Path, tmp_path: Path) -> Path:
    """A store of three sweeps of its own for each test."""
    return Path(shutil.copytree(written, tmp_path / "store"))


@pytest.fixture
def served(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.chdir(tmp_path)
    with ExitStack() as resources:
        yield make_served(filled, resources)


@pytest.fixture
def ada(served: Served) -> TestClient:
    return served.client("ada")


# ------------------------------------------------------------------ on a pool

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
