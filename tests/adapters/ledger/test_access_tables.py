"""Accounts, tokens and audit in a ledger's database."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from rnnsweep.adapters.ledger.access_tables import (
    Account,
    AccountBook,
    AuditEntry,
    AuditLog,
    Role,
    make_tables,
    token_hash,
)
from rnnsweep.adapters.ledger.database import Database
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.errors import ConfigError


@pytest.fixture
def database(tmp_path: Path):
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    make_tables(ledger.database)
    yield ledger.database
    ledger.close()


def test_a_token_leads_to_its_account_and_is_kept_as_a_hash_only(database: Database, tmp_path: Path):
    book = AccountBook(database)
    book.put(Account("ada", Role.READER))
    token = book.issue("ada")
    assert book.holders() == {token_hash(token): Account("ada", Role.READER)}
    database.checkpoint()
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("ledger.db*"))
    assert b"ada" in kept and token.encode() not in kept


def test_an_account_changes_and_keeps_its_tokens(database: Database):
    book = AccountBook(database)
    book.put(Account("ada", Role.READER))
    first, second = book.issue("ada"), book.issue("ada")
    book.put(Account("ada", Role.OPERATOR, every=True))
    assert set(book.holders()) == {token_hash(first), token_hash(second)}
    assert set(book.holders().values()) == {Account("ada", Role.OPERATOR, True)}
    book.withdraw(first)
    assert set(book.holders()) == {token_hash(second)}
    assert book.remove("ada") and not book.remove("ada")
    assert book.holders() == {} and book.accounts() == []


def test_a_token_with_a_lifetime_ends(database: Database):
    clock = [100.0]
    book = AccountBook(database, lambda: clock[0])
    book.put(Account("ada"))
    token = book.issue("ada", 10.0)
    assert set(book.holders()) == {token_hash(token)}
    clock[0] = 110.0
    assert book.holders() == {}


@pytest.mark.parametrize("user", ["", "a b", "-x", "../x", "a\n", "x" * 65, "ä"])
def test_odd_names_are_none(database: Database, user: str):
    with pytest.raises(ConfigError, match=r"is no user's name; allowed: letters"):
        AccountBook(database).put(Account(user))
    assert AccountBook(database).accounts() == []


def test_the_audit_keeps_order_and_ends(database: Database):
    log = AuditLog(database)
    first = log.add(AuditEntry(1.0, "ada", "operator", "127.0.0.1", "POST", "/x", "begun"))
    second = log.add(AuditEntry(2.0, "", "", "127.0.0.1", "GET", "/" + "y" * 5000, "refused", "wrong token"))
    log.end(first, "done", "201")
    entries = log.entries()
    assert [entry["id"] for entry in entries] == [first, second]
    assert (entries[0]["outcome"], entries[0]["detail"], entries[0]["user"]) == ("done", "201", "ada")
    assert len(entries[1]["path"]) == 1000
    assert [entry["id"] for entry in log.entries(first)] == [second]
    assert [entry["id"] for entry in log.entries(0, 1)] == [first]


def test_many_makers_at_once(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    open_ledger(url).close()

    def work(_: int) -> None:
        with closing(open_ledger(url)) as ledger:
            make_tables(ledger.database)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))  # raises what any of them has raised
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    assert {"ledger_accounts", "ledger_tokens", "ledger_audit", "ledger_sweeps"} <= names
