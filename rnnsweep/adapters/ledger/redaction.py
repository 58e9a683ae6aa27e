"""Takes out of a ledger what older versions kept in clear: the passwords of URLs, in every row and in freed pages."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import sqlalchemy as sa

from rnnsweep.adapters.ledger import codec
from rnnsweep.adapters.ledger.database import Database, parse
from rnnsweep.adapters.ledger.schema import attempts, inbox, journal, sweeps, trials
from rnnsweep.adapters.ledger.secrets import hidden

_TABLES = (sweeps, trials, attempts, journal, inbox)
"""Tables with texts; a report holds numbers."""


def redact(url: str) -> int:
    """Hide the passwords of URLs in all rows of a ledger; of a SQLite file no byte keeps one.

    A server's own files keep what was overwritten until it vacuums: they are its administrator's.

    Returns:
        How many rows held one; mostly none, then nothing is written.

    Raises:
        StoreError: the ledger cannot be read or written, or others are in the file all the time.
    """
    with closing(Database(parse(url))) as database:
        if not database.read(_affected):
            return 0
        count = database.write(_rewrite)
        database.vacuum()
        return count


def holds_passwords(url: str) -> bool:
    """Whether a row of the ledger holds one that `redact` would take out.

    Raises:
        StoreError: the ledger cannot be read.
    """
    with closing(Database(parse(url))) as database:
        return bool(database.read(_affected))


def _affected(connection: sa.Connection) -> list[tuple[sa.Table, list[Any], str]]:
    """Rows with a password: table, primary key, and the text without it."""
    rows: list[tuple[sa.Table, list[Any], str]] = []
    for table in _TABLES:
        query = sa.select(*table.primary_key, table.c.data).where(table.c.data.contains("://"))
        for *key, text in connection.execute(query):
            try:
                data = codec.decode(text)
            except json.JSONDecodeError:  # damaged: `doctor` says so
                continue
            if hidden(data) != data:  # what was decoded has lists, no tuples, as `hidden` has
                rows.append((table, key, codec.encode(data)))
    return rows


def _rewrite(connection: sa.Connection) -> int:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON")  # zeros where the old text stood
    rows = _affected(connection)
    for table, key, text in rows:
        own = sa.and_(*(column == part for column, part in zip(table.primary_key, key, strict=True)))
        connection.execute(table.update().where(own).values(data=text))
    return len(rows)
