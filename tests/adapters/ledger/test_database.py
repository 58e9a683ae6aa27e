"""Transactions that wait and retry, and messages without passwords."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from rnnsweep.adapters.ledger.database import BusyError, Database, display, parse
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.errors import ConfigError, StoreError

ODD = [f"mysql://me:{password}@h/d" for password in ("se?cret", "se/cret", "se@cret", "se cret")]


def opened(path: Path, patience: float = 60.0) -> Database:
    database = Database(parse(f"sqlite:///{path}"), patience)
    database.use_wal()
    database.write(lambda connection: connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS t (x INTEGER)"))
    return database


def insert(value: int):
    return lambda connection: connection.exec_driver_sql(f"INSERT INTO t VALUES ({value})")


def count(database: Database) -> int:
    return database.read(lambda connection: connection.exec_driver_sql("SELECT count(*) FROM t").scalar_one())


@pytest.mark.parametrize(
    ("url", "driver"),
    [("postgresql://u:p@h:1/d", "postgresql+psycopg"), ("postgresql+asyncpg://h/d", "postgresql+psycopg")],
)
def test_postgres_gets_our_driver(url: str, driver: str) -> None:
    assert parse(url).drivername == driver


@pytest.mark.parametrize("url", ["mysql://me:secret@h/d", "sqlite://", "sqlite:///:memory:", "me:secret@h", *ODD])
def test_other_urls_are_refused_without_their_password(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(url)
    assert not any(part in str(error.value) for part in ("secret", "cret"))
    assert error.value.key == "store.ledger"


def test_messages_show_neither_user_nor_password_nor_options() -> None:
    url = parse("postgresql://me:secret@host:5/data?password=secret&sslmode=require")
    assert display(url) == "postgresql://host:5/data"
    assert "secret" not in repr(Database(url))


def test_a_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    database = opened(tmp_path / "a.db")

    def work(connection: sa.Connection) -> None:
        insert(1)(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(work)
    assert count(database) == 0
    database.close()


def test_a_write_waits_for_another_writer_only_so_long(tmp_path: Path) -> None:
    database = opened(tmp_path / "a.db", patience=0.0)
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError, match="locked"):
            database.write(insert(1))
        assert count(database) == 0  # readers do not wait
        other.execute("ROLLBACK")
    database.write(insert(1))
    assert count(database) == 1
    database.close()


def test_what_the_database_refuses_is_said_without_sql(tmp_path: Path) -> None:
    database = opened(tmp_path / "a.db")
    with pytest.raises(StoreError, match="no such table: absent") as error:
        database.read(lambda connection: connection.exec_driver_sql("SELECT secret FROM absent"))
    assert "secret" not in str(error.value)
    database.close()


def test_a_commit_is_on_the_disk(tmp_path: Path) -> None:
    database = opened(tmp_path / "a.db")
    settings = [
        database.read(lambda connection, name=name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("journal_mode", "synchronous", "foreign_keys")
    ]
    assert settings == ["wal", 2, 1]  # 2 = FULL
    database.close()


@pytest.mark.postgres
@pytest.mark.parametrize("password", ["se/cret", "se cret", "se%40cret", "se@cret"])
@pytest.mark.parametrize("form", ["postgresql://nobody:{}@{}", "postgresql://{1}?user=nobody&password={0}"])
def test_what_a_real_server_answers_shows_no_password(postgres_url: str, password: str, form: str) -> None:
    place = postgres_url.rpartition("@")[2] if "@" in postgres_url else postgres_url.partition("://")[2]
    url = form.format(password, place.partition("?")[0])
    with pytest.raises((StoreError, ConfigError)) as error:
        open_ledger(url, patience=0.5)
    assert "cret" not in str(error.value)
    assert error.value.__cause__ is None  # the original shows the parameters of the connection
