"""What is on the screen, read from the journal: only what has come since the last look."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rnnsweep.app.results.tables import ranked, row
from rnnsweep.app.watch.journal_source import JournalSource
from rnnsweep.sweep.states import SweepState, TrialState
from rnnsweep.sweep.views import SweepView, TrialView

BATCH = 5000
"""Journal entries per query."""
WINDOW_S = 30.0
"""Seconds of the sweep's wall time over which its rate is taken."""
Points = Sequence[tuple[float, float]]
"""A curve: (update, value), by update."""


@dataclass(frozen=True)
class Snapshot:
    """A sweep at one moment.

    Attributes:
        view: the sweep as it stands.
        entries: rows of its table, see `tables.row`, by number.
        trials: number -> trial.
        curves: number -> first objective at its rungs.
        best: number of the best complete trial, None without one.
        rate: row-updates per second lately; None while unknown.
    """

    view: SweepView
    entries: Sequence[Mapping[str, Any]] = ()
    trials: Mapping[int, TrialView] = field(default_factory=dict)
    curves: Mapping[int, Points] = field(default_factory=dict)
    best: int | None = None
    rate: float | None = None


class SweepFeed:
    """Follows a sweep's journal; for one thread at a time.

    A store that is away raises `StoreError`; the next `read` opens it again and goes on where the last one was.
    """

    def __init__(self, source: JournalSource) -> None:
        self._source = source
        self._seq = 0
        self._trials: dict[int, TrialView] = {}
        self._curves: dict[int, list[tuple[float, float]]] = {}
        self._entries: dict[int, Mapping[str, Any]] = {}
        self._best: int | None = None
        self._alive: bool | None = None
        self._spent: deque[tuple[float, int]] = deque()

    def close(self) -> None:
        """Leave the store."""
        self._source.close()

    def read(self) -> Snapshot:
        """The sweep as it is now.

        Raises:
            StoreError: the store is away, or damaged.
            ConfigError: the store has no such sweep (any more).
        """
        try:
            return self._read()
        except Exception:
            self.close()  # whatever it was, a connection that has failed is no use
            raise

    def metrics(self, number: int) -> dict[str, Points]:
        """All curves of one trial: metric key -> mean over its replicas at each rung."""
        curves: dict[str, list[tuple[float, float]]] = {}
        for change in self._source.changes(0, 1_000_000, number):
            if change.kind == "rung":
                for key, value in change.data["metrics"].items():
                    curves.setdefault(key, []).append((float(change.data["step"]), float(value)))
        return dict(sorted(curves.items()))

    def _read(self) -> Snapshot:
        changed = self._follow()
        view = self._source.view()
        alive = view.state is SweepState.RUNNING
        if alive is not self._alive:  # trials that a dead driver left as RUNNING wait
            changed, self._alive = set(self._trials), alive
        for number in changed:
            self._entries[number] = self._entry(view, number)
        if changed:
            best = next(iter(ranked(view, self._trials.values())), None)
            self._best = None if best is None else best.number
        entries = [self._entries[number] for number in sorted(self._entries)]
        curves = {number: tuple(points) for number, points in self._curves.items()}
        return Snapshot(view, entries, dict(self._trials), curves, self._best, self._rate(view))

    def _follow(self) -> set[int]:
        """Take in what is new in the journal; the trials that it is about."""
        changed: set[int] = set()
        while changes := self._source.changes(self._seq, BATCH):
            self._seq = changes[-1].seq
            for change in changes:
                if change.trial is None or change.kind not in ("trial", "rung"):
                    continue
                changed.add(change.trial)
                if change.kind == "trial":
                    self._trials[change.trial] = TrialView(**change.data)
                elif change.data["values"]:
                    point = (float(change.data["step"]), float(change.data["values"][0]))
                    self._curves.setdefault(change.trial, []).append(point)
            if len(changes) < BATCH:
                break
        return changed & self._trials.keys()

    def _entry(self, view: SweepView, number: int) -> Mapping[str, Any]:
        trial, points = self._trials[number], self._curves.get(number)
        newest = None
        if not trial.state.finished and points:
            newest = (int(points[-1][0]), points[-1][1])
        if trial.state is TrialState.RUNNING and not self._alive:
            trial = replace(trial, state=TrialState.WAITING)
        return row(view, trial, {}, newest)

    def _rate(self, view: SweepView) -> float | None:
        if not self._alive:
            self._spent.clear()
            return None
        if not self._spent or self._spent[-1][0] < view.wall_s:  # its driver notes it every few seconds
            self._spent.append((view.wall_s, view.updates))
        while len(self._spent) > 2 and view.wall_s - self._spent[0][0] > WINDOW_S:
            self._spent.popleft()
        (start, first), (end, last) = self._spent[0], self._spent[-1]
        return (last - first) / (end - start) if end > start else None
