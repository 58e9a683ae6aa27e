"""SQLite files that libraries own."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rnnsweep.adapters.sqlite import known_file, path_of, transaction, url_of, write_ahead, writers


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id))")
        connection.commit()
    return path


def everything(table: str, columns: set) -> bool:
    return bool(columns)


def rows(path: Path, query: str) -> list:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_a_known_file_has_the_expected_columns_and_no_triggers(file: Path) -> None:
    url = url_of(file)
    asked: dict[str, set] = {}

    def expected(table: str, columns: set) -> bool:
        asked[table] = columns
        return True

    assert known_file(url, ("parents", "runs"), expected) == file
    assert asked == {"parents": {("id", True), ("name", False)}, "runs": {("id", True), ("parent", False)}}
    assert known_file(url, ("parents", "absent"), everything) is None
    assert known_file("postgresql://host/x", ("parents",), everything) is None
    assert known_file(url_of(file.with_name("none.db")), ("parents",), everything) is None
    with transaction(file) as connection:
        connection.execute("CREATE TRIGGER watch AFTER INSERT ON runs BEGIN SELECT 1; END")
    assert known_file(url, ("runs",), everything) is None
    assert known_file(url, ("parents",), everything) == file


def test_a_transaction_is_all_or_nothing(file: Path) -> None:
    with transaction(file) as connection:
        connection.execute("INSERT INTO parents VALUES (1, 'kept')")
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"), transaction(file) as connection:
        connection.executemany("INSERT INTO parents VALUES (?, 'lost')", [(2,), (1,)])
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"), transaction(file) as connection:
        connection.execute("INSERT INTO runs VALUES (1, 99)")
    assert rows(file, "SELECT name FROM parents") == [("kept",)]
    assert rows(file, "SELECT * FROM runs") == []


def test_a_write_ahead_file_stays_one(file: Path) -> None:
    assert rows(file, "PRAGMA journal_mode") == [("delete",)]
    write_ahead(file)
    assert rows(file, "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize("name", ["plain", "a%41b", "a?b", "a%3Fb", "a b#c", "ü+&="])
def test_every_path_comes_back_from_its_url_for_us_and_for_sqlalchemy(tmp_path: Path, name: str) -> None:
    from sqlalchemy.engine import make_url

    path = tmp_path / name / "a.db"
    assert path_of(url_of(path)) == path
    assert make_url(url_of(path)).database == str(path)
    assert path_of(f"{url_of(path)}?timeout=9") == path


def test_only_a_sqlite_url_has_a_path(tmp_path: Path) -> None:
    assert path_of(url_of(tmp_path / "a.db")) == tmp_path / "a.db"
    assert path_of("http://host/a.db") is None


def test_who_else_may_write_a_database(tmp_path):
    file = tmp_path / "ledger.db"
    assert writers(file) == ""
    file.touch(0o600)
    log = tmp_path / "ledger.db-wal"
    log.touch(0o600)
    assert writers(file) == ""
    for path, mode in ((file, 0o660), (file, 0o602), (log, 0o666)):
        path.chmod(mode)
        assert writers(file) == f"{path} is writable for others than its owner"
        path.chmod(0o644)
    if os.geteuid() == 0:
        os.chown(log, 65534, 65534)
        assert writers(file) == f"{log} belongs to user 65534"
