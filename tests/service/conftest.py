"""A service over a filled store: three accounts, two of whom have a sweep."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rnnsweep.adapters.ledger.access_tables import Account, AccountBook, AuditLog, Role, make_tables
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.app.stores import kept_open
from rnnsweep.service.access import Access
from rnnsweep.service.http import build_app
from rnnsweep.service.limits import Limits
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
