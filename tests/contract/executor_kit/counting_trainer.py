"""A trainer without tensors: it counts, and misbehaves on command.

`params["do"]` says what a row does when it comes to a rung: ``segv@3``, ``exit@2``, ``raise@2``, ``freeze@1``
(SIGSTOP of its own process), ``fail@2`` (a RowFailure), ``solve@2``, ``diverge@2``, ``sleep`` (`seconds`,
or 0.3, at every rung), ``compile`` (`seconds`, or 0.5, at the first rung), ``compile late`` (the word that it has
compiled comes a second after that rung), ``repeat`` (a row that restores rung k says
first that it was DONE there, as a checkpoint does that was written before the row's updates were raised).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rnnsweep.sweep.rows import Orders, RowFailure, RowReport, RowSpec, WorkerInfo
from rnnsweep.sweep.states import RowState

EVERY = 10
"""Updates per rung."""
STATES = {"solve": RowState.SOLVED, "diverge": RowState.DIVERGED}


def value(spec: RowSpec, rung: int) -> float:
    """What a row reports: a function of its parameters and the rung only."""
    return float(spec.params.get("x", 1.0) or 0.0) / rung


def misbehave(what: str) -> None:
    time.sleep(0.5)  # the report of the rung before may still be on its way out of this process
    if what == "raise":
        raise ValueError("told to raise")
    if what == "exit":
        os._exit(3)
    if what == "segv":
        signal.raise_signal(signal.SIGSEGV)  # in this thread, as a real one
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.1)  # until all threads have stopped


@dataclass
class CountingTrainer:
    worker: str
    cores: int
    trace: str | None = None

    def __post_init__(self) -> None:
        self.rows: dict[tuple[int, int], tuple[RowSpec, int]] = {}
        self.note(f"built {threading.get_ident()}")

    def note(self, line: str) -> None:
        if self.trace:
            with Path(self.trace).open("a") as file:
                file.write(f"{self.worker} {time.time():.4f} {line}\n")

    def describe(self) -> WorkerInfo:
        names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
        seen = {name: os.environ.get(name, "unset") for name in names}
        seen.update(pid=str(os.getpid()), torch=str("torch" in sys.modules), cwd=os.getcwd())
        return WorkerInfo(self.worker, socket.gethostname(), "cpu", "counter", slots=4, versions=seen)

    def watch(self, tell: Callable[[bool, int], None]) -> None:
        self.tell = tell

    def settle(self) -> tuple[list[RowReport], list[RowFailure]]:
        return [], []

    def advance(self, orders: Orders) -> tuple[list[RowReport], list[RowFailure]]:
        for gone in orders.leave:
            held = self.rows.get((gone.trial, gone.replica))
            if held is not None and held[0].token == gone.token:
                del self.rows[gone.trial, gone.replica]
        reports: list[RowReport] = []
        for spec in orders.join:
            self.rows[spec.row] = (spec, spec.restore_to or 0)
            if spec.params.get("do") == "repeat" and spec.restore_to:
                rung = spec.restore_to
                old = {"valid/loss": value(spec, rung)}
                reports.append(RowReport(*spec.row, spec.token, rung, rung * EVERY, old, RowState.DONE))
        self.note("advance " + ",".join(f"{t}:{r}" for (t, _), (_, r) in sorted(self.rows.items())))
        failures: list[RowFailure] = []
        for row in list(self.rows):
            self.one(row, reports, failures)
        self.note(f"done {threading.get_ident()}")
        return reports, failures

    def one(self, row: tuple[int, int], reports: list[RowReport], failures: list[RowFailure]) -> None:
        spec, rung = self.rows[row]
        rung += 1
        state = self.obey(spec, rung)
        if state is RowState.FAILED:
            failures.append(RowFailure(spec.trial, spec.replica, spec.token, "bug", "told to fail", "Traceback: told"))
            del self.rows[row]
            return
        step = min(rung * EVERY, spec.updates)
        if step == spec.updates and state is RowState.ACTIVE:
            state = RowState.DONE
        reports.append(
            RowReport(spec.trial, spec.replica, spec.token, rung, step, {"valid/loss": value(spec, rung)}, state)
        )
        self.rows[row] = (spec, rung)
        if state.ended:
            del self.rows[row]

    def tell_of(self, rung: int) -> None:
        """Say how far the first two rungs are."""
        for updates in (2, 4) if rung <= 2 else ():
            self.tell(False, 10 * rung + updates)
            time.sleep(0.4)

    def obey(self, spec: RowSpec, rung: int) -> RowState:
        what, _, when = str(spec.params.get("do", "")).partition("@")
        if what.startswith("compile") and rung == 1:
            self.tell(True, 0)
            time.sleep(float(spec.params.get("seconds") or 0.5))
            if what == "compile late":
                threading.Timer(1.0, self.tell, [False, 0]).start()
            else:
                self.tell(False, 0)
        if what == "tell":
            self.tell_of(rung)
        if what == "sleep":
            time.sleep(float(spec.params.get("seconds") or 0.3))
        if not when or int(when) != rung:
            return RowState.ACTIVE
        if what == "fail":
            return RowState.FAILED
        if what in STATES:
            return STATES[what]
        misbehave(what)
        return RowState.ACTIVE

    def close(self) -> None:
        self.note("closed")


def factory(trace: str | None = None) -> partial[CountingTrainer]:
    return partial(CountingTrainer, trace=trace)


def slow_factory(worker: str, cores: int) -> CountingTrainer:
    time.sleep(6.0)
    return CountingTrainer(worker, cores)


def broken_factory(worker: str, cores: int) -> CountingTrainer:
    raise RuntimeError(f"no trainer for {cores} cores")
