"""Where stores are; and reading one that is damaged, closed to writers, or not there."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.app.results.sweep import open_sweep
from rnnsweep.app.stores import StorePlace, place, place_of, reading
from rnnsweep.errors import ConfigError, StoreError

UNPRIVILEGED = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all")
"""What makes file modes count for root too."""


def test_a_store_is_named_by_option_environment_or_default(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RNNSWEEP_STORE", raising=False)
    assert (place().root, place().named, place().option) == (tmp_path / "mlruns", False, ())
    assert place("x").option == ("--store", str(tmp_path / "x"))
    monkeypatch.setenv("RNNSWEEP_STORE", str(tmp_path / "e"))
    assert (place().root, place().named) == (tmp_path / "e", False)
    assert place(place("x")) == place("x")
    assert not place_of(tmp_path / "e", "sqlite:///x").named


def test_a_database_url_names_a_ledger_and_never_shows_its_password(tmp_path):
    where = place("postgresql://me:secret@host:5432/l")
    assert where.own_root is None
    assert where.shown == "postgresql://me:***@host:5432/l"
    assert StorePlace(tmp_path, "postgresql://host/l").shown == "postgresql://host/l"
    assert place(tmp_path).shown == str(tmp_path)


def test_a_port_that_is_no_number_is_wrong_input(run):
    result = run("list", "--store", "postgresql://me:secret@localhost:xx/l")
    assert result.exit_code == 2
    assert "not a database URL" in result.stderr
    assert "secret" not in result.stderr


def test_a_damaged_row_is_told_as_such(run, store):
    with closing(sqlite3.connect(store / "ledger.db")) as connection:
        connection.execute("UPDATE ledger_trials SET data = '{\"state' WHERE number = 3")
        connection.commit()
    result = run("table", "quickstart")
    assert result.exit_code == 1
    assert "a row is damaged" in result.stderr
    assert str(store) in result.stderr


def test_a_ledger_without_one_of_its_tables_is_told_at_once(run, store):
    with closing(sqlite3.connect(store / "ledger.db")) as connection:
        connection.execute("DROP TABLE ledger_trials")
        connection.commit()
    result = run("status", "quickstart")
    assert result.exit_code == 1
    assert "no such table: ledger_trials" in result.stderr


def test_an_absent_store_reads_as_empty(tmp_path):
    with reading(place(tmp_path / "nowhere")) as ledger:
        assert ledger is None


def closed(store: Path) -> Path:
    """The store, closed cleanly and then to writers."""
    for file in ("ledger.db-wal", "ledger.db-shm"):
        (store / file).unlink(missing_ok=True)
    for path in (*store.rglob("*"), store):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return store


def unprivileged(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*(UNPRIVILEGED if os.geteuid() == 0 else ()), sys.executable, "-m", "rnnsweep.app.cli.main", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=120)


@pytest.mark.slow
def test_a_store_that_cannot_be_written_can_be_read(store, tmp_path):
    closed(store)
    try:
        table = unprivileged("table", "quickstart", "--store", str(store), cwd=tmp_path)
        assert table.returncode == 0, table.stderr
        assert "diverged at 320" in table.stdout
        report = unprivileged("report", "quickstart", "--store", str(store), cwd=tmp_path)
        assert report.returncode == 2
        assert "--out" in report.stderr
        assert "Traceback" not in report.stderr
        stop = unprivileged("resume", "quickstart", "--store", str(store), cwd=tmp_path)
        assert stop.returncode == 1
        assert "Traceback" not in stop.stderr
    finally:
        for path in (store, *store.rglob("*")):
            path.chmod(0o755)


@pytest.mark.parametrize("kind", ["folder", "dangling link"])
def test_a_lock_file_that_cannot_be_one_is_named(store, kind):
    lock = next(store.glob("ledger.db.lock-*"))
    lock.unlink()
    lock.mkdir() if kind == "folder" else lock.symlink_to(store / "gone" / "lock")
    ledger = open_ledger(f"sqlite:///{store / 'ledger.db'}")
    try:
        with pytest.raises(StoreError, match=f"lock file {lock} cannot be opened"):
            ledger.acquire("quickstart", "test", 1.0)
    finally:
        ledger.close()


def test_a_mistyped_sweep_names_the_store_and_the_nearest(run, store):
    with pytest.raises(ConfigError, match="quickstart"):
        open_sweep("quickstrat", store=store)
    shutil.rmtree(store)
    assert "none yet" in run("status", "quickstart").stderr
