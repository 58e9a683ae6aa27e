"""Tables of the ledger, and their race-safe creation.

What is searched, sorted or unique is a column; the rest of a view is one JSON text (`codec`), so that a new field with
a default is no new schema. Table names start with ``ledger_`` because Optuna and MLflow have tables called ``trials``
and ``metrics``, and users do put everything into one database.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

VERSION = 1
"""Raised whenever an older rnnsweep could misread or damage what a newer one wrote."""

metadata = sa.MetaData()

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts up only plain INTEGER keys


def _sweep_key() -> sa.Column[int]:
    return sa.Column("sweep", sa.Integer, sa.ForeignKey("ledger_sweeps.id"), nullable=False)


schema = sa.Table(
    "ledger_schema",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
)

sweeps = sa.Table(
    "ledger_sweeps",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("data", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

trials = sa.Table(
    "ledger_trials",
    metadata,
    _sweep_key(),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("sweep", "number"),
)

attempts = sa.Table(
    "ledger_attempts",
    metadata,
    _sweep_key(),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("sweep", "trial", "number"),
)

reports = sa.Table(
    "ledger_reports",
    metadata,
    _sweep_key(),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("rung", sa.Integer, nullable=False),
    sa.Column("replica", sa.Integer, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("sweep", "trial", "rung", "replica"),
)

verdicts = sa.Table(
    "ledger_verdicts",
    metadata,
    sa.Column("id", _BIG_ID, primary_key=True),
    _sweep_key(),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("rung", sa.Integer, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.UniqueConstraint("sweep", "trial", "rung"),
    sqlite_autoincrement=True,
)

journal = sa.Table(
    "ledger_journal",
    metadata,
    sa.Column("seq", _BIG_ID, primary_key=True),
    _sweep_key(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("trial", sa.Integer),
    sa.Column("rung", sa.Integer),  # set for kind "rung" only; NULLs never collide, so the others are unrestricted
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.UniqueConstraint("sweep", "trial", "rung"),
    sa.Index("ledger_journal_tail", "sweep", "seq"),
    sqlite_autoincrement=True,
)
"""Append-only. It is also the table of trial-level rungs: each exists once, and never without its entry here."""

cursors = sa.Table(
    "ledger_cursors",
    metadata,
    _sweep_key(),
    sa.Column("mirror", sa.Text, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("sweep", "mirror"),
)

inbox = sa.Table(
    "ledger_inbox",
    metadata,
    sa.Column("id", _BIG_ID, primary_key=True),
    _sweep_key(),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("taken", sa.Text),  # the call that took it; NULL = waiting
    sa.Index("ledger_inbox_waiting", "sweep", "taken"),
    sqlite_autoincrement=True,
)

locks = sa.Table(
    "ledger_locks",
    metadata,
    sa.Column("sweep", sa.Integer, sa.ForeignKey("ledger_sweeps.id"), primary_key=True, autoincrement=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.Text),  # JSON of lock_holder.this_process; NULL = free
    sa.Column("beat", sa.BigInteger, nullable=False),  # counts renewals: what waiting drivers watch
    sa.Column("guarded", sa.Boolean, nullable=False),  # the holder also has the file or advisory lock
    sa.Column("renewed_at", sa.Double, nullable=False),  # holder's clock; for `status` only, never for the lock
)


def insert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT of the connection's dialect; both know ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def found_version(connection: sa.Connection) -> int | None:
    """Schema version of the database, or None where there is no ledger yet."""
    if not sa.inspect(connection).has_table(schema.name):
        return None
    return connection.execute(sa.select(schema.c.version)).scalar()


def missing_tables(connection: sa.Connection) -> list[str]:
    """Tables that a ledger has and this one lacks."""
    return sorted(set(metadata.tables) - set(sa.inspect(connection).get_table_names()))


def create_all(connection: sa.Connection) -> None:
    """Make every table and note the version; the caller keeps other creators out."""
    metadata.create_all(connection, checkfirst=True)
    connection.execute(insert(connection, schema).values(id=1, version=VERSION).on_conflict_do_nothing())
