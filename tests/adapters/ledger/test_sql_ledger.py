from __future__ import annotations

import logging
import pickle
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rnnsweep.adapters.ledger import schema
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.errors import ConfigError, StoreError
from rnnsweep.sweep.ports import AttemptView, PutAttempt, PutReports, PutSweep, PutTrial, SweepView, TrialView
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import SweepState, TrialState

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


@pytest.mark.parametrize("table", sorted(set(schema.metadata.tables) - {schema.schema.name}))
def test_a_lost_table_is_named_before_anything_is_read(tmp_path: Path, table: str) -> None:
    """A resume began to drive, and waited for the ledger as for one that is away: minutes."""
    path = tmp_path / "ledger.db"
    open_ledger(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"DROP TABLE {table}")
    for create in (True, False):
        with pytest.raises(StoreError, match=f"ledger.db is damaged: no such table: {table};"):
            open_ledger(f"sqlite:///{path}", create=create)


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


@pytest.mark.parametrize("at", [0, 5, 17, 30])
def test_a_damaged_log_is_named_and_left_alone(tmp_path: Path, at: int) -> None:
    file, log = tmp_path / "ledger.db", tmp_path / "ledger.db-wal"
    one, two = open_ledger(f"sqlite:///{file}"), open_ledger(f"sqlite:///{file}")  # the last to close would empty it
    one.create(SweepView("s", SweepState.RUNNING, {}))
    kept = bytearray(log.read_bytes())
    one.close()
    two.close()
    kept[at] ^= 0xFF
    log.write_bytes(kept)
    before = file.read_bytes()
    with pytest.raises(StoreError, match=r"write-ahead log .* is damaged.*nothing was changed"):
        open_ledger(f"sqlite:///{file}")
    assert (file.read_bytes(), log.read_bytes()) == (before, bytes(kept))


def test_a_new_ledger_is_for_its_owners_eyes(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.create(SweepView("s", SweepState.RUNNING, {}))
    fence = ledger.acquire("s", "test", 1.0)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert {"ledger.db", "ledger.db-wal", "ledger.db.lock-1"} <= set(modes)
    assert set(modes.values()) == {0o600}
    ledger.release("s", fence)
    ledger.close()
    (tmp_path / "ledger.db").chmod(0o640)  # whoever shares a store opens it on purpose, and it stays open
    open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}").close()
    assert (tmp_path / "ledger.db").stat().st_mode & 0o777 == 0o640


def test_after_a_sweep_the_file_alone_is_the_ledger(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    ledger = open_ledger(f"sqlite:///{file}")
    ledger.create(SweepView("s", SweepState.RUNNING, {}))
    fence = ledger.acquire("s", "test", 1.0)
    ledger.commit("s", fence, [PutSweep(SweepView("s", SweepState.COMPLETE, {}))])
    ledger.release("s", fence)
    alone = tmp_path / "copy" / "ledger.db"
    alone.parent.mkdir()
    alone.write_bytes(file.read_bytes())  # as if the log were lost while somebody still has the ledger open
    copy = open_ledger(f"sqlite:///{alone}")
    view = copy.sweep("s")
    assert view is not None
    assert view.state is SweepState.COMPLETE
    copy.close()
    ledger.close()


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


DAMAGES = ['{"state', "{}", "[1]", "null", "7"]
"""A torn text, and texts that are JSON and nothing that was written."""
DAMAGED = [(table, text) for table in ("sweeps", "trials", "attempts", "reports", "journal") for text in DAMAGES]


@pytest.mark.parametrize(("table", "text"), [*DAMAGED, ("inbox", DAMAGES[0])])
def test_a_damaged_row_is_told_as_such_by_whoever_reads_it(tmp_path: Path, table: str, text: str) -> None:
    """A command that wrote got a traceback, and so did every one where the text was still JSON."""
    where = f"sqlite:///{tmp_path / 'ledger.db'}"
    with closing(open_ledger(where)) as ledger:
        ledger.create(SweepView("tiny", SweepState.RUNNING, {}))
        fence = ledger.acquire("tiny", "test", 0.0)
        report = RowReport(0, 0, "t", 1, 10, {"valid/error": 0.5})
        writes = [PutTrial(TrialView(0, TrialState.RUNNING, {})), PutAttempt(AttemptView(0, "t", 1, 0.0))]
        ledger.commit("tiny", fence, [*writes, PutReports((report,))])
        ledger.post("tiny", "stop")
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
            assert connection.execute(f"UPDATE ledger_{table} SET data = ?", (text,)).rowcount >= 1
            connection.commit()
        read = {
            "sweeps": lambda: ledger.sweep("tiny"),
            "trials": lambda: ledger.trials("tiny"),
            "attempts": lambda: ledger.attempts("tiny"),
            "reports": lambda: ledger.reports("tiny"),
            "journal": lambda: ledger.changes("tiny", 0),
            "inbox": lambda: ledger.take_requests("tiny", fence),
        }
        with pytest.raises(StoreError, match=r"ledger\.db: a row is damaged \(.*rnnsweep doctor looks for more"):
            read[table]()


@pytest.mark.parametrize("text", DAMAGES)
def test_a_damaged_lock_is_told_as_such(tmp_path: Path, text: str) -> None:
    with closing(open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")) as ledger:
        ledger.create(SweepView("tiny", SweepState.RUNNING, {}))
        ledger.acquire("tiny", "test", 0.0)
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
            connection.execute("UPDATE ledger_locks SET holder = ?", (text,))
            connection.commit()
        for look in (lambda: ledger.driven("tiny"), lambda: ledger.acquire("tiny", "another", 0.0)):
            with pytest.raises(StoreError, match="a row is damaged"):
                look()
