"""Locks that the operating system or the server drops when their holder dies."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from rnnsweep.adapters.ledger.database import Database
from rnnsweep.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows: only the deadline counts
    fcntl = None

_ADVISORY_CLASS = 0x726E6E73  # "rnns", so that other programs' advisory locks in the same database do not collide


class Guard(Protocol):
    """Held for a driver's lifetime; getting it says something about the one who had it.

    Attributes:
        decisive: getting the guard proves that its last holder is gone. Otherwise it is a hint only: the holder may
            just have lost its connection.
    """

    decisive: bool

    def take(self) -> bool:
        """Whether we have it now; never waits, may be called again."""
        ...

    def drop(self) -> None:
        """Give it back; harmless where we do not have it."""
        ...


class FileGuard:
    """`flock` on a file beside the database; the file stays, since removing it would race.

    SQLite in WAL mode works within one machine only, hence so does this, through containers and PID namespaces too.
    """

    decisive = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self) -> bool:
        """See `Guard.take`.

        Raises:
            StoreError: something that is no file of ours stands where the lock file belongs.
        """
        if fcntl is None:
            return False
        if self._file is not None:
            return True
        file = self._open()
        try:
            # flock and not lockf: POSIX locks go as soon as the process closes any descriptor of the file
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        self._file = file
        return True

    def _open(self) -> int:
        """The file, not inherited by children that exec; another user's can be locked by whoever may read it."""
        try:
            try:
                return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            except PermissionError:
                return os.open(self._path, os.O_RDONLY)
        except OSError as error:  # a directory, a link to nowhere, a file that may not be read
            raise StoreError("ledger", f"the lock file {self._path} cannot be opened: {error.strerror}") from None

    def drop(self) -> None:
        """See `Guard.drop`."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class AdvisoryGuard:
    """A PostgreSQL session lock on a connection of its own."""

    decisive = False

    def __init__(self, engine: sa.Engine, key: int) -> None:
        self._engine, self._key = engine, key
        self._connection: sa.Connection | None = None

    def take(self) -> bool:
        """See `Guard.take`; a connection that broke meanwhile is replaced."""
        try:
            if self._connection is not None:
                self._connection.execute(sa.select(1))
                return True
            return self._connect()
        except SQLAlchemyError:
            self.drop()
            return False

    def _connect(self) -> bool:
        # no transaction may stay open: the server would end the session for idling (see `_postgres_engine`)
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        if connection.execute(sa.select(sa.func.pg_try_advisory_lock(_ADVISORY_CLASS, self._key))).scalar():
            self._connection = connection
            return True
        connection.close()
        return False

    def drop(self) -> None:
        """See `Guard.drop`."""
        if self._connection is not None:
            # Said, where the session still listens: a server notices a closed one only when it looks.
            with suppress(SQLAlchemyError):
                self._connection.execute(sa.select(sa.func.pg_advisory_unlock(_ADVISORY_CLASS, self._key)))
            self._connection.invalidate()  # closes the session, and with it the lock, whatever its state
            self._connection.close()
            self._connection = None


def guard_for(database: Database, sweep: int) -> Guard:
    """The guard of one sweep."""
    if database.path is None:
        return AdvisoryGuard(database.engine, sweep)
    return FileGuard(database.path.with_name(f"{database.path.name}.lock-{sweep}"))
