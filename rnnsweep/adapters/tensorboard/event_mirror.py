"""The `Mirror` that writes TensorBoard's event files: a run per trial, and one for the sweep.

    root/SWEEP/            curves of the sweep, its space (hparams)
              00000/       trial 0: version, params, one event per kept rung, end
              00001/       ...

A kill leaves at most a torn record, which is cut off; what is repeated is known by its step. A trial that goes on after
its end (retried, extended) loses the record of that end and gets another.
"""

# pyright: reportAttributeAccessIssue=false
# the modules that protobuf makes have no types

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rnnsweep.adapters.sweep_folder import SweepFolder
from rnnsweep.adapters.tensorboard.event_file import EventFile
from rnnsweep.adapters.tracked_trials import KnownPoints, Point, TrackedSweep, TrackedTrial, TrackerFacts
from rnnsweep.errors import StoreError
from rnnsweep.sweep.plan import Scalar, SweepPlan
from rnnsweep.sweep.ports import Change
from rnnsweep.sweep.views import SweepView

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event


@dataclass
class _Standing:
    """What a file holds.

    Attributes:
        records: whole ones. end: the event of the trial's end, empty where it has none. end_at: its offset.
    """

    records: int = 0
    end: bytes = b""
    end_at: int = 0


class TensorBoardMirror:
    """Implements `Mirror` for TensorBoard.

    Attributes:
        batch: journal entries per `write`: a call opens the files of all trials that it is about.
    """

    name = "tensorboard"
    batch = 2000

    def __init__(self, root: Path, sweep: SweepView, plan: SweepPlan, facts: TrackerFacts) -> None:
        self._folder = SweepFolder(self.name, root, sweep)
        self._sweep = sweep
        self._tracked = TrackedSweep(plan, facts)
        self._forget()

    def holds(self, batches: Iterable[Sequence[Change]]) -> bool:
        """Whether every trial's file is there, with as many whole records as it was given."""
        self._tracked.replay(batches)
        with self._folder.errors():
            if not self._folder.is_ours:
                return False
            own = self._file(None, self._sweep.created).count() >= 2 + self._tracked.steps
            trials = self._tracked.trials.values()
            return own and all(self._file(one.number, one.started).count() >= _records(one) for one in trials)

    def start_over(self) -> None:
        """Remove what is there: events could not be put between others."""
        self._folder.clear()
        self._tracked.reset()
        self._forget()

    def write(self, changes: Sequence[Change]) -> None:
        """Apply journal entries in order; `StoreError` when the files cannot be written, then they come again."""
        self._tracked.take(changes)
        try:
            with self._folder.errors():
                self._folder.claim()
                for trial in self._tracked.pending:
                    self._write_trial(trial)
                self._write_sweep()
        except StoreError:
            self._forget()  # how much was written is unknown: look again
            raise
        self._tracked.written()

    def close(self) -> None:
        """Nothing is buffered between calls."""

    # ------------------------------------------------------------------ files

    def _forget(self) -> None:
        self._known, self._standings = KnownPoints(), dict[int | None, _Standing]()

    def _file(self, trial: int | None, started: float) -> EventFile:
        folder = self._folder.path if trial is None else self._folder.path / f"{trial:05d}"
        return EventFile(folder / f"events.out.tfevents.{int(started)}.{self._sweep.identity}")

    def _opened(self, trial: int | None, file: EventFile) -> _Standing:
        """What the file holds, its torn end cut off; read once."""
        if trial not in self._standings:
            from tensorboard.compat.proto.event_pb2 import Event

            from rnnsweep.adapters.tensorboard.summaries import END

            standing, size = _Standing(), 0
            for offset, record in file.records():
                event = Event.FromString(record)
                tags = [value.tag for value in event.summary.value]
                if END in tags:
                    standing.end, standing.end_at = record, offset
                else:
                    for value in event.summary.value:
                        if value.WhichOneof("value") == "simple_value":
                            self._known.note(trial, value.tag, event.step)
                standing.records, size = standing.records + 1, offset + len(record) + 16
            file.cut(size)
            self._standings[trial] = standing
        return self._standings[trial]

    def _write_trial(self, trial: TrackedTrial) -> None:
        from rnnsweep.adapters.tensorboard import summaries

        file = self._file(trial.number, trial.started)
        standing = self._opened(trial.number, file)
        head = [summaries.first_event(trial.started), summaries.start(trial.number, self._params(trial), trial.started)]
        events = head[standing.records :] + self._scalars(trial.number, trial.points, trial.started)
        end = None
        if trial.ended_at is not None:
            end = summaries.end(trial.state, trial.step, self._tracked.tags(trial), trial.ended_at)
        if standing.end and (events or end is None or end.SerializeToString() != standing.end):
            file.cut(standing.end_at)
            standing.records, standing.end = standing.records - 1, b""
        if end is not None and not standing.end:
            events.append(end)
        self._append(file, standing, events)
        if end is not None:
            standing.end = standing.end or end.SerializeToString()
            standing.end_at = file.path.stat().st_size - len(standing.end) - 16

    def _params(self, trial: TrackedTrial) -> dict[str, Scalar]:
        return self._tracked.params(trial)

    def _write_sweep(self) -> None:
        from rnnsweep.adapters.tensorboard import summaries

        created, plan = self._sweep.created, self._tracked.plan
        file = self._file(None, created)
        standing = self._opened(None, file)
        events = self._scalars(None, self._tracked.points, created)
        if standing.records < 2:
            metrics = list(self._tracked.facts.metrics())
            head = [summaries.first_event(created), summaries.experiment(plan.space, metrics, created)]
            events = head[standing.records :] + events
        self._append(file, standing, events)

    def _scalars(self, trial: int | None, points: Iterable[Point], started: float) -> list[Event]:
        from rnnsweep.adapters.tensorboard import summaries

        return summaries.scalars(self._known.new(trial, points), started)

    def _append(self, file: EventFile, standing: _Standing, events: Sequence[Event]) -> None:
        if events:
            file.append(events)
            standing.records += len(events)


def _records(trial: TrackedTrial) -> int:
    """Records that a trial's file has at least: version, params, kept rungs, end."""
    return 2 + trial.rungs + (trial.ended_at is not None)
