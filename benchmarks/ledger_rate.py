"""Row reports per second that the ledger takes and makes durable: ``python benchmarks/ledger_rate.py``.

Each commit holds one rung of `n` trials, as the driver sends them: 18 metrics per report, and per trial the reduced
rung and the verdict in the other columns. Rates are per second of wall time, and of the process's own processor time,
on which what others do on the machine counts little. SQLite writes below --folder (choose a real disk, not a RAM
disk); PostgreSQL is measured with --postgres URL, or where a server on loopback trusts us. The promise is 2500 per
second.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from rnnsweep.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from rnnsweep.sweep.ports import PutReports, PutRung, PutVerdict, SweepView, Write
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import SweepState
from tests.kit.postgres import listening

SIZES = (1, 50, 200, 500)
METRICS = (
    *("train/loss", "valid/loss", "valid/error", "grad/norm", "grad/norm_clipped", "clip/share", "grad/nonfinite"),
    *("omega/value", "omega/active", "sampling/q", "sampling/ds_log10", "sampling/ds_realised", "sampling/admitted"),
    *("sampling/degenerate", "weights/rho", "weights/sigma_max", "state/saturation", "state/lyapunov_max"),
)


def rung_writes(trials: int, rung: int, decided: bool) -> list[Write]:
    """What the driver commits for one rung of all trials; every float is different and as long as floats are."""
    values = {name: (rung + place) / 7.0 for place, name in enumerate(METRICS)}
    reports = tuple(
        RowReport(t, 0, f"{t:06d}-1-0123abcd", rung, 100 * rung, {**values, "valid/loss": t / 3.0}, device_s=t / 9.0)
        for t in range(trials)
    )
    writes: list[Write] = [PutReports(reports)]
    if decided:
        for report in reports:
            writes.append(PutRung(report.trial, rung, report.step, report.metrics, (report.metrics["valid/loss"],)))
            writes.append(PutVerdict(report.trial, rung, "keep"))
    return writes


def rate(ledger: SqlLedger, trials: int, decided: bool, seconds: float) -> tuple[float, float]:
    """Row reports per second of commit time: wall, and processor of this process."""
    name = uuid.uuid4().hex
    ledger.create(SweepView(name, SweepState.RUNNING, {}))
    fence = ledger.acquire(name, "benchmark", 0.0)
    spent, cpu, rung = 0.0, 0.0, 0
    while spent < seconds:
        rung += 1
        writes = rung_writes(trials, rung, decided)
        began, used = time.perf_counter(), time.process_time()
        ledger.commit(name, fence, writes)
        spent += time.perf_counter() - began
        cpu += time.process_time() - used
    ledger.release(name, fence)
    return trials * rung / spent, trials * rung / cpu


@contextmanager
def sqlite_ledger(folder: str | None) -> Iterator[SqlLedger]:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        ledger = open_ledger(f"sqlite:///{Path(place) / 'ledger.db'}")
        yield ledger
        ledger.close()


@contextmanager
def postgres_ledger(server: str) -> Iterator[SqlLedger]:
    name = f"rnnsweep_bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            ledger = open_ledger(f"{server.rpartition('/')[0]}/{name}")
            yield ledger
            ledger.close()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def table(title: str, ledger: SqlLedger, seconds: float) -> None:
    for size in SIZES:
        (plain, plain_cpu), (decided, decided_cpu) = (rate(ledger, size, flag, seconds) for flag in (False, True))
        print(f"{title:<12}{size:>16}{plain:>14.0f}{plain_cpu:>12.0f}{decided:>26.0f}{decided_cpu:>12.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement")
    parser.add_argument("--folder", default=None, help="where SQLite writes; default: the temporary folder")
    parser.add_argument("--postgres", default=None, help="URL of a database in which databases may be made")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'':<12}{'':>16}{'reports/s':>26}{'with rungs and verdicts/s':>38}")
    print(f"{'database':<12}{'reports/commit':>16}{'wall':>14}{'processor':>12}{'wall':>26}{'processor':>12}")
    with sqlite_ledger(options.folder) as ledger:
        table("SQLite", ledger, options.seconds)
    print(f"load {os.getloadavg()[0]:.1f}")
    server = options.postgres or listening()
    if server is None:
        print("PostgreSQL   not measured: no --postgres URL, and no server on 127.0.0.1:5432 that trusts us")
        return
    with postgres_ledger(server) as ledger:
        table("PostgreSQL", ledger, options.seconds)


if __name__ == "__main__":
    main()
