"""The queue of a service, in a table of its own beside the ledger's: a ledger without a service has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from rnnsweep.adapters.ledger import codec
from rnnsweep.adapters.ledger.database import Database
from rnnsweep.adapters.ledger.schema import insert

_CREATION_LOCK = 0x726E6E73_00000001  # advisory lock of whoever makes the table

_metadata = sa.MetaData()

_queue = sa.Table(
    "ledger_queue",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("data", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True)
class QueueEntry:
    """A line of the queue.

    Attributes:
        name: the sweep's. state: see `rnnsweep.service.front.QueueState`.
        user, weight, priority: see `rnnsweep.service.front.Submission`.
        submitted: seconds since the epoch.
        reason: why it waits or has ended, one line.
        overrides: of ``budget.*``, for the session that comes.
        reopen: which finished trials that session lets go on: fields of `rnnsweep.sweep.rebuild.Reopen`.
        wish: ``stop`` or ``pause`` where somebody wants a running one to end, ``again`` where it is to go on as
            soon as it has; empty otherwise.
    """

    name: str
    state: str
    user: str = ""
    weight: float = 1.0
    priority: int = 0
    submitted: float = 0.0
    reason: str = ""
    overrides: tuple[str, ...] = ()
    reopen: Mapping[str, Any] = field(default_factory=dict)
    wish: str = ""


class SweepQueue:
    """Lines of the queue, in the order of submission; safe for threads and processes."""

    def __init__(self, database: Database) -> None:
        """Make the table where there is none.

        Raises:
            StoreError: the database refuses, or is away.
        """
        self._database = database
        if not database.read(lambda c: sa.inspect(c).has_table(_queue.name)):
            database.write(_create)

    def entries(self) -> list[QueueEntry]:
        """All lines."""
        query = sa.select(_queue.c.name, _queue.c.data).order_by(_queue.c.id)
        rows = self._database.read(lambda c: c.execute(query).all())
        return [_decoded(name, data) for name, data in rows]

    def get(self, name: str) -> QueueEntry | None:
        """One line, or None."""
        return self._database.read(lambda c: _get(c, name))

    def put(self, entry: QueueEntry) -> None:
        """Add a line, or replace the one of this name where it stands."""
        self._database.write(lambda c: _put(c, entry))

    def change(self, name: str, alter: Callable[[QueueEntry], QueueEntry]) -> QueueEntry | None:
        """Alter a line as it is now, in one transaction; None where there is none."""

        def work(connection: sa.Connection) -> QueueEntry | None:
            entry = _get(connection, name, lock=True)
            if entry is None:
                return None
            changed = alter(entry)
            if changed != entry:
                _put(connection, changed)
            return changed

        return self._database.write(work)


def _create(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
    _metadata.create_all(connection, checkfirst=True)


def _get(connection: sa.Connection, name: str, *, lock: bool = False) -> QueueEntry | None:
    query = sa.select(_queue.c.data).where(_queue.c.name == name)
    data = connection.execute(query.with_for_update() if lock else query).scalar()
    return None if data is None else _decoded(name, data)


def _put(connection: sa.Connection, entry: QueueEntry) -> None:
    data = codec.encode({key: value for key, value in asdict(entry).items() if key != "name"})
    statement = insert(connection, _queue).values(name=entry.name, data=data)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"data": data}))


def _decoded(name: str, data: str) -> QueueEntry:
    fields: dict[str, Any] = codec.decode(data)
    return replace(QueueEntry(name, **{**fields, "overrides": tuple(fields.get("overrides", ()))}))
