"""The `Mirror` that writes the ledger's journal into MLflow: parent run = sweep, child run = trial.

    journal ─► write ─► one TrialRun per trial: points, params, tags, status ─► store ─► MLflow's tables
                   └──► SweepRun: note, progress, status, report

Writing twice is writing once: a child is found by its tag ``rnnsweep.trial``, and a metric's timestamp is the run's
start plus its step in milliseconds, so that a repeated point is the same tuple, which MLflow drops. MLflow is imported
at the first use, in the mirror's own thread: it takes seconds that the cluster's start need not wait for.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rnnsweep.adapters import sqlite
from rnnsweep.adapters.mlflow.formatting import ORDER, rank_of, trial_tags
from rnnsweep.adapters.mlflow.sqlite_tables import IDENTITY, KIND, PARENT, SWEEP, TRIAL, points_by_curve, trial_runs
from rnnsweep.adapters.mlflow.sweep_run import SweepRun
from rnnsweep.adapters.mlflow.tracker_options import TrackerOptions
from rnnsweep.adapters.tracked_trials import kept, stand_in
from rnnsweep.adapters.trial_texts import legal_name, param_text
from rnnsweep.errors import StoreError
from rnnsweep.sweep.edits import brought_up
from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.ports import Change, SweepView
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.summary import Rank, rank

if TYPE_CHECKING:
    from mlflow.entities import Run

    from rnnsweep.adapters.mlflow.store import Point, RunStore

LOG = logging.getLogger(__name__)
STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAILED: "FAILED"}
IDLE = (TrialState.WAITING, TrialState.PAUSED)
ENDED = {status: state for state, status in STATUS.items()}
FIRST = "objective"
"""The metric that a run gets first: the UI compares by the one that was written first."""


@dataclass
class TrialRun:
    """A trial's run, a child of the sweep's, between two writes, and what is to be written into it next.

    Attributes:
        run_id: MLflow's.
        base_ms: start of the run, ms since the epoch; a point's timestamp is this plus its step.
        keys: metric keys that the run has, or will have with `points`.
        params_known: names of the params that it has; they never change.
        points, params, tags: to be written.
        last: step and values of the newest rung.
        ended: status and time (ms since the epoch) to be written once it has ended.
        status: that MLflow has.
        shape_key: of the trial's params; None until it was asked for.
        deleted: somebody deleted the run; it comes back when there is something to write.
    """

    run_id: str
    base_ms: int
    keys: set[str]
    params_known: frozenset[str] = frozenset()
    points: list[Point] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    last: tuple[int, Mapping[str, float]] | None = None
    ended: tuple[str, int] | None = None
    status: str = ""
    shape_key: str | None = None
    deleted: bool = False

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Queue finite values at a step."""
        finite = [(key, float(value)) for key, value in metrics.items() if math.isfinite(value)]
        finite.sort(key=lambda item: item[0] != FIRST)
        self.points.extend((legal_name(key), value, self.base_ms + step, step) for key, value in finite)
        self.keys.update(legal_name(key) for key, _ in finite)


class MlflowMirror:
    """Implements `Mirror` for MLflow.

    Attributes:
        batch: journal entries per `write` at which MLflow is fastest: a call of its client then carries many points.
    """

    name = "mlflow"
    batch = 5000

    def __init__(self, uri: str, sweep: SweepView, plan: SweepPlan, options: TrackerOptions) -> None:
        self._uri, self._sweep, self._plan, self._options = uri, sweep, plan, options
        self._store: RunStore | None = None
        self._sweep_run = SweepRun(sweep, plan, options)
        self._runs: dict[int, TrialRun] = {}
        self._keys: list[str] = []
        self._complete: set[str] = set()

    # -------------------------------------------------------------- port

    def holds(self, batches: Iterable[Sequence[Change]]) -> bool:
        """Whether MLflow still has what these entries brought it: every run, and of each curve as many points."""
        expected = self._expected(batches)
        return self._holds_at_a_glance(expected) or self._holds(expected)

    def _expected(self, batches: Iterable[Sequence[Change]]) -> dict[int, Counter[str]]:
        """Trials that must have a run -> number of points that each of its curves must have at least."""
        # by curve: elsewhere a run may have more than the journal, stand-ins for keys that nothing reported
        expected: dict[int, Counter[str]] = {}
        for change in (change for changes in batches for change in changes):
            if change.trial is None:
                continue
            if change.kind == "trial" and change.data["state"] not in IDLE:
                expected.setdefault(change.trial, Counter())
            elif change.kind == "rung" and change.trial in expected and self._kept(int(change.data["step"])):
                metrics = change.data["metrics"]
                # a set: two keys whose legal name is one share a curve
                expected[change.trial].update({legal_name(key) for key in metrics if math.isfinite(metrics[key])})
        return expected

    def _holds_at_a_glance(self, expected: Mapping[int, Mapping[str, int]]) -> bool:
        """True where the tables of a SQLite file say so: a finished sweep is then resumed without importing MLflow."""
        database = sqlite.path_of(self._uri)
        if database is None or not expected:
            return False
        runs, counts = trial_runs(database, self._sweep), points_by_curve(database)
        return all(
            number in runs and all(counts.get((runs[number], key), 0) >= count for key, count in points.items())
            for number, points in expected.items()
        )

    def _holds(self, expected: Mapping[int, Mapping[str, int]]) -> bool:
        counts = self._opened().points_by_curve()
        for number, points in expected.items():
            run = self._runs.get(number)
            if run is None or run.deleted:
                return False
            if counts is not None and any(counts.get((run.run_id, key), 0) < count for key, count in points.items()):
                return False
        return True

    def start_over(self) -> None:
        """Nothing is in the way: what is there stays, and what is missing is added."""

    def write(self, changes: Sequence[Change]) -> None:
        """Apply journal entries in order; `StoreError` when MLflow is away, then the same entries come again."""
        store = self._opened()
        from rnnsweep.adapters.mlflow.store import store_errors

        try:
            with store_errors():
                for change in changes:
                    self._take(store, change)
                self._write_points(store)
                for run in self._runs.values():
                    self._flush(store, run)
                self._sweep_run.write(store, lambda number: store.params(self._runs[number].run_id))
        except BaseException:
            self._store = None  # what the failed call has done is unknown: look again
            raise

    def close(self) -> None:
        """Nothing is buffered between calls."""
        self._store = None

    def run_ids(self) -> dict[int, str]:
        """Trial number -> run id, of all trials that have a run."""
        self._opened()
        return {number: run.run_id for number, run in sorted(self._runs.items()) if not run.deleted}

    @property
    def experiment_id(self) -> str:
        """Id of the sweep's experiment."""
        return self._opened().experiment_id

    @property
    def parent_id(self) -> str:
        """Run id of the sweep."""
        self._opened()
        return self._sweep_run.run_id

    # -------------------------------------------------------------- opening

    def _opened(self) -> RunStore:
        """The open store; no entry is to blame for what goes wrong here, be it only that MLflow is not installed."""
        try:
            return self._open()
        except StoreError:
            raise
        except Exception as error:
            raise StoreError("MLflow", f"{type(error).__name__}: {error}".splitlines()[0][:300]) from error

    def _open(self) -> RunStore:
        """The store, with all runs of this sweep found by their tags."""
        if self._store is not None:
            return self._store
        from rnnsweep.adapters.mlflow.server import prepare
        from rnnsweep.adapters.mlflow.store import RunStore

        if sqlite.path_of(self._uri) is not None:  # a server has made its own tables
            prepare(self._uri)
        # asked here, where no entry is blamed for what goes wrong: a unit of the sweep may have been removed since
        self._keys = list(dict.fromkeys([*self._options.metrics(), FIRST]))
        self._complete = set(map(legal_name, self._keys))
        store = RunStore(self._uri, self._sweep, self._options.artifact_root)
        parent = self._sweep_run.open(store)
        self._runs = {}
        for run in store.trials():
            if TRIAL in run.data.tags:
                if run.data.tags.get(PARENT) != parent:  # its parent was deleted for good
                    store.log(run.info.run_id, [], {}, {PARENT: parent})
                self._remember(run)
        self._store = store
        return store

    def _remember(self, stored: Run) -> TrialRun:
        """Take a run in as MLflow has it; of two of one trial the first, unless that one was deleted."""
        number, info, data = int(stored.data.tags[TRIAL]), stored.info, stored.data
        before = self._runs.get(number)
        if before is not None and not before.deleted:
            return before
        run = TrialRun(info.run_id, info.start_time, set(data.metrics), frozenset(data.params), status=info.status)
        run.deleted, run.shape_key = info.lifecycle_stage != "active", data.tags.get("shape_key")
        self._runs[number] = run
        if info.status in ENDED:
            self._sweep_run.known(number, ENDED[info.status], self._score(number, stored))
        return run

    def _score(self, number: int, stored: Run) -> tuple[Rank, float] | None:
        """Rank and objective of a complete trial, from what MLflow has."""
        data = stored.data
        if stored.info.status != "FINISHED" or FIRST not in data.metrics:
            return None
        value = data.metrics[FIRST]
        if ORDER in data.tags:
            return rank_of(data.tags[ORDER]), value
        solved_at = data.metrics.get("solved_at", math.inf)  # an older rnnsweep's run: unsolved is the whole budget
        return rank(self._plan.objectives[0], value, solved_at, number), value

    # -------------------------------------------------------------- changes

    def _take(self, store: RunStore, change: Change) -> None:
        if change.kind == "sweep":
            self._sweep_run.take(change)
            self._plan = brought_up(self._plan, change.data.get("config", {}))
        elif change.kind == "trial" and change.trial is not None:
            self._take_trial(store, change.trial, change)
        elif change.kind == "rung" and change.trial in self._runs and not self._runs[change.trial].deleted:
            step, run = int(change.data["step"]), self._runs[change.trial]
            run.last = (step, change.data["metrics"])
            if self._kept(step):
                run.add(step, change.data["metrics"])

    def _kept(self, step: int) -> bool:
        return kept(self._plan, self._options.points, step)

    def _take_trial(self, store: RunStore, number: int, change: Change) -> None:
        data, state = change.data, TrialState(change.data["state"])
        if state in IDLE and number not in self._runs:
            return  # prefetched: its run begins with the trial
        run = self._runs.get(number) or self._create(store, number, change)
        if run.deleted:
            store.restore(run.run_id)
            run.deleted = False
        searched = {legal_name(key): value for key, value in data["params"].items() if key in self._plan.keys}
        run.params = {name: param_text(value) for name, value in searched.items() if name not in run.params_known}
        score = self._new_score(number, state, data)
        run.tags = trial_tags(data, self._plan, self._shape_key(run, data["params"]), score and score[0])
        run.ended = None
        if state.finished:
            self._end(store, number, run, change)
            self._sweep_run.ended(number, state, score, change.at)

    def _new_score(self, number: int, state: TrialState, data: Mapping[str, Any]) -> tuple[Rank, float] | None:
        values = tuple(data.get("values", ()))
        if state is not TrialState.COMPLETE or not values:
            return None
        return rank(self._plan.objectives[0], values[0], data.get("solved_at"), number), values[0]

    def _shape_key(self, run: TrialRun, params: Params) -> str:
        """The trial's shape key; empty where its params are refused: that is the trial's failure, not the mirror's."""
        if run.shape_key is None:
            try:
                run.shape_key = self._options.shape_key(params)
            except Exception:
                LOG.debug("no shape key for %s", params, exc_info=True)
                run.shape_key = ""
        return run.shape_key

    def _create(self, store: RunStore, number: int, change: Change) -> TrialRun:
        started = change.data.get("started")
        base = int((change.at if started is None else started) * 1000)
        tags = {PARENT: self._sweep_run.run_id, KIND: "trial", TRIAL: str(number), SWEEP: self._plan.name}
        return self._remember(store.create(f"{number:05d}", base, {**tags, IDENTITY: self._sweep.identity}))

    def _end(self, store: RunStore, number: int, run: TrialRun, change: Change) -> None:
        """Queue the last rung, what is missing of the keys, and the status; upload the artifacts."""
        data, state = change.data, TrialState(change.data["state"])
        last = run.last or self._options.last_rung(number)
        values, step = tuple(data.get("values", ())), int(data.get("step", 0))
        if last is not None and not self._kept(last[0]):
            run.add(*last)
        if values and (last is None or last[1].get(FIRST) != values[0]):
            run.add(step, {FIRST: values[0]})
        run.add(step, {key: stand_in(self._plan, key) for key in self._keys if legal_name(key) not in run.keys})
        finished = data.get("finished")
        run.ended = (STATUS[state], int((change.at if finished is None else finished) * 1000))
        files: dict[str, Any] = {**self._sweep_run.config_files(data["params"])}
        try:
            files.update(self._options.artifacts(number))
        except Exception:
            LOG.exception("no artifacts for trial %d", number)
        store.upload_quietly(run.run_id, files)

    # -------------------------------------------------------------- writing

    def _write_points(self, store: RunStore) -> None:
        """All points in one transaction, where the store has that."""
        queued = [run for run in self._runs.values() if run.points]
        if queued and store.write_points({run.run_id: run.points for run in queued}):
            for run in queued:
                run.points = []

    def _flush(self, store: RunStore, run: TrialRun) -> None:
        """Write what is queued; the status comes last, so that an ended run is whole."""
        if run.points or run.params or run.tags:
            store.log(run.run_id, run.points, run.params, run.tags)
        if run.ended is not None:
            store.end(run.run_id, *run.ended)
            run.status, run.last, run.keys = run.ended[0], None, self._complete  # shared, to save memory
        elif (state := run.tags.get("state")) in ("RUNNING", *IDLE):
            status = "RUNNING" if state == "RUNNING" else "SCHEDULED"
            if run.status != status:
                store.set_status(run.run_id, status)
                run.status = status
        run.points, run.params, run.tags, run.ended = [], {}, {}, None
