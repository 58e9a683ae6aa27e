"""Who may use a service, and what was asked of it: tables beside the ledger's, made when they are first needed.

They are no part of the ledger's schema: a store that never had a service has none of them, and is sound without.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from rnnsweep.adapters.ledger import schema
from rnnsweep.adapters.ledger.database import Database
from rnnsweep.errors import ConfigError

metadata = sa.MetaData()

accounts = sa.Table(
    "ledger_accounts",
    metadata,
    sa.Column("user", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("every", sa.Boolean, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
)

tokens = sa.Table(
    "ledger_tokens",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("user", sa.Text, sa.ForeignKey("ledger_accounts.user"), nullable=False),
    sa.Column("expires", sa.Double),  # NULL: when it is withdrawn
)
"""SHA-256 of each token: a token has 256 random bits, so there is nothing to guess and no need for a slow hash."""

audit = sa.Table(
    "ledger_audit",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("remote", sa.Text, nullable=False),
    sa.Column("method", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_CREATION_LOCK = 0x726E6E73_00000001  # advisory lock of whoever makes these tables; the ledger's ends with 0


class Role(StrEnum):
    """What an account may do: READER looks, OPERATOR also steers."""

    READER = "reader"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Account:
    """Somebody who may use the service.

    Attributes:
        every: sees, and as an operator steers, everybody's sweeps and not only those of `user`.
    """

    user: str
    role: Role = Role.OPERATOR
    every: bool = False


def make_tables(database: Database) -> None:
    """Make the tables where there are none; several processes may do so at once."""

    def work(connection: sa.Connection) -> None:
        if connection.dialect.name == "postgresql":  # SQLite lets one writer in at a time anyway
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
        metadata.create_all(connection, checkfirst=True)

    present = database.read(lambda c: set(sa.inspect(c).get_table_names()))
    if set(metadata.tables) - present:
        database.write(work)


def token_hash(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class AccountBook:
    """Accounts and their tokens in a ledger's database; safe for threads. Of tokens it keeps hashes only."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database, self._now = database, now

    def accounts(self) -> list[Account]:
        """All accounts by user."""
        columns = (accounts.c.user, accounts.c.role, accounts.c.every)
        rows = self._database.read(lambda c: c.execute(sa.select(*columns).order_by(accounts.c.user)).all())
        return [Account(row.user, Role(row.role), bool(row.every)) for row in rows]

    def put(self, account: Account) -> None:
        """Add an account, or change what it may do; its tokens stay.

        Raises:
            ConfigError: the user's name is none.
        """
        if not _USER.fullmatch(account.user):
            allowed = "letters, digits, '.', '_', '@' and '-', at most 64"
            raise ConfigError("is no user's name", key="USER", value=account.user, allowed=allowed)
        row = {"user": account.user, "role": account.role.value, "every": account.every, "created": self._now()}
        changed = {name: row[name] for name in ("role", "every")}

        def work(connection: sa.Connection) -> None:
            statement = schema.insert(connection, accounts).values(row)
            connection.execute(statement.on_conflict_do_update(index_elements=["user"], set_=changed))

        self._database.write(work)

    def issue(self, user: str, lifetime_s: float | None = None) -> str:
        """A new token of an account: the only time that it is seen."""
        token = secrets.token_urlsafe(32)
        expires = None if lifetime_s is None else self._now() + lifetime_s
        row = {"hash": token_hash(token), "user": user, "expires": expires}

        def work(connection: sa.Connection) -> None:
            connection.execute(tokens.delete().where(tokens.c.expires < self._now()))
            connection.execute(schema.insert(connection, tokens).values(row).on_conflict_do_nothing())

        self._database.write(work)
        return token

    def withdraw(self, token: str) -> None:
        """Make one token worthless."""
        statement = tokens.delete().where(tokens.c.hash == token_hash(token))
        self._database.write(lambda c: c.execute(statement))

    def remove(self, user: str) -> bool:
        """Remove an account with all its tokens; False where there is none."""

        def work(connection: sa.Connection) -> bool:
            connection.execute(tokens.delete().where(tokens.c.user == user))
            return connection.execute(accounts.delete().where(accounts.c.user == user)).rowcount > 0

        return self._database.write(work)

    def holders(self) -> Mapping[str, Account]:
        """Hash of every token that counts now -> its account."""
        query = sa.select(tokens.c.hash, accounts.c.user, accounts.c.role, accounts.c.every)
        query = query.join(accounts, accounts.c.user == tokens.c.user)
        query = query.where(sa.or_(tokens.c.expires.is_(None), tokens.c.expires > self._now()))
        rows = self._database.read(lambda c: c.execute(query).all())
        return {row.hash: Account(row.user, Role(row.role), bool(row.every)) for row in rows}


@dataclass(frozen=True)
class AuditEntry:
    """A request that changed something, wanted to, or was refused.

    Attributes:
        at: seconds since the epoch.
        user, role: of the account; empty where nobody was recognised.
        remote: address that the request came from.
        outcome: ``begun`` (the service was killed before it ended), ``done``, ``refused`` or ``failed``.
        detail: one line; no secrets.
    """

    at: float
    user: str
    role: str
    remote: str
    method: str
    path: str
    outcome: str
    detail: str = ""


class AuditLog:
    """Append-only, but for the outcome of an entry that was written before the request was carried out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: AuditEntry) -> int:
        """Write an entry; its number."""

        def work(connection: sa.Connection) -> int:
            key = connection.execute(audit.insert().values(_short(entry))).inserted_primary_key
            assert key is not None
            return key[0]

        return self._database.write(work)

    def end(self, number: int, outcome: str, detail: str) -> None:
        """Say how it ended."""
        changed = {"outcome": outcome, "detail": detail[:_LONGEST]}
        self._database.write(lambda c: c.execute(audit.update().where(audit.c.id == number).values(changed)))

    def entries(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Entries with a greater number than `after`, oldest first: the fields of `AuditEntry` and ``id``."""
        query = sa.select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(limit)
        return [dict(row._mapping) for row in self._database.read(lambda c: c.execute(query).all())]


_LONGEST = 1000
"""Characters of a path or detail that are kept."""


def _short(entry: AuditEntry) -> dict[str, Any]:
    texts = {name: value[:_LONGEST] for name, value in vars(entry).items() if isinstance(value, str)}
    return {"at": entry.at, **texts}
