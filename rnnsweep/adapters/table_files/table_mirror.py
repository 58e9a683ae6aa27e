"""The `Mirror` that keeps a sweep as tables: one of trials, one of all points.

    journal ─► TrackedSweep ─► points that are new ─► curves (only grows)
                          └──► all trials ─────────► trials (replaced as a whole)

A kill leaves at most a torn end of the curves, which the next session cuts off; what it repeats is known by its step.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from rnnsweep.adapters.sweep_folder import SweepFolder
from rnnsweep.adapters.table_files.trial_rows import Column, trial_columns, trial_row
from rnnsweep.adapters.tracked_trials import KnownPoints, Point, TrackedSweep, TrackedTrial, TrackerFacts
from rnnsweep.errors import StoreError
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.ports import Change
from rnnsweep.sweep.states import SweepState, TrialState
from rnnsweep.sweep.views import SweepView

Curves = Mapping[int | None, Sequence[Point]]
"""Trial (None: the sweep itself) -> points."""


class TableFormat(Protocol):
    """Files of one format.

    Attributes:
        name: of the mirror.
    """

    name: str

    def points(self, folder: Path) -> Iterable[tuple[int | None, str, int]]:
        """(trial, key, step) of all whole points, in the order written; a torn end is passed over."""
        ...

    def mend(self, folder: Path) -> None:
        """Cut a torn end off, before anything is added."""
        ...

    def add(self, folder: Path, curves: Curves) -> None:
        """Append points."""
        ...

    def write_trials(self, folder: Path, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Replace the table of trials."""
        ...

    def read_trials(self, folder: Path) -> list[tuple[int, str, int]]:
        """(trial, state, step) of its rows; empty where there is no table."""
        ...


class TableMirror:
    """Implements `Mirror` with tables below ``root/SWEEP``.

    Attributes:
        batch: journal entries per `write`: a call opens and closes a file.
    """

    batch = 2000

    def __init__(self, form: TableFormat, root: Path, sweep: SweepView, plan: SweepPlan, facts: TrackerFacts) -> None:
        self.name = form.name
        self._form = form
        self._folder = SweepFolder(form.name, root, sweep)
        self._tracked = TrackedSweep(plan, facts)
        self._known: KnownPoints | None = None
        self._next_table = 0.0
        self._table_is_old = False

    def holds(self, batches: Iterable[Sequence[Change]]) -> bool:
        """Whether the files have every trial as it stands, and of each curve as many points."""
        self._tracked.replay(batches)
        if not self._folder.is_ours:
            return False
        try:
            return self._has_trials() and self._has_points()
        except OSError as error:
            raise StoreError(self.name, f"{error.filename}: {error.strerror or error}") from error
        except Exception:  # noqa: BLE001 - whatever cannot be read as our table is ours no longer
            return False

    def _has_trials(self) -> bool:
        rows = {number: (state, step) for number, state, step in self._form.read_trials(self._folder.path)}
        return all(one.number in rows and _not_behind(rows[one.number], one) for one in self._tracked.trials.values())

    def _has_points(self) -> bool:
        counts = Counter((trial, key) for trial, key, _ in self._form.points(self._folder.path))
        curves = {None: self._tracked.reported}
        curves |= {number: trial.reported for number, trial in self._tracked.trials.items()}
        return all(counts[one, key] >= count for one, keys in curves.items() for key, count in keys.items())

    def start_over(self) -> None:
        """Remove what is there: points could not be put between others."""
        self._folder.clear()
        self._tracked.reset()
        self._known = None

    def write(self, changes: Sequence[Change]) -> None:
        """Apply journal entries in order; `StoreError` when the files cannot be written, then they come again."""
        self._tracked.take(changes)
        try:
            with self._folder.errors():
                self._write()
        except StoreError:
            self._known = None  # how much was written is unknown: look again
            raise
        self._tracked.written()

    def close(self) -> None:
        """Write the table of trials where that was put off."""
        if self._table_is_old:
            with self._folder.errors():
                self._write_trials()

    def _write(self) -> None:
        known = self._opened()
        curves: dict[int | None, list[Point]] = {
            trial.number: known.new(trial.number, trial.points) for trial in self._tracked.pending if trial.points
        }
        curves[None] = known.new(None, self._tracked.points)
        if any(curves.values()):
            self._form.add(self._folder.path, {trial: points for trial, points in curves.items() if points})
        self._table_is_old |= any(trial.dirty for trial in self._tracked.pending)
        ended = self._tracked.state not in (None, SweepState.RUNNING)
        if self._table_is_old and (ended or time.monotonic() >= self._next_table):
            self._write_trials()

    def _opened(self) -> KnownPoints:
        if self._known is None:
            self._folder.claim()
            self._form.mend(self._folder.path)
            self._known = KnownPoints()
            for trial, key, step in self._form.points(self._folder.path):
                self._known.note(trial, key, step)
        return self._known

    def _write_trials(self) -> None:
        begin = time.monotonic()
        trials = self._tracked.trials
        rows = [trial_row(self._tracked, trials[number]) for number in sorted(trials)]
        self._form.write_trials(self._folder.path, trial_columns(self._tracked.plan), rows)
        self._table_is_old = False
        # the whole table each time: at most a twentieth of the thread's time goes there, however long the sweep is
        now = time.monotonic()
        self._next_table = now + max(1.0, 20 * (now - begin))


def _not_behind(row: tuple[str, int], trial: TrackedTrial) -> bool:
    """Whether a row is as the journal has the trial, or from entries beyond the cursor, which will come again."""
    state, step = TrialState(row[0]), row[1]
    return row == (trial.state.value, trial.step) or (step, state.finished) > (trial.step, trial.state.finished)
