"""SQLite files by URL; and those that a library owns and a mirror writes into: as expected or not, and transactions.

The mirrors do themselves only what their libraries would do value by value; the ledger has its own database.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote

from rnnsweep.errors import ConfigError

PATIENCE = 30.0
"""Seconds that another writer may take."""

Column = tuple[str, bool]
"""Name of a column, and whether it is in the primary key."""


_PREFIX = "sqlite:///"


def url_of(path: Path) -> str:
    """The URL of a SQLite file; what a URL would read as an escape or as the begin of options is quoted.

    Example:
        >>> url_of(Path("/data/a?b%41.db"))
        'sqlite:////data/a%3Fb%2541.db'
    """
    return f"{_PREFIX}{str(path).replace('%', '%25').replace('?', '%3F')}"


def path_of(url: str) -> Path | None:
    """The path of a SQLite file; None where the URL names another database or a server."""
    return Path(unquote(url.removeprefix(_PREFIX).partition("?")[0])) if url.startswith(_PREFIX) else None


def check_file(url: str, key: str) -> None:
    """Refuse what can never become a database: a directory, or a link to a place that does not exist.

    Raises:
        ConfigError: it is one, with the key that named it.
    """
    path = path_of(url)
    if path is None:
        return
    if path.is_dir():
        raise ConfigError("is a directory, no database", key=key, value=str(path), allowed="a file, or none yet")
    if path.is_symlink() and not path.parent.joinpath(path.readlink()).parent.is_dir():
        raise ConfigError("is a link into a directory that does not exist", key=key, value=str(path), allowed="a file")


def writers(path: Path) -> str:
    """Who besides us may write a database, in words; empty where nobody does. Root may everything, and is no stranger.

    Its log counts too: SQLite takes what stands there for newer than the file.
    """
    for file in (path, *(path.with_name(f"{path.name}-{part}") for part in ("wal", "journal"))):
        try:
            state = file.stat()
        except OSError:  # there is none
            continue
        if state.st_uid not in (0, os.geteuid()):
            return f"{file} belongs to user {state.st_uid}"
        if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"{file} is writable for others than its owner"
    return ""


def write_ahead(path: Path) -> None:
    """Switch the write-ahead log on, for good: readers and one writer do not wait for each other."""
    with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def known_file(url: str, tables: Sequence[str], expected: Callable[[str, set[Column]], bool]) -> Path | None:
    """The file at a URL; None where it is no SQLite file, its tables are not as expected, or triggers watch them.

    Args:
        url: of any database.
        tables: that are to be written.
        expected: says for a table, by name, whether its columns are those that the writer knows.
    """
    path = path_of(url)
    if path is None or not path.is_file():
        return None
    with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
        for table in tables:
            rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
            if not expected(table, {(name, bool(key)) for _, name, _, _, _, key in rows}):
                return None
        triggers = connection.execute("SELECT tbl_name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    return None if any(table in tables for (table,) in triggers) else path


@contextmanager
def transaction(path: Path, *pragmas: str) -> Iterator[sqlite3.Connection]:
    """A write transaction on a connection of its own, safe for threads: all or nothing, foreign keys checked.

    Args:
        path: of the file.
        pragmas: settings of the connection besides.

    Raises:
        sqlite3.Error: the file cannot be written, or a constraint is broken.
    """
    with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as connection:
        for pragma in ("foreign_keys=ON", *pragmas):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")  # closing without it rolls back
