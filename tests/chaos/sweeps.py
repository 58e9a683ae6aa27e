"""Real sweeps of small networks through the real command line, and what must be true of them after any trouble."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from rnnsweep.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from rnnsweep.app.cli.main import app
from rnnsweep.sweep.verdicts import PROMOTE

UNITS = Path(__file__).parent / "units" / "conf"
COMMAND = [sys.executable, "-m", "rnnsweep.app.cli.main"]
SMALL = (
    *("task.length=12", "family.hidden=10", "training.batch=4", "training.report_every=10", "training.eval_size=20"),
    *("training.stop_solved=false", "cluster.rows=6", "+controllers=witness", "budget.retries=1000", "replicas=2"),
)
Row = dict[str, Any]


@dataclass
class Store:
    """A store directory with one sweep `s`, and the file in which its trainers write what they begin."""

    root: Path
    options: tuple[str, ...]
    name: str = "s"
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)

    @property
    def witness(self) -> Path:
        return self.root / "witness.txt"

    def variables(self) -> dict[str, str]:
        own = {"OMP_NUM_THREADS": "1", "RNNSWEEP_WITNESS": str(self.witness), "RAY_AUTH_MODE": "disabled"}
        return {**os.environ, **own, **self.environment}

    def launch(self, *more: str) -> subprocess.Popen[str]:
        command = ["launch", "search", f"name={self.name}", *SMALL, *self.options, *more]
        return self.start(*command, "--config-dir", str(UNITS))

    def resume(self, *more: str) -> subprocess.Popen[str]:
        return self.start("resume", self.name, *more)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        with open(self.root / "output.txt", "ab") as out:
            process = subprocess.Popen(
                [*COMMAND, *arguments, "--store", str(self.root)],
                env=self.variables(),
                stdout=out,
                stderr=out,
                text=True,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def close(self) -> None:
        """End what a failed test has left behind."""
        for process in self.started:
            kill(process)

    def finish(self, process: subprocess.Popen[str], seconds: float = 540.0) -> int:
        """Wait for the end; the exit code."""
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"not finished after {seconds:g} s\n{self.output()}") from None

    def output(self) -> str:
        return (self.root / "output.txt").read_text(errors="replace")[-4000:]

    def ledger(self) -> SqlLedger:
        return open_ledger(f"sqlite:///{self.root / 'ledger.db'}")

    def begun(self) -> list[tuple[int, int, int]]:
        """(trial, replica, rung) of all rungs that were begun, repetitions included."""
        if not self.witness.exists():
            return []
        lines = (line.split() for line in self.witness.read_text().splitlines())
        return [(int(line[1]), int(line[2]), int(line[3])) for line in lines]

    def await_rungs(
        self,
        more: int,
        process: subprocess.Popen[str],
        seconds: float = 400.0,  # to hang is what these limits end; a busy machine is to pass
    ) -> bool:
        """Wait until so many more rungs have begun; False if the driver ended or time ran out."""
        goal, deadline = len(self.begun()) + more, time.monotonic() + seconds
        while len(self.begun()) < goal:
            if process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def freeze(store: Store, process: subprocess.Popen[str]) -> None:
    """SIGSTOP a driver between two of its transactions: within one it would keep SQLite's lock while it rests."""
    while True:
        process.send_signal(signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(store.root / "ledger.db", timeout=1.0, isolation_level=None)) as ledger:
                ledger.execute("BEGIN IMMEDIATE")
                ledger.execute("ROLLBACK")
        except sqlite3.OperationalError:  # locked
            process.send_signal(signal.SIGCONT)
            time.sleep(0.1)
        else:
            return


@dataclass(frozen=True)
class Record:
    """What a ledger says about a finished sweep, without what may differ between two ways to the same result."""

    table: list[Row]
    curves: dict[tuple[int, int, int], tuple[Any, ...]]
    rungs: dict[tuple[int, int], tuple[Any, ...]]
    verdicts: list[tuple[int, int, str]]
    attempts: dict[int, int]
    moved: Counter[int]


_VARYING = ("attempts", "charged", "token", "started", "finished", "worker", "history", "engine")


def record(store: Store) -> Record:
    ledger = store.ledger()
    try:
        return record_of(ledger, store.name)
    finally:
        ledger.close()


def record_of(ledger: SqlLedger, name: str) -> Record:
    views = ledger.trials(name)
    table = [{key: value for key, value in vars(view).items() if key not in _VARYING} for view in views]
    for row in table:  # of states taken over: from whom and with what, not in which attempt
        row["segments"] = [(one.rung, one.source, one.state, dict(one.params)) for one in row["segments"] or ()]
    curves = {
        (r.trial, r.replica, r.rung): (r.step, dict(r.metrics), r.state, r.solved_at, r.diverged_at)
        for r in ledger.reports(name)
    }
    rungs: dict[tuple[int, int], tuple[Any, ...]] = {}
    for change in ledger.changes(name, 0, 10_000_000):
        if change.kind == "rung":
            key = (int(change.trial or 0), change.data["rung"])
            assert key not in rungs, f"rung {key} twice"
            rungs[key] = (change.data["step"], change.data["metrics"], change.data["values"])
    attempts = {view.number: view.attempts for view in views}
    moved = Counter(one.trial for one in ledger.attempts(name) if one.outcome == "moved")
    return Record(table, curves, rungs, ledger.verdicts(name), attempts, moved)


def check_same(found: Record, undisturbed: Record) -> None:
    """Equal to the bit: parameters, states, objectives, curves."""
    assert [row["number"] for row in found.table] == [row["number"] for row in undisturbed.table]
    assert found.table == undisturbed.table
    assert found.curves == undisturbed.curves
    assert found.rungs == undisturbed.rungs


def check_whole(store: Store, trials: int, torn: int = 0, ahead: int = 0) -> Record:
    """No trial lost, none failed, no verdict taken twice, no rung repeated without a reason, no point doubled.

    Each lost attempt repeats the rung in progress, and each of `torn` checkpoints one rung more; one that moves leaves
    a worker that lives, and has begun the rung after it as well. A scheduler sets a row back by one rung at most
    `ahead` times, as it trains on while the others come to where they are compared.
    """
    found = record(store)
    assert [row["number"] for row in found.table] == list(range(trials))
    ended = {"COMPLETE", "PRUNED", "WAITING"}  # trials that a scheduler has not promoted go on waiting
    assert {str(row["state"]) for row in found.table} <= ended, found.table
    taken = Counter((trial, rung, verdict == PROMOTE) for trial, rung, verdict in found.verdicts)
    assert not [key for key, count in taken.items() if count > 1]
    more = {
        key: times - (found.attempts[key[0]] - 1) - found.moved[key[0]] - ahead
        for key, times in repeated(store).items()
    }
    assert sum(max(0, times) for times in more.values()) <= torn, (more, found.attempts)
    check_points(store, found)
    return found


def repeated(store: Store) -> Counter[tuple[int, int]]:
    """How many rungs of each row were begun again."""
    again: Counter[tuple[int, int]] = Counter()
    for (trial, replica, _), times in Counter(store.begun()).items():
        if times > 1:
            again[trial, replica] += times - 1
    return again


def mlflow_points(database: Path, name: str) -> dict[tuple[int, str], list[tuple[int, float]]]:
    """(trial, key) -> [(step, value), ...] straight from MLflow's tables."""
    query = """
        SELECT t.value, m.key, m.step, m.value FROM metrics m
        JOIN tags t ON t.run_uuid = m.run_uuid AND t.key = 'rnnsweep.trial'
        JOIN tags s ON s.run_uuid = m.run_uuid AND s.key = 'rnnsweep.sweep' AND s.value = ?
        ORDER BY m.step
    """
    found: dict[tuple[int, str], list[tuple[int, float]]] = {}
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        for trial, key, step, value in connection.execute(query, (name,)):
            found.setdefault((int(trial), key), []).append((step, value))
    return found


def check_points(store: Store, found: Record) -> None:
    """MLflow has each point of the ledger's rungs, once."""
    database = store.root / "mlflow.db"
    if not database.exists():
        return
    points = mlflow_points(database, store.name)
    wanted: dict[tuple[int, str], list[tuple[int, float]]] = {}
    for (trial, _), (step, metrics, _) in sorted(found.rungs.items()):
        for key, value in metrics.items():
            wanted.setdefault((trial, key), []).append((step, value))
    for key, curve in wanted.items():
        assert points.get(key) == curve, (key, points.get(key), curve)
    for key, curve in points.items():
        assert len(curve) == len({step for step, _ in curve}), (key, curve)
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        query = "SELECT value, count(*) FROM tags WHERE key = 'rnnsweep.trial' GROUP BY value"
        runs = dict(connection.execute(query).fetchall())
    assert runs == {str(row["number"]): 1 for row in found.table}


def status(store: Store) -> Row:
    done = CliRunner().invoke(app, ["status", store.name, "--json", "--store", str(store.root)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)
