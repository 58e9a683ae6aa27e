"""The ledger in a SQLite file or a PostgreSQL database."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from rnnsweep.adapters.ledger import codec, schema
from rnnsweep.adapters.ledger.codec import WriteBatch
from rnnsweep.adapters.ledger.database import PATIENCE, Database, parse
from rnnsweep.adapters.ledger.lock import DEADLINE, SweepLocks
from rnnsweep.adapters.ledger.schema import attempts, cursors, inbox, journal, locks, reports, sweeps, trials, verdicts
from rnnsweep.errors import ConfigError, StoreError
from rnnsweep.sweep.ports import AttemptView, Change, SweepView, TrialView, Write
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.verdicts import END, PRUNE

_CREATION_LOCK = 0x726E6E73_00000000  # advisory lock of whoever makes the tables

_Query = sa.Select[*tuple[Any, ...]]
_Record = sa.Row[*tuple[Any, ...]]


class SqlLedger:
    """`rnnsweep.sweep.ports.Ledger` in SQL; safe for threads.

    What the protocol leaves open:
        - Reads of a sweep that does not exist are empty; writes raise `StoreError`.
        - After `release` the token is refused like one that was taken over.
        - A journal entry of kind ``sweep`` carries the config of today, not that of its time; entries of kinds
          ``sweep`` and ``trial`` fit the views: ``TrialView(**change.data)``.
        - Tuples within a config come back as lists.

    Attributes:
        database: connections and retries.
    """

    def __init__(self, database: Database, deadline: float = DEADLINE, now: Callable[[], float] = time.time) -> None:
        self.database = database
        self._locks = SweepLocks(database, deadline)
        self._now = now
        self._ids: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"SqlLedger({self.database.display_url})"

    def close(self) -> None:
        """Release connections, and with them what guards our locks: `release` first."""
        self._locks.close()
        self.database.close()

    # ------------------------------------------------------------------ sweeps

    def sweeps(self) -> list[SweepView]:
        """All sweeps, oldest first."""
        query = sa.select(sweeps.c.name, sweeps.c.data).order_by(sweeps.c.id)
        rows = self.database.read(lambda c: c.execute(query).all())
        with self._damage_told():
            return [SweepView(**codec.sweep_fields(data, name)) for name, data in rows]

    def sweep(self, name: str) -> SweepView | None:
        """One sweep, or None."""
        query = sa.select(sweeps.c.data).where(sweeps.c.name == name)
        data = self.database.read(lambda c: c.execute(query).scalar())
        with self._damage_told():
            return None if data is None else SweepView(**codec.sweep_fields(data, name))

    def create(self, view: SweepView) -> None:
        """Add a sweep.

        Raises:
            ConfigError: the name is taken.
        """
        data = codec.encode_sweep(view)

        def work(connection: sa.Connection) -> bool:
            known = sa.select(sweeps.c.data).where(sweeps.c.name == view.name)
            if connection.execute(known).scalar() is not None:
                return False
            try:
                # a savepoint: PostgreSQL refuses everything after an error in a transaction until it is rolled back
                with connection.begin_nested():
                    key = connection.execute(sweeps.insert().values(name=view.name, data=data)).inserted_primary_key
            except IntegrityError:  # another process was faster
                return False
            assert key is not None
            # the lock's row is there from the start, so that acquiring is always an update of a row that can be
            # locked
            row = {"sweep": key[0], "fence": 0, "beat": 0, "guarded": False, "renewed_at": 0.0}
            connection.execute(locks.insert().values(row))
            return True

        if not self.database.write(work):
            hint = f"`rnnsweep resume {view.name}` goes on with it; `name=...` makes a new one."
            raise ConfigError("the store has a sweep of this name", key="name", value=view.name, hint=hint)

    # ------------------------------------------------------------------ the driver's side

    def acquire(self, name: str, holder: str, timeout: float) -> int:
        """Take the sweep's lock; see `lock` for how long that takes.

        Raises:
            LockedError: another driver holds it.
        """
        return self._locks.acquire(self._known(name), name, holder, timeout)

    def driven(self, name: str) -> bool:
        """Whether a living driver seems to hold the sweep; only looks."""
        return self._locks.held(self._id(name))

    def renew(self, name: str, fence: int) -> None:
        """Heartbeat, every second.

        Raises:
            FencedError: the token is not the newest.
        """
        self._locks.renew(self._known(name), name, fence)

    def release(self, name: str, fence: int) -> None:
        """Give the lock back; nothing happens where it is another's by now."""
        self._locks.release(self._known(name), fence)
        self.database.checkpoint()

    def commit(self, name: str, fence: int, writes: Sequence[Write]) -> None:
        """Apply all writes in one durable transaction.

        Raises:
            FencedError: the token is not the newest; nothing was written.
            StoreError: the database refuses, or was locked or away for longer than its patience.
        """
        sweep = self._known(name)
        # encoded outside: the transaction holds the lock's row, and a repeated `work` must write the same
        batch = WriteBatch(sweep, writes, self._now())

        def work(connection: sa.Connection) -> None:
            self._locks.check(connection, sweep, name, fence)
            batch.apply(connection)

        self.database.write(work)

    def take_requests(self, name: str, fence: int) -> list[tuple[str, Mapping[str, Any]]]:
        """Requests since the last call, oldest first, each returned once."""
        sweep, call = self._known(name), uuid.uuid4().hex
        waiting = inbox.update().where(inbox.c.sweep == sweep, inbox.c.taken.is_(None)).values(taken=call)
        taken = sa.select(inbox.c.request, inbox.c.data).where(inbox.c.sweep == sweep, inbox.c.taken == call)

        def work(connection: sa.Connection) -> Sequence[_Record]:
            # a repetition after a lost confirmation finds what it took: `call` is the same
            self._locks.check(connection, sweep, name, fence)
            connection.execute(waiting)
            return connection.execute(taken.order_by(inbox.c.id)).all()

        rows = self.database.write(work)
        with self._damage_told():
            return [(row.request, codec.decode(row.data)) for row in rows]

    def requests_wait(self, name: str) -> bool:
        """Whether there are requests that no driver has taken; only looks."""
        query = sa.select(inbox.c.id).where(inbox.c.sweep == self._id(name), inbox.c.taken.is_(None))
        return bool(self._rows(query.limit(1)))

    def taken_requests(self, name: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Requests that were taken in the past, oldest first."""
        query = sa.select(inbox.c.request, inbox.c.data).where(inbox.c.sweep == self._id(name))
        rows = self._rows(query.where(inbox.c.taken.is_not(None)).order_by(inbox.c.id))
        with self._damage_told():
            return [(row.request, codec.decode(row.data)) for row in rows]

    # ------------------------------------------------------------------ reads

    def trials(self, name: str) -> list[TrialView]:
        """All trials by number."""
        query = sa.select(trials.c.data).where(trials.c.sweep == self._id(name)).order_by(trials.c.number)
        rows = self._rows(query)
        with self._damage_told():
            return [TrialView(**codec.trial_fields(data)) for (data,) in rows]

    def attempts(self, name: str, trial: int | None = None) -> list[AttemptView]:
        """Attempts by trial and number."""
        query = sa.select(attempts.c.data).where(attempts.c.sweep == self._id(name))
        query = _of(query, attempts, trial).order_by(attempts.c.trial, attempts.c.number)
        rows = self._rows(query)
        with self._damage_told():
            return [codec.decode_attempt(data) for (data,) in rows]

    def reports(self, name: str, trial: int | None = None) -> list[RowReport]:
        """Row reports by trial, rung, replica; none beyond the rung at which its trial was pruned or ended."""
        sweep, t = self._id(name), reports.c
        # one replica may have been a rung ahead of the others when a user ended their trial before that rung
        rung = verdicts.c.rung - sa.case((verdicts.c.verdict == END, 1), else_=0)
        last = sa.select(verdicts.c.trial, sa.func.min(rung).label("rung"))
        last = last.where(verdicts.c.sweep == sweep, verdicts.c.verdict.in_((PRUNE, END))).group_by(verdicts.c.trial)
        ends = last.subquery()
        query = sa.select(t.trial, t.replica, t.rung, t.step, t.data).outerjoin_from(
            reports, ends, ends.c.trial == t.trial
        )
        query = query.where(t.sweep == sweep, sa.or_(ends.c.rung.is_(None), t.rung <= ends.c.rung))
        query = _of(query, reports, trial).order_by(t.trial, t.rung, t.replica)
        rows = self._rows(query)
        with self._damage_told():
            return [codec.decode_report(*row) for row in rows]

    def verdicts(self, name: str, trial: int | None = None) -> list[tuple[int, int, str]]:
        """(trial, rung, verdict) in the order they were taken."""
        t = verdicts.c
        query = sa.select(t.trial, t.rung, t.verdict).where(t.sweep == self._id(name))
        rows = self._rows(_of(query, verdicts, trial).order_by(t.id))
        return [(row.trial, abs(row.rung), row.verdict) for row in rows]  # see `codec.verdict_row`

    # ------------------------------------------------------------------ mirrors and requests

    def changes(self, name: str, after: int, limit: int = 1000, trial: int | None = None) -> list[Change]:
        """Journal entries with seq > after, of one trial where it is named, in order."""
        t = journal.c
        query = sa.select(t.seq, t.kind, t.trial, t.rung, t.at, t.data).where(t.sweep == self._id(name), t.seq > after)
        rows = self._rows(_of(query, journal, trial).order_by(t.seq).limit(limit))
        today = self.sweep(name) if any(row.kind == "sweep" for row in rows) else None
        with self._damage_told():
            return [codec.change(row, today) for row in rows]

    def newest(self, name: str) -> int:
        """Number of the journal's last entry; 0 while there is none."""
        query = sa.select(sa.func.max(journal.c.seq)).where(journal.c.sweep == self._id(name))
        return self.database.read(lambda c: c.execute(query).scalar()) or 0

    def newest_rungs(self, name: str) -> list[Change]:
        """Each trial's newest entry of kind ``rung``, by trial."""
        t, sweep = journal.c, self._id(name)
        newest = sa.select(t.trial, sa.func.max(t.rung).label("rung"))
        last = newest.where(t.sweep == sweep, t.rung.is_not(None)).group_by(t.trial).subquery()
        query = sa.select(t.seq, t.kind, t.trial, t.rung, t.at, t.data).where(t.sweep == sweep)
        query = query.join(last, sa.and_(t.trial == last.c.trial, t.rung == last.c.rung))
        rows = self._rows(query.order_by(t.trial))
        with self._damage_told():
            return [codec.change(row, None) for row in rows]

    def cursor(self, name: str, mirror: str) -> int:
        """The last journal entry that `mirror` has written; 0 at first."""
        rows = self._rows(sa.select(cursors.c.seq).where(cursors.c.sweep == self._id(name), cursors.c.mirror == mirror))
        return rows[0].seq if rows else 0

    def set_cursor(self, name: str, mirror: str, seq: int) -> None:
        """Remember how far a mirror is; 0 makes it begin again."""
        row = {"sweep": self._known(name), "mirror": mirror, "seq": seq}

        def work(connection: sa.Connection) -> None:
            statement = schema.insert(connection, cursors).values(row)
            connection.execute(statement.on_conflict_do_update(index_elements=["sweep", "mirror"], set_={"seq": seq}))

        self.database.write(work)

    def skip(self, name: str, mirror: str, change: Change, reason: str) -> None:
        """Note in the journal that `mirror` cannot take an entry; a second time changes nothing."""
        sweep, data = self._known(name), codec.encode({"mirror": mirror, "seq": change.seq, "reason": reason})
        row = {"sweep": sweep, "kind": "skipped", "trial": change.trial, "at": self._now(), "data": data}

        def work(connection: sa.Connection) -> None:
            if change.seq not in _skipped(connection.execute(_skips(sweep)).scalars(), mirror):
                connection.execute(journal.insert().values(row))

        self.database.write(work)

    def skipped(self, name: str, mirror: str) -> Mapping[int, str]:
        """Entries that `mirror` could not take: seq -> reason."""
        rows = self._rows(_skips(self._id(name)))
        with self._damage_told():
            return _skipped([data for (data,) in rows], mirror)

    def post(self, name: str, request: str, data: Mapping[str, Any] | None = None) -> None:
        """Leave a request for the driver that holds the sweep; a ``stop`` names its fence. Needs no lock."""
        sweep, given = self._known(name), dict(data or {})
        fence = sa.select(locks.c.fence).where(locks.c.sweep == sweep)

        def work(connection: sa.Connection) -> None:
            meant = {"fence": connection.execute(fence).scalar()} if request == "stop" else {}
            row = {"sweep": sweep, "request": request, "data": codec.encode(given | meant)}
            connection.execute(inbox.insert().values(row))

        self.database.write(work)

    # ------------------------------------------------------------------ inside

    def _damage_told(self) -> AbstractContextManager[None]:
        return codec.damage_told(self.database.display_url)

    def _rows(self, query: _Query) -> Sequence[_Record]:
        return self.database.read(lambda c: c.execute(query).all())

    def _id(self, name: str) -> int:
        """The sweep's key, -1 where there is none; sweeps are never deleted or renamed, so it is remembered."""
        if name not in self._ids:
            rows = self._rows(sa.select(sweeps.c.id).where(sweeps.c.name == name))
            if not rows:
                return -1
            self._ids[name] = rows[0].id
        return self._ids[name]

    def _known(self, name: str) -> int:
        key = self._id(name)
        if key < 0:
            raise StoreError("ledger", f"{self.database.display_url} has no sweep '{name}'")
        return key


def _skips(sweep: int) -> _Query:
    return sa.select(journal.c.data).where(journal.c.sweep == sweep, journal.c.kind == "skipped")


def _skipped(texts: Iterable[str], mirror: str) -> dict[int, str]:
    entries = map(codec.decode, texts)
    return {entry["seq"]: entry["reason"] for entry in entries if entry["mirror"] == mirror}


def _of(query: _Query, table: sa.Table, trial: int | None) -> _Query:
    return query if trial is None else query.where(table.c.trial == trial)


def open_ledger(url: str, *, create: bool = True, deadline: float = DEADLINE, patience: float = PATIENCE) -> SqlLedger:
    """Open the ledger at `url`, and make its tables where there are none.

    Several processes may do so at once.

    Args:
        url: ``sqlite:///path`` (its folder is made) or ``postgresql://user:password@host:port/database``.
        create: False for commands that only look: a ledger that does not exist is an error then.
        deadline: seconds without a heartbeat after which a driver counts as gone; the same for all of a sweep.
        patience: seconds that each transaction waits for a database that is locked or away.

    Raises:
        ConfigError: not a usable URL.
        StoreError: the database cannot be reached, is none, lacks a table or has another schema version; or none is
            there yet and `create` is False.
    """
    database = Database(parse(url), patience)
    try:
        _prepare(database, create)
    # Ctrl-C too: an open connection would keep SQLite's files busy
    except BaseException:
        database.close()
        raise
    return SqlLedger(database, deadline)


def _prepare(database: Database, create: bool) -> None:
    if database.path is not None:
        if not create and not database.path.is_file():
            raise StoreError("ledger", f"there is none at {database.display_url}")
        try:
            database.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError("ledger", f"{database.display_url}: {error.strerror}") from None
        # before the first connection: SQLite would overwrite a damaged log when it opens the file
        database.check_log()
        if create:
            database.make_private()
    version = database.read(schema.found_version)
    if version is None:
        if not create:
            raise StoreError("ledger", f"there is none at {database.display_url}")
        # before the tables: the mode can be changed only while nobody else is in the file
        database.use_wal()
        version = database.write(_create)
    _check(database, version)


def _check(database: Database, version: int) -> None:
    if version != schema.VERSION:
        age = "a newer" if version > schema.VERSION else "an older"
        reason = f"has schema version {version}, written by {age} rnnsweep; this one reads version {schema.VERSION}"
        raise StoreError("ledger", f"{database.display_url} {reason}")
    # now, and not when a driver has begun: it would wait for it as for a database that is away
    missing = database.read(schema.missing_tables)
    if missing:
        reason = f"is damaged: no such table: {', '.join(missing)}; a copy of the file from before helps"
        raise StoreError("ledger", f"{database.display_url} {reason}")


def _create(connection: sa.Connection) -> int:
    if connection.dialect.name == "postgresql":  # SQLite lets one writer in at a time anyway
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
    version = schema.found_version(connection)
    if version is None:
        schema.create_all(connection)
        version = schema.VERSION
    return version
