"""One database, SQLite or PostgreSQL, with transactions that wait, retry and never show a password."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from rnnsweep.adapters.ledger.secrets import secret_words, without_secrets
from rnnsweep.adapters.postgres import require_driver
from rnnsweep.errors import ConfigError, StoreError

PATIENCE = 60.0
"""Seconds that a transaction keeps trying while the database is locked by others or away."""

_ALLOWED = "sqlite:///path/to/ledger.db or postgresql://user@host:port/database"
_LOG_HEAD, _LOG_MAGIC = 32, 0x377F0682  # of SQLite's write-ahead log, see its file format, section 4.1
_SQLITE_BUSY = frozenset({5, 6})  # SQLITE_BUSY, SQLITE_LOCKED
_POSTGRES_BUSY = frozenset({"55P03", "40001", "40P01", "25P03"})  # lock timeout, serialisation, deadlock, idle abort
_POSTGRES_AWAY = frozenset({"57P01", "57P02", "57P03"})  # shutting down, crashed, starting up

_Result = TypeVar("_Result")


class BusyError(StoreError):
    """The database stayed locked by somebody else for longer than we were ready to wait."""


def parse(url: str) -> URL:
    """The URL with its driver chosen.

    Raises:
        ConfigError: not a SQLite file or PostgreSQL URL. The message shows no password.
    """
    # greedy, up to the last @: a text that is no URL may hold a password as well
    harmless = without_secrets(url) if "://" in url else re.sub(r"^.*@", "***@", url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise ConfigError("not a database URL", key="store.ledger", value=harmless, allowed=_ALLOWED) from None
    backend = parsed.get_backend_name()
    if backend in ("postgresql", "postgres"):
        if url.count("@") > 1 or re.search(r"\?\w+=.*@", url):  # the parser would take part of a password for the host
            allowed = f"{_ALLOWED}; an @ in a password is written %40"
            raise ConfigError("where the host begins is not clear", key="store.ledger", value=harmless, allowed=allowed)
        require_driver(url, "store.ledger")
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigError("unknown kind of database", key="store.ledger", value=harmless, allowed=_ALLOWED)
    if parsed.database in (None, "", ":memory:"):
        raise ConfigError("the ledger must survive its process", key="store.ledger", value=harmless, allowed=_ALLOWED)
    return parsed


def display(url: URL) -> str:
    """The URL without user, password and options, for messages."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"
    return f"postgresql://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"


class Database:
    """Transactions on one database; safe for threads.

    SQLite: WAL with ``synchronous=FULL`` (a commit is on the disk when it returns; NORMAL would lose the last ones in
    a power cut), ``BEGIN IMMEDIATE`` for writes. PostgreSQL: READ COMMITTED, ``synchronous_commit`` never off; a
    session that stops in the middle of a transaction (SIGSTOP) is ended by the server, so that its row locks go.

    Attributes:
        path: the SQLite file, or None.
        display_url: the URL for messages.
    """

    def __init__(self, url: URL, patience: float = PATIENCE) -> None:
        self.path = Path(url.database).absolute() if url.get_backend_name() == "sqlite" and url.database else None
        self.display_url = display(url)
        self._secrets = secret_words(url)
        self._patience = patience
        self._reached = False
        # SQLite lets one writer in at a time and others sleep and poll; threads of ours queue here instead
        self._gate = threading.RLock()
        self.engine = _sqlite_engine(self.path) if self.path else _postgres_engine(url)

    def __repr__(self) -> str:
        return f"Database({self.display_url})"

    def close(self) -> None:
        """Release all connections."""
        self.engine.dispose()

    def read(self, work: Callable[[sa.Connection], _Result]) -> _Result:
        """Run `work` in a transaction that sees one state of the database."""
        return self._insist(lambda: self._once(work, "BEGIN"), self._patience)

    def write(self, work: Callable[[sa.Connection], _Result], patience: float | None = None) -> _Result:
        """Run `work` in a transaction that is durable when this returns.

        `work` runs again where the database was locked or its server went away: it must be repeatable, even after a
        commit whose confirmation was lost.

        Raises:
            BusyError: locked by others for longer than `patience` (default: this database's).
            StoreError: everything else that the database refuses.
        """
        if self.path is None:
            return self._insist(lambda: self._once(work, "BEGIN IMMEDIATE"), patience)
        with self._gate:
            return self._insist(lambda: self._once(work, "BEGIN IMMEDIATE"), patience)

    def use_wal(self) -> None:
        """Make the SQLite file a WAL database, for good; needs to be alone with it for a moment, and waits for that."""
        if self.path is not None:
            self._insist(lambda: self._once(lambda c: c.exec_driver_sql("PRAGMA journal_mode=WAL"), ""), None)

    def make_private(self) -> None:
        """Make the SQLite file, where there is none, for its owner's eyes only: a config may hold a store's URL.

        What SQLite puts beside it gets the same mode.
        """
        if self.path is not None and not self.path.exists():
            with contextlib.suppress(OSError):  # somebody was faster; or SQLite will say what is wrong
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    def checkpoint(self) -> None:
        """Copy what SQLite's write-ahead log holds into the file itself, as far as nobody else reads; never waits.

        The file alone is then all there is: a log that is lost or damaged later loses nothing.
        """
        if self.path is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._once(lambda c: c.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)"), "")

    def vacuum(self) -> None:
        """Write a SQLite file anew without freed pages, and empty its log: what was deleted is in neither.

        Raises:
            BusyError: others are in the file all the time.
        """
        if self.path is None:
            return
        self._insist(lambda: self._once(lambda c: c.exec_driver_sql("VACUUM"), ""), None)
        busy, *_ = self._insist(
            lambda: self._once(lambda c: c.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one(), ""), None
        )
        if busy:
            hint = "its log may still hold what was removed; 'rnnsweep doctor --repair' while nothing runs empties it"
            raise BusyError("ledger", f"{self.display_url}: {hint}")

    def check_log(self) -> None:
        """Refuse a write-ahead log whose head is damaged: SQLite would take it for empty and write over it.

        Raises:
            StoreError: it is; nothing was changed.
        """
        log = self.path and self.path.with_name(f"{self.path.name}-wal")
        if log is None or not log.is_file():
            return
        with log.open("rb") as file:
            head = file.read(_LOG_HEAD)
        if not _sound(head):
            reason = f"the head of its write-ahead log {log} is damaged, and with it the newest commits are lost"
            hint = "nothing was changed; keep a copy of both files, then remove the log to go on with what is left"
            raise StoreError("ledger", f"{self.display_url}: {reason}; {hint}")

    def _once(self, work: Callable[[sa.Connection], _Result], begin: str) -> _Result:
        with self.engine.connect() as connection:
            # a server that was never reached is a wrong URL, which is said at once and not waited for
            self._reached = True
            with connection.execution_options(begin=begin).begin():
                return work(connection)

    def _insist(self, once: Callable[[], _Result], patience: float | None) -> _Result:
        deadline = time.monotonic() + (self._patience if patience is None else patience)
        while True:
            try:
                return once()
            except SQLAlchemyError as error:
                busy, away = _busy(error), self._reached and _away(error)
                if not (busy or away) or time.monotonic() >= deadline:
                    raise self._translated(error, busy) from None  # the original shows SQL and its parameters
                # SQLite has waited in its busy handler already; a short nap lets Ctrl-C through
                time.sleep(0.01 if busy else 0.5)

    def _translated(self, error: SQLAlchemyError, busy: bool) -> StoreError:
        cause = error.orig if isinstance(error, DBAPIError) else None
        text = " ".join(str(cause or error).split())
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return (BusyError if busy else StoreError)("ledger", f"{self.display_url}: {text}")


def _sound(head: bytes) -> bool:
    """Whether this is the head of a write-ahead log by its magic number and checksum; a log that is empty is sound."""
    if len(head) < _LOG_HEAD:
        return True
    (magic,) = struct.unpack(">I", head[:4])
    if magic & ~1 != _LOG_MAGIC:
        return False
    words = struct.unpack((">" if magic & 1 else "<") + "6I", head[:24])
    one = two = 0
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return struct.unpack(">2I", head[24:32]) == (one, two)


def _busy(error: SQLAlchemyError) -> bool:
    cause = error.orig if isinstance(error, DBAPIError) else None
    if getattr(cause, "sqlite_errorcode", 0) & 0xFF in _SQLITE_BUSY:
        return True
    return getattr(cause, "sqlstate", None) in _POSTGRES_BUSY


def _away(error: SQLAlchemyError) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", "none")
    return error.connection_invalidated or state in _POSTGRES_AWAY or state is None  # None: no answer at all


def _sqlite_engine(path: Path) -> sa.Engine:
    engine = sa.create_engine(URL.create("sqlite", database=str(path)), **_read_only(path))

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, record: object) -> None:
        del record
        connection.isolation_level = None  # transactions are ours, see `_begin`
        for pragma in ("busy_timeout=1000", "synchronous=FULL", "fullfsync=1", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        statement = connection.get_execution_options().get("begin", "BEGIN")
        if statement:  # empty for what SQLite refuses inside a transaction
            connection.exec_driver_sql(statement)

    return engine


def _read_only(path: Path) -> dict[str, Any]:
    """How to open a database that was closed cleanly and lies where nothing can be written: as one that never changes.

    SQLite would make its shared memory beside the file, even to read. What still has a write-ahead log is not opened
    so: its newest entries would be missing without a word.
    """
    log = path.with_name(f"{path.name}-wal")
    if not path.is_file() or os.access(path.parent, os.W_OK) or (log.exists() and log.stat().st_size):
        return {}
    uri = f"file:{quote(str(path))}?mode=ro&immutable=1"
    return {"creator": lambda: sqlite3.connect(uri, uri=True, check_same_thread=False)}


def _postgres_engine(url: URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"connect_timeout": 10}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, record: object) -> None:
        del record
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '1s'")  # then we retry, and Ctrl-C gets through
            cursor.execute("SET idle_in_transaction_session_timeout = '10s'")
            cursor.execute("SHOW synchronous_commit")
            if cursor.fetchone() == ("off",):
                cursor.execute("SET synchronous_commit = 'on'")
        connection.commit()

    return engine
