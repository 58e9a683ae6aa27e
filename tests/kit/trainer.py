"""A trainer that trains nothing: curves are functions of (params, replica, step), checkpoints live in a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from rnnsweep.sweep.plan import Params
from rnnsweep.sweep.rows import Orders, RowFailure, RowReport, RowSpec, WorkerInfo
from rnnsweep.sweep.states import RowState

Disk = dict[tuple[int, int, str], dict[int, tuple[RowReport, ...]]]
"""(trial, replica, token) -> rung -> reports that were not acknowledged when the checkpoint was written."""


class WorkerDeath(Exception):
    """The whole worker is gone."""


@dataclass
class Faults:
    """Failures on purpose; each rule gets (trial, replica, rung) of the rung about to be trained."""

    poison: Callable[[int, int, int], bool] = lambda trial, replica, rung: False
    bug: Callable[[int, int, int], str] = lambda trial, replica, rung: ""
    refused: Callable[[Params], str] = lambda params: ""
    diverges: Callable[[int, int, int], bool] = lambda trial, replica, rung: False
    solves: Callable[[int, int, int], bool] = lambda trial, replica, rung: False
    greedy: Callable[[int], bool] = lambda trial: False
    memory: int = 1_000_000
    crash_every: int = 0


def default_curve(params: Params, replica: int, step: int) -> dict[str, float]:
    x = float(params.get("x", 0.5))  # type: ignore[arg-type]
    return {"valid/error": abs(x - 0.3) + 1.0 / (1 + step) + 0.01 * replica, "train/loss": x + 0.1 / (1 + step)}


@dataclass
class SimRow:
    spec: RowSpec
    rung: int = 0
    unseen: tuple[RowReport, ...] = ()
    ended: bool = False


@dataclass
class SimTrainer:
    """Obeys the trainer's contract without tensors; `disk` is what survives a worker."""

    worker: str
    disk: Disk
    faults: Faults = field(default_factory=Faults)
    report_every: int = 10
    slots: int = 8
    node: str = "node"
    curve: Callable[[Params, int, int], dict[str, float]] = default_curve
    rows: dict[tuple[int, int], SimRow] = field(default_factory=dict)
    advances: int = 0
    trained: list[tuple[int, int, int]] = field(default_factory=list)

    def describe(self) -> WorkerInfo:
        return WorkerInfo(self.worker, self.node, "cpu", "simulated", self.slots)

    def watch(self, tell: Callable[[bool, int], None]) -> None:
        self.tell = tell

    def settle(self) -> tuple[list[RowReport], list[RowFailure]]:
        return [], []

    def advance(self, orders: Orders) -> tuple[list[RowReport], list[RowFailure]]:
        self._obey(orders)
        reports = [report for row in self.rows.values() for report in self._again(row)]
        self.rows = {key: row for key, row in self.rows.items() if not row.ended}
        if not self.rows:
            return reports, []
        self.advances += 1
        if self.faults.crash_every and self.advances % self.faults.crash_every == 0:
            raise WorkerDeath("every so often")
        if len(self.rows) > self.faults.memory or any(self.faults.greedy(trial) for trial, _ in self.rows):
            specs, self.rows = [row.spec for row in self.rows.values()], {}
            return reports, [self._failure(spec, "out_of_memory", "no memory") for spec in specs]
        failures: list[RowFailure] = []
        for row in list(self.rows.values()):
            self._train(row, reports, failures)
        return reports, failures

    def close(self) -> None:
        self.rows.clear()

    @staticmethod
    def _failure(spec: RowSpec, kind: str, reason: str) -> RowFailure:
        trace = f"Traceback: {reason}" if kind == "bug" else ""
        return RowFailure(spec.trial, spec.replica, spec.token, kind, reason, trace)

    def _obey(self, orders: Orders) -> None:
        for leave in orders.leave:
            row = self.rows.get((leave.trial, leave.replica))
            if row is not None and row.spec.token == leave.token:
                del self.rows[leave.trial, leave.replica]
            files = self.disk.get((leave.trial, leave.replica, leave.token), {})
            for rung in [rung for rung in files if leave.keep_rung is not None and rung > leave.keep_rung]:
                del files[rung]
        for key, rung in orders.acknowledged.items():
            if key in self.rows:
                unseen = self.rows[key].unseen
                self.rows[key].unseen = tuple(report for report in unseen if report.rung > rung)
        for spec in orders.join:
            assert spec.row not in self.rows, f"{spec.row} joined twice"
            self.rows[spec.row] = self._restore(spec)

    def _restore(self, spec: RowSpec) -> SimRow:
        for token in spec.restore:
            files = self.disk.get((spec.trial, spec.replica, token), {})
            rungs = [rung for rung in files if spec.restore_to is None or rung <= spec.restore_to]
            if rungs:
                unseen = tuple(replace(report, token=spec.token) for report in files[max(rungs)])
                return SimRow(spec, max(rungs), unseen)
        return SimRow(spec)

    def _again(self, row: SimRow) -> Sequence[RowReport]:
        """Reports that a restored row brings with it."""
        if row.spec.token in {report.token for report in row.unseen} and row.spec.restore:
            again = row.unseen
            row.spec = replace(row.spec, restore=())
            if again and again[-1].state.ended and not self._goes_on(again[-1], row):
                row.ended = True
            return again
        return ()

    @staticmethod
    def _goes_on(report: RowReport, row: SimRow) -> bool:
        return report.state is RowState.DONE and report.step < row.spec.updates

    def _train(self, row: SimRow, reports: list[RowReport], failures: list[RowFailure]) -> None:
        spec, rung = row.spec, row.rung + 1
        who = (spec.trial, spec.replica, rung)
        if self.faults.poison(*who):
            raise WorkerDeath(f"poison in {who}")
        reason, kind = self.faults.bug(*who), "bug"
        if not reason:
            reason, kind = self.faults.refused(spec.params), "refused"
        if reason:
            del self.rows[spec.row]
            failures.append(self._failure(spec, kind, reason))
            return
        self.trained.append(who)
        report = self._report(spec, rung)
        row.rung, row.unseen = rung, (*row.unseen, report)
        self.disk.setdefault((spec.trial, spec.replica, spec.token), {})[rung] = row.unseen
        reports.append(report)
        if report.state.ended:
            del self.rows[spec.row]

    def _report(self, spec: RowSpec, rung: int) -> RowReport:
        step = min(rung * self.report_every, spec.updates)
        state, solved, diverged = RowState.ACTIVE, None, None
        metrics = self.curve(spec.params, spec.replica, step)
        if self.faults.diverges(spec.trial, spec.replica, rung):
            state, diverged, metrics = RowState.DIVERGED, step, {}
        elif self.faults.solves(spec.trial, spec.replica, rung):
            state, solved = RowState.SOLVED, step
        elif step >= spec.updates:
            state = RowState.DONE
        return RowReport(
            spec.trial, spec.replica, spec.token, rung, step, metrics, state, solved, None, diverged, 0.001, "sim"
        )
