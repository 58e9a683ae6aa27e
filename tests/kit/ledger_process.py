"""Drivers in processes of their own, for tests that kill, stop and race them: ``python -m tests.kit.ledger_process``.

Each says on its standard output, line by line, what has happened.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rnnsweep.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from rnnsweep.errors import ConfigError, FencedError, LockedError
from rnnsweep.sweep.ports import PutReports, SweepView
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import SweepState

DEADLINE = 1.0
BATCH = 50


def spawn(*words: object) -> subprocess.Popen[str]:
    """Start ``mode url ...`` in a process with pipes."""
    command = [sys.executable, "-m", "tests.kit.ledger_process", *map(str, words)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def heard(process: subprocess.Popen[str]) -> str:
    """The next line that it says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    """Let it go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def batch(number: int) -> PutReports:
    """`BATCH` reports of one rung."""
    return PutReports(tuple(RowReport(t, 0, "token", number, number * 100, {"loss": 0.1 * t}) for t in range(BATCH)))


def _say(*words: object) -> None:
    print(*words, flush=True)


def _create(ledger: SqlLedger, name: str) -> None:
    try:
        ledger.create(SweepView(name, SweepState.RUNNING, {}))
        _say("created")
    except ConfigError:
        _say("taken")


def _race(ledger: SqlLedger, name: str) -> None:
    try:
        _say("fence", ledger.acquire(name, "racer", 0.2))
    except LockedError as error:
        _say("locked", error.holder)
    sys.stdin.readline()


def _write(ledger: SqlLedger, name: str) -> None:
    fence = ledger.acquire(name, "writer", 0.0)
    for number in range(1, 1_000_000):
        ledger.commit(name, fence, [batch(number)])
        _say(number)


def _hold(ledger: SqlLedger, name: str) -> None:
    fence = ledger.acquire(name, "holder", 0.0)
    _say("fence", fence)
    acts: list[Callable[[], Any]] = [
        lambda: ledger.commit(name, fence, [batch(99)]),
        lambda: ledger.renew(name, fence),
        lambda: ledger.take_requests(name, fence),
    ]
    while not _refused(acts):
        time.sleep(0.3)
    _say("refused", _refused(acts))  # all of them anew: it may have been stopped between two


def _refused(acts: Sequence[Callable[[], Any]]) -> int:
    refused = 0
    for act in acts:
        try:
            act()
        except FencedError:
            refused += 1
    return refused


def main() -> None:
    """``mode url sweep [start]``: do it, from the moment `start` (seconds since the epoch) on."""
    mode, url, name, *start = sys.argv[1:]
    if start:
        time.sleep(max(0.0, float(start[0]) - time.time()))
    ledger = open_ledger(url, deadline=DEADLINE)
    {"create": _create, "race": _race, "write": _write, "hold": _hold}[mode](ledger, name)


if __name__ == "__main__":
    main()
