"""The decision path at a cluster's size: ``python benchmarks/scale.py [--trials 10000] [--workers 1000]``.

Simulated workers, everything else real: machine, driver, ledger on SQLite. Prints, per trial, the processor time of
the driver's thread in all and in the ledger (what others do on the machine counts little), and the wall time; row
reports accepted and durable per second; memory growth per finished trial; and how TPE's asks grow with the history.
The promises: at most 2 ms per trial besides sampler and mirrors, 2 500 reports per second, 20 KB per finished trial.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from rnnsweep.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from rnnsweep.core.controllers.clip import GlobalNormClip
from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.metrics.names import METRIC_KEYS
from rnnsweep.sweep.driver import Driver
from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.ports import ExecutorEvent, RungTrained, SweepView, WorkerJoined, Write
from rnnsweep.sweep.rows import Orders, RowReport, RowSpec, WorkerInfo
from rnnsweep.sweep.session import Pace
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import RowState, SweepState
from tests.kit.sampler import ScriptedSampler

KEYS = (*METRIC_KEYS, *GlobalNormClip.metrics, *Omega.metrics, *Sampling.metrics)
"""As many metrics as a trial with all controllers has."""


EVERY = 10
SPACE = Space(
    (Dimension("x", "float", 0.0, 1.0), *(Dimension(f"p{n}", "float", 1e-4, 1.0, log=True) for n in range(5)))
)


class Fleet:
    """Workers that train all their rows for one rung whenever they are polled.

    Each poll returns the events of `share` workers, as a cluster's would come in between two turns of the driver.
    """

    def __init__(self, workers: int, slots: int, share: int) -> None:
        self.rows: dict[str, dict[tuple[int, int], tuple[RowSpec, int]]] = {f"w{n}": {} for n in range(workers)}
        self.slots, self.share, self.batch = slots, share, 0
        self.names = list(self.rows)
        self.reports = 0
        self.spent = 0.0  # s, of the driver's thread: not the driver's work

    def connect(self) -> None: ...

    def start(self) -> None:
        self.fresh: list[ExecutorEvent] = [
            WorkerJoined(WorkerInfo(name, f"n{index % 100}", "cpu", "", self.slots))
            for index, name in enumerate(self.names)
        ]

    def order(self, worker: str, orders: Orders) -> None:
        rows = self.rows[worker]
        for leave in orders.leave:
            rows.pop((leave.trial, leave.replica), None)
        rows.update({spec.row: (spec, 0) for spec in orders.join})

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        del timeout
        began = time.thread_time()
        events, self.fresh = self.fresh, []
        for _ in range(self.share):
            name = self.names[self.batch % len(self.names)]
            self.batch += 1
            if self.rows[name]:
                events.append(self._rung(name))
        self.spent += time.thread_time() - began
        return events

    def _rung(self, name: str) -> RungTrained:
        made = []
        for row, (spec, before) in list(self.rows[name].items()):
            rung = before + 1
            state = RowState.DONE if rung * EVERY >= spec.updates else RowState.ACTIVE
            metrics = {key: (spec.trial + rung) / (7.0 + index) for index, key in enumerate(KEYS[:18])}
            metrics["valid/error"] = abs(float(spec.params["x"]) - 0.3) + 1.0 / rung  # type: ignore[arg-type]
            made.append(RowReport(*row, spec.token, rung, rung * EVERY, metrics, state, device_s=0.01, engine="sim"))
            if state is RowState.DONE:
                del self.rows[name][row]
            else:
                self.rows[name][row] = (spec, rung)
        self.reports += len(made)
        return RungTrained(name, tuple(made))

    def exclude(self, node: str) -> None: ...

    def stop(self, graceful: bool) -> None: ...


class Timed:
    """A ledger whose commits are timed."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._ledger, self.cpu, self.wall, self.commits = ledger, 0.0, 0.0, 0

    def __getattr__(self, name: str):
        return getattr(self._ledger, name)

    def commit(self, name: str, fence: int, writes: Sequence[Write]) -> None:
        cpu, wall = time.thread_time(), time.perf_counter()
        self._ledger.commit(name, fence, writes)
        self.cpu += time.thread_time() - cpu
        self.wall += time.perf_counter() - wall
        self.commits += 1


def decision_path(folder: str, trials: int, workers: int, reports: int, share: int) -> None:
    ledger = Timed(open_ledger(f"sqlite:///{folder}/ledger-{workers}.db"))
    plan = SweepPlan("scale", 1, 1, EVERY, (Objective("valid/error"),), Budget(trials, EVERY * reports), SPACE)
    ledger.create(SweepView("scale", SweepState.RUNNING, {}))
    fence, fleet = ledger.acquire("scale", "benchmark", 0.0), Fleet(workers, 2, share)
    point = {f"p{n}": 0.5 for n in range(5)}
    sampler = ScriptedSampler(lambda number: {"x": number / trials, **point})
    sampler.asked = type("Nothing", (list,), {"__contains__": lambda *_: False})()  # its own check is quadratic
    process = psutil.Process()
    before, cpu, wall = process.memory_info().rss, time.thread_time(), time.perf_counter()
    pace = Pace(poll=0.0)
    outcome = Driver(plan, ledger, sampler, fleet, fence=fence, pace=pace).run()  # type: ignore[arg-type]
    cpu, wall = time.thread_time() - cpu - fleet.spent, time.perf_counter() - wall - fleet.spent
    grown = process.memory_info().rss - before
    assert outcome.exit_code == 0, outcome
    per = 1000.0 / trials
    print(
        f"{trials} trials x {reports} reports on {workers} workers, {share} of them per turn, {ledger.commits} commits"
    )
    total, stored = cpu * per, ledger.cpu * per
    print(f"  per trial: {total:.2f} ms processor time, {stored:.2f} of it the ledger; {wall * per:.2f} ms wall")
    rate = fleet.reports / wall
    print(f"  row reports accepted and durable: {rate:,.0f}/s wall, {fleet.reports / cpu:,.0f}/s processor")
    print(f"  memory per finished trial: {grown / trials / 1024:.1f} KB, the test double of the sampler included")
    ledger.close()


def asks() -> None:
    """Milliseconds of one TPE ask with 6 dimensions, by the number of finished trials."""
    from rnnsweep.adapters.optuna.sampler import build_sampler
    from rnnsweep.sweep.ports import TrialView
    from rnnsweep.sweep.states import TrialState

    plan = SweepPlan("asks", 1, 1, EVERY, (Objective("valid/error"),), Budget(20_000, 100), SPACE)
    package = "rnnsweep.adapters.optuna"
    sampler = build_sampler(
        plan, {"_target_": f"{package}.samplers.tpe.Tpe"}, {"_target_": f"{package}.pruners.none.Never"}
    )
    done = 0
    for size in (100, 1000, 2000, 5000, 10_000):
        for number in range(done, size):
            params = {
                "x": (number * 37 % 1000) / 1000,
                **{f"p{n}": 10 ** -(((number + 1) * (n + 3)) % 40 / 10) for n in range(5)},
            }
            value = abs(params["x"] - 0.3) + abs(math.log10(params["p0"]))
            sampler.tell(TrialView(number, TrialState.COMPLETE, params, (value,)))
        done = size
        cpu = time.thread_time()
        for number in range(20_000, 20_010):
            sampler.ask(number)
            sampler.tell(TrialView(number, TrialState.FAILED, {}))
        print(f"  TPE ask after {size:>6} trials: {(time.thread_time() - cpu) * 100:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--reports", type=int, default=20)
    parser.add_argument("--share", type=int, default=50, help="workers that report between two turns of the driver")
    parser.add_argument("--folder", default=None, help="where SQLite writes; default: the temporary folder")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        decision_path(folder, options.trials, options.workers, options.reports, options.share)
    asks()


if __name__ == "__main__":
    main()
