from __future__ import annotations

import logging
import pickle
import sqlite3
from pathlib import Path

import pytest

from rnnsweep.adapters.ledger import schema
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.errors import ConfigError, StoreError
from rnnsweep.sweep.ports import SweepView
from rnnsweep.sweep.states import SweepState

SECRET = "tr%C3%A9s-secret"
SECRET_WORDS = ("très-secret", SECRET, "tr\\xe9s")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ledger.db",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://user:tr%C3%A9s-secret@host/db",
        "http://x",
        "a b://c:d@e",
    ],
)
def test_unusable_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"store\.ledger.*postgresql://") as caught:
        open_ledger(url)
    assert SECRET not in str(caught.value)
    assert ":d@" not in str(caught.value)


def test_folder_is_made_and_the_file_is_durable(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'a' / 'b' / 'ledger.db'}")
    ask = ["journal_mode", "synchronous", "foreign_keys"]
    said = ledger.database.read(lambda c: [c.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ask])
    assert said == ["wal", 2, 1]  # 2 = FULL: a commit survives a power cut
    ledger.close()


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = open_ledger("sqlite:///mlruns/ledger.db")
    monkeypatch.chdir("/")
    ledger.create(SweepView("tiny", SweepState.RUNNING, {}))
    ledger.close()
    assert (tmp_path / "mlruns" / "ledger.db").exists()


def test_looking_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is none at sqlite:///"):
        open_ledger(f"sqlite:///{tmp_path / 'store' / 'ledger.db'}", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.postgres
def test_looking_makes_nothing_in_postgres(postgres_url: str) -> None:
    for _ in range(2):
        with pytest.raises(StoreError, match="there is none at postgresql://"):
            open_ledger(postgres_url, create=False)


@pytest.mark.parametrize(("shift", "age"), [(1, "a newer"), (-1, "an older")])
def test_other_schema_version_is_named(tmp_path: Path, shift: int, age: str) -> None:
    path = tmp_path / "ledger.db"
    open_ledger(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE ledger_schema SET version = ?", (schema.VERSION + shift,))
    connection.close()
    with pytest.raises(StoreError, match=f"schema version {schema.VERSION + shift}, written by {age} rnnsweep"):
        open_ledger(f"sqlite:///{path}")


def test_other_programs_tables_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE trials (x)")  # Optuna's
    connection.close()
    ledger = open_ledger(f"sqlite:///{path}")
    assert ledger.sweeps() == []
    ledger.close()


def test_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("no database " * 100)
    with pytest.raises(StoreError, match="not a database"):
        open_ledger(f"sqlite:///{path}")


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/ledger\.db"):
        open_ledger(f"sqlite:///{tmp_path / 'file' / 'ledger.db'}")


def test_server_that_is_away_fails_soon_and_keeps_the_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreError, match=r"postgresql://127\.0\.0\.1:9/rnn") as caught:
        open_ledger(f"postgresql://someone:{SECRET}@127.0.0.1:9/rnn")
    shown = [str(caught.value), repr(caught.value), repr(pickle.loads(pickle.dumps(caught.value))), caplog.text]
    assert not [word for word in SECRET_WORDS for text in shown if word in text]


@pytest.mark.postgres
def test_password_is_in_no_repr_or_message(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url.replace("@", f":{SECRET}@", 1))
    with pytest.raises(StoreError) as caught:
        ledger.post("nobody", "stop")
    shown = [repr(ledger), repr(ledger.database), repr(ledger.database.engine), str(caught.value)]
    assert not [word for word in SECRET_WORDS for text in shown if word in text]
    ledger.close()
