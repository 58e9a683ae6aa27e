"""A ledger in memory that checks every rule of the port and can die or fail at any commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rnnsweep.errors import ConfigError, FencedError, StoreError
from rnnsweep.sweep.ports import (
    AttemptView,
    Change,
    PutAttempt,
    PutReports,
    PutRung,
    PutSweep,
    PutTrial,
    PutVerdict,
    SweepView,
    TrialView,
    Write,
)
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import TRIAL_MOVES, TrialState
from rnnsweep.sweep.verdicts import END, PAUSE, PROMOTE, START, VERDICTS


class Killed(BaseException):
    """The driver's process died here."""


class MemoryLedger:
    """One sweep's truth in dictionaries.

    before_commit(n, writes) runs before the n-th commit (1, 2, ...) takes effect and may raise:
    `Killed` is kill -9, `StoreError` is a database that is away.
    """

    def __init__(self, before_commit: Callable[[int, Sequence[Write]], None] | None = None) -> None:
        self.before_commit = before_commit
        self.commits = 0
        self.fence = 0
        self.sweep_views: dict[str, SweepView] = {}
        self.trial_views: dict[int, TrialView] = {}
        self.attempt_views: dict[tuple[int, int], AttemptView] = {}
        self.row_reports: dict[tuple[int, int, int], RowReport] = {}
        self.rungs: dict[tuple[int, int], PutRung] = {}
        self.verdict_list: list[tuple[int, int, str]] = []
        self._verdicts_of: dict[tuple[int, int, bool], list[str]] = {}
        self.journal: list[Change] = []
        self.cursors: dict[str, int] = {}
        self.taken: list[tuple[str, Mapping[str, Any]]] = []
        self.inbox: list[tuple[str, Mapping[str, Any]]] = []
        self.finished: list[int] = []
        self._lock = threading.RLock()

    def close(self) -> None:
        pass

    def sweeps(self) -> list[SweepView]:
        return list(self.sweep_views.values())

    def sweep(self, name: str) -> SweepView | None:
        return self.sweep_views.get(name)

    def create(self, view: SweepView) -> None:
        if view.name in self.sweep_views:
            raise ConfigError("the name is taken", key="name", value=view.name)
        self.sweep_views[view.name] = view

    def acquire(self, name: str, holder: str, timeout: float) -> int:
        self.fence += 1
        return self.fence

    def renew(self, name: str, fence: int) -> None:
        if fence != self.fence:
            raise FencedError(name)

    def release(self, name: str, fence: int) -> None:
        pass

    def commit(self, name: str, fence: int, writes: Sequence[Write]) -> None:
        with self._lock:
            self.commits += 1
            if self.before_commit is not None:
                self.before_commit(self.commits, writes)
            self.renew(name, fence)
            for write in writes:
                self._apply(write)

    def _apply(self, write: Write) -> None:
        match write:
            case PutSweep(view):
                self.sweep_views[view.name] = view
                self._journal("sweep", None, view)
            case PutTrial(view):
                self._put_trial(view)
            case PutAttempt(view):
                self.attempt_views[view.trial, view.number] = view
            case PutReports(reports):
                for report in reports:
                    self.row_reports.setdefault((report.trial, report.replica, report.rung), report)
            case PutRung():
                assert (write.trial, write.rung) not in self.rungs, f"rung written twice: {write}"
                self.rungs[write.trial, write.rung] = write
                self._journal("rung", write.trial, write)
            case PutVerdict():
                self._put_verdict(write)

    def _put_verdict(self, write: PutVerdict) -> None:
        assert write.verdict in VERDICTS
        starts = write.verdict == START  # of replicas, at no rung
        taken = self._verdicts_of.setdefault((write.trial, write.rung, starts), [])
        # a pause is followed by one promotion at most, and nothing else by anything
        assert taken == ([PAUSE] if write.verdict == PROMOTE else []), f"verdict taken twice: {taken}, {write}"
        taken.append(write.verdict)
        self.verdict_list.append((write.trial, write.rung, write.verdict))

    def _put_trial(self, view: TrialView) -> None:
        before = self.trial_views.get(view.number)
        if before is None:
            assert view.state is TrialState.WAITING
        elif before.state is not view.state:
            assert view.state in TRIAL_MOVES[before.state], f"{before.state} -> {view.state}: {view.history}"
            assert before.params == view.params
            if view.state.finished:
                self.finished.append(view.number)
        self.trial_views[view.number] = view
        self._journal("trial", view.number, view)

    def _journal(self, kind: str, trial: int | None, what: Any) -> None:
        data = what if isinstance(what, Mapping) else asdict(what)
        self.journal.append(Change(len(self.journal) + 1, kind, trial, 0.0, data))

    def trials(self, name: str) -> list[TrialView]:
        return [self.trial_views[number] for number in sorted(self.trial_views)]

    def attempts(self, name: str, trial: int | None = None) -> list[AttemptView]:
        return [view for key, view in sorted(self.attempt_views.items()) if trial in (None, key[0])]

    def reports(self, name: str, trial: int | None = None) -> list[RowReport]:
        ends = {number: rung for number, rung, verdict in self.verdict_list if verdict == END}
        counting = [report for report in self.row_reports.values() if report.rung < ends.get(report.trial, 1 << 60)]
        found = [report for report in counting if trial in (None, report.trial)]
        return sorted(found, key=lambda report: (report.trial, report.rung, report.replica))

    def verdicts(self, name: str, trial: int | None = None) -> list[tuple[int, int, str]]:
        return [verdict for verdict in self.verdict_list if trial in (None, verdict[0])]

    def changes(self, name: str, after: int, limit: int = 1000, trial: int | None = None) -> list[Change]:
        with self._lock:
            if trial is None:
                return self.journal[after : after + limit]
            return [change for change in self.journal[after:] if change.trial == trial][:limit]

    def newest(self, name: str) -> int:
        with self._lock:
            return self.journal[-1].seq if self.journal else 0

    def newest_rungs(self, name: str) -> list[Change]:
        with self._lock:
            newest = {one.trial: one for one in sorted(_rungs(self.journal), key=lambda one: one.data["rung"])}
        return [newest[trial] for trial in sorted(newest, key=lambda trial: trial or 0)]

    def cursor(self, name: str, mirror: str) -> int:
        return self.cursors.get(mirror, 0)

    def set_cursor(self, name: str, mirror: str, seq: int) -> None:
        assert seq == 0 or seq > self.cursors.get(mirror, 0)
        self.cursors[mirror] = seq

    def skip(self, name: str, mirror: str, change: Change, reason: str) -> None:
        with self._lock:
            if change.seq not in self.skipped(name, mirror):
                data = {"mirror": mirror, "seq": change.seq, "reason": reason}
                self._journal("skipped", change.trial, data)

    def skipped(self, name: str, mirror: str) -> dict[int, str]:
        entries = [change.data for change in self.journal if change.kind == "skipped"]
        return {entry["seq"]: entry["reason"] for entry in entries if entry["mirror"] == mirror}

    def driven(self, name: str) -> bool:
        return True

    def post(self, name: str, request: str, data: Mapping[str, Any] | None = None) -> None:
        data = {**(data or {}), "fence": self.fence} if request == "stop" else data
        self.inbox.append((request, data or {}))

    def take_requests(self, name: str, fence: int) -> list[tuple[str, Mapping[str, Any]]]:
        taken, self.inbox = self.inbox, []
        self.taken += taken
        return taken

    def requests_wait(self, name: str) -> bool:
        return bool(self.inbox)

    def taken_requests(self, name: str) -> list[tuple[str, Mapping[str, Any]]]:
        return list(self.taken)


def away(first: int, last: int) -> Callable[[int, Sequence[Write]], None]:
    """Commits first..last find no database."""

    def check(number: int, writes: Sequence[Write]) -> None:
        if first <= number <= last:
            raise StoreError("ledger", "database is locked")

    return check


def kill_at(commit: int) -> Callable[[int, Sequence[Write]], None]:
    """The process dies at this commit, before it takes effect."""

    def check(number: int, writes: Sequence[Write]) -> None:
        if number == commit:
            raise Killed

    return check


def _rungs(journal: Sequence[Change]) -> list[Change]:
    return [change for change in journal if change.kind == "rung" and change.trial is not None]
