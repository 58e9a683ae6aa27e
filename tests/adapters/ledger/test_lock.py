"""The ledger between real processes that race, stop and die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from rnnsweep.adapters.ledger.schema import locks
from rnnsweep.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from rnnsweep.errors import LockedError, StoreError
from rnnsweep.sweep.ports import SweepView
from rnnsweep.sweep.states import SweepState
from tests.kit.ledger_process import BATCH, DEADLINE, batch, heard, spawn, tell

pytestmark = pytest.mark.chaos


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def ledger(url: str) -> Iterator[SqlLedger]:
    opened = open_ledger(url, deadline=DEADLINE)
    opened.create(SweepView("tiny", SweepState.RUNNING, {}))
    yield opened
    opened.close()


@contextmanager
def process(*words: object) -> Iterator[subprocess.Popen[str]]:
    child = spawn(*words)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def pretend(ledger: SqlLedger, **identity: object) -> None:
    """Let the lock's row say something else about its holder."""

    def work(connection: sa.Connection) -> None:
        holder = json.loads(connection.execute(sa.select(locks.c.holder)).scalar_one())
        connection.execute(locks.update().values(holder=json.dumps({**holder, **identity})))

    ledger.database.write(work)


def test_creation_race(url: str) -> None:
    start = time.time() + 1.0
    children = [spawn("create", url, "tiny", start) for _ in range(4)]
    said = sorted(child.communicate(timeout=30)[0].strip() for child in children)
    assert said == ["created", "taken", "taken", "taken"]
    ledger = open_ledger(url, create=False)
    assert [view.name for view in ledger.sweeps()] == ["tiny"]
    ledger.close()


def test_lock_race_has_one_winner(ledger: SqlLedger, url: str) -> None:
    start = time.time() + 1.0
    children = [spawn("race", url, "tiny", start) for _ in range(3)]
    said = sorted(heard(child).split(",")[0] for child in children)
    for child in children:
        child.communicate("\n", timeout=30)
    assert said == ["fence 1", "locked racer", "locked racer"]


def test_kill_loses_only_what_was_not_committed(ledger: SqlLedger, url: str) -> None:
    with process("write", url, "tiny") as writer:
        while int(heard(writer)) < 20:
            pass
        writer.kill()
        told = [20, *(int(line) for line in writer.communicate()[0].split())]
    rows = ledger.reports("tiny")
    rungs = sorted({row.rung for row in rows})
    assert rungs == list(range(1, len(rungs) + 1))
    assert len(rungs) in (told[-1], told[-1] + 1)  # the last commit may be there without having been confirmed
    assert len(rows) == BATCH * len(rungs)


def test_dead_process_is_succeeded_at_once(ledger: SqlLedger, url: str) -> None:
    with process("hold", url, "tiny") as holder:
        assert heard(holder) == "fence 1"
        holder.kill()  # not waited for: a zombie is dead, too
        time.sleep(0.1)
        began = time.monotonic()
        assert ledger.acquire("tiny", "successor", 2.0) == 2
        assert time.monotonic() - began < 0.5 * DEADLINE


def test_living_process_is_not_succeeded(ledger: SqlLedger, url: str) -> None:
    with process("hold", url, "tiny") as holder:
        assert heard(holder) == "fence 1"
        with pytest.raises(LockedError, match=f"holder, pid {holder.pid} on "):
            ledger.acquire("tiny", "successor", 2 * DEADLINE)


def test_stopped_process_is_succeeded_and_refused_when_it_wakes(ledger: SqlLedger, url: str) -> None:
    with process("hold", url, "tiny") as holder:
        assert heard(holder) == "fence 1"
        fence = stop_between_transactions(ledger, holder)
        assert fence == 2
        ledger.renew("tiny", fence)
        before = ledger.reports("tiny")
        os.kill(holder.pid, signal.SIGCONT)
        assert heard(holder) == "refused 3"  # commit, renew and take_requests
        assert ledger.reports("tiny") == before
        ledger.renew("tiny", fence)  # now with the guard that the other has dropped
        guarded = ledger.database.read(lambda c: c.execute(sa.select(locks.c.guarded)).scalar())
        assert guarded


def stop_between_transactions(ledger: SqlLedger, holder: subprocess.Popen[str]) -> int:
    """SIGSTOP the holder and succeed it. Stopped within a transaction nobody can: then let it go on and try again."""
    while True:
        os.kill(holder.pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            fence = ledger.acquire("tiny", "successor", 2 * DEADLINE)
        except LockedError as error:
            if "database is locked" not in str(error):
                raise
            os.kill(holder.pid, signal.SIGCONT)
            continue
        assert time.monotonic() - began >= 0.9 * DEADLINE
        return fence


def test_holder_on_another_machine_is_succeeded_after_the_deadline(ledger: SqlLedger, url: str) -> None:
    other = open_ledger(url, deadline=DEADLINE)
    other.acquire("tiny", "far away", 0.0)
    pretend(ledger, machine="elsewhere", pid=1)
    began = time.monotonic()
    assert ledger.acquire("tiny", "successor", 2 * DEADLINE) == 2
    assert 0.9 * DEADLINE <= time.monotonic() - began < 3 * DEADLINE
    other.close()


def test_free_guard_proves_death_on_sqlite_and_halves_the_deadline_on_postgres(ledger: SqlLedger, url: str) -> None:
    """A holder in another container: its PID says nothing. A PostgreSQL session may end without its process."""
    other = open_ledger(url, deadline=DEADLINE)
    other.acquire("tiny", "far away", 0.0)
    pretend(ledger, machine="elsewhere")
    other.close()
    began = time.monotonic()
    assert ledger.acquire("tiny", "successor", 2 * DEADLINE) == 2
    least, most = (0.0, 0.4) if ledger.database.path else (0.4, 0.9)
    assert least * DEADLINE <= time.monotonic() - began < most * DEADLINE


LOCK_FILE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
"""


@contextmanager
def database_locked_by_another_process(ledger: SqlLedger, url: str, seconds: float = 1.3) -> Iterator[None]:
    """From now on for some time; longer than the second that a database waits before we try again."""
    if ledger.database.path:
        command = [sys.executable, "-c", LOCK_FILE, str(ledger.database.path)]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert heard(child) == "locked"
        timer = threading.Timer(seconds, tell, (child,))
        timer.start()
        yield
        timer.join()
        child.communicate(timeout=10)
        return
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE ledger_locks, ledger_reports")
        timer = threading.Timer(seconds, connection.rollback)
        timer.start()
        yield
        timer.join()


def test_commit_waits_for_a_locked_database(ledger: SqlLedger, url: str) -> None:
    fence = ledger.acquire("tiny", "test", 0.0)
    with database_locked_by_another_process(ledger, url):
        began = time.monotonic()
        ledger.commit("tiny", fence, [batch(1)])
        assert 1.2 < time.monotonic() - began < 6.0
    assert len(ledger.reports("tiny")) == BATCH


def test_locked_database_does_not_run_down_the_deadline(ledger: SqlLedger, url: str) -> None:
    """The holder cannot renew while a third process locks the database beyond the deadline, and keeps its lock."""
    fence = ledger.acquire("tiny", "test", 0.0)
    second, outcome = open_ledger(url, deadline=2 * DEADLINE), []
    done = threading.Event()

    def wait() -> None:
        try:
            outcome.append(second.acquire("tiny", "second", 4.0))
        except LockedError:
            outcome.append("locked")

    def beat() -> None:
        while not done.wait(0.2):
            ledger.renew("tiny", fence)

    threads = [threading.Thread(target=wait), threading.Thread(target=beat)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    with database_locked_by_another_process(ledger, url, 2.5 * DEADLINE):
        pass
    threads[0].join()
    done.set()
    threads[1].join()
    second.close()
    assert outcome == ["locked"]


def test_patience_ends_with_a_clear_error(ledger: SqlLedger, url: str) -> None:
    fence = ledger.acquire("tiny", "test", 0.0)
    hasty = open_ledger(url, patience=0.1)
    with database_locked_by_another_process(ledger, url), pytest.raises(StoreError, match=r"ledger: .*lock"):
        hasty.commit("tiny", fence, [batch(1)])
    hasty.close()


@pytest.mark.postgres
def test_commit_survives_a_server_that_drops_its_connections(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url, deadline=DEADLINE)
    ledger.create(SweepView("tiny", SweepState.RUNNING, {}))
    fence = ledger.acquire("tiny", "test", 0.0)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    ledger.commit("tiny", fence, [batch(1)])
    ledger.renew("tiny", fence)
    assert len(ledger.reports("tiny")) == BATCH
    ledger.close()


def test_a_dead_holder_is_told_from_a_living_one_without_a_write(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = open_ledger(url)
    ledger.create(SweepView("s", SweepState.RUNNING, {}))
    assert not ledger.driven("s")
    code = f"""
import time
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
open_ledger({url!r}).acquire("s", "test", 0.0)
print("held", flush=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert ledger.driven("s")
    process.kill()
    process.wait()
    assert not ledger.driven("s")
    ledger.close()
