"""The `Mirror` that writes the ledger's journal into MLflow: parent run = sweep, child run = trial.

Writing twice is writing once: a run is found by its tag ``rnnsweep.trial``, and a metric's timestamp is the run's
start plus its step in milliseconds, so that a repeated point is the same tuple, which MLflow drops.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlflow.entities import Run

from rnnsweep.adapters import sqlite
from rnnsweep.adapters.mlflow.formatting import VIEW, config_yaml, note, param_text, shared_view, trial_tags
from rnnsweep.adapters.mlflow.options import TrackerOptions
from rnnsweep.adapters.mlflow.server import prepare
from rnnsweep.adapters.mlflow.store import Point, RunStore, has_experiment, store_errors
from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.ports import Change, SweepView
from rnnsweep.sweep.states import SweepState, TrialState

LOG = logging.getLogger(__name__)
KIND, TRIAL, SWEEP = "rnnsweep.kind", "rnnsweep.trial", "rnnsweep.sweep"
PARENT = "mlflow.parentRunId"
STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAILED: "FAILED"}
PARENT_STATUS = {
    SweepState.COMPLETE: "FINISHED",
    SweepState.STOPPED: "KILLED",
    SweepState.INTERRUPTED: "KILLED",
    SweepState.FAILED: "FAILED",
}


FIRST = "objective"
"""The metric that a run gets first."""


@dataclass
class TrialRun:
    """A trial's run, a child of the sweep's, between two writes, and what is to be written into it next.

    Attributes:
        run_id: MLflow's.
        base_ms: start of the run, ms since the epoch; a point's timestamp is this plus its step.
        keys: metric keys that the run has, or will have with `points`.
        points, params, tags: to be written.
        last: step and values of the newest rung.
        ended: status and time (ms since the epoch) to be written once it has ended.
        status: that MLflow has.
    """

    run_id: str
    base_ms: int
    keys: set[str]
    points: list[Point] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    last: tuple[int, Mapping[str, float]] | None = None
    ended: tuple[str, int] | None = None
    status: str = ""

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Queue finite values at a step."""
        finite = [(key, float(value)) for key, value in metrics.items() if math.isfinite(value)]
        finite.sort(key=lambda item: item[0] != FIRST)  # the UI compares by the metric that was written first
        self.points.extend((key, value, self.base_ms + step, step) for key, value in finite)
        self.keys.update(key for key, _ in finite)


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
        self._parent = ""
        self._state = str(sweep.state)
        self._runs: dict[int, TrialRun] = {}
        self._complete = set(self._keys())
        self._best: tuple[int, float, Params] | None = None
        self._note = self._parent_state = ""
        self._described = False

    # -------------------------------------------------------------- port

    def known(self) -> bool:
        """Whether MLflow has the sweep's experiment; makes none."""
        self._prepare()
        return has_experiment(self._uri, self._plan.name)

    def write(self, changes: Sequence[Change]) -> None:
        """Apply journal entries in order; `StoreError` when MLflow is away, then the same entries come again."""
        try:
            with store_errors():
                store = self._open()
                for change in changes:
                    self._take(store, change)
                self._write_points(store)
                for run in self._runs.values():
                    self._flush(store, run)
                self._finish_parent(store, changes)
        except BaseException:
            self._store = None  # what the failed call has done is unknown: look again
            raise

    def close(self) -> None:
        """Nothing is buffered between calls."""
        self._store = None

    def run_ids(self) -> dict[int, str]:
        """Trial number -> run id, of all trials that have a run."""
        with store_errors():
            self._open()
        return {number: run.run_id for number, run in sorted(self._runs.items())}

    @property
    def experiment_id(self) -> str:
        """Id of the sweep's experiment."""
        with store_errors():
            return self._open().experiment_id

    @property
    def parent_id(self) -> str:
        """Run id of the sweep."""
        with store_errors():
            self._open()
        return self._parent

    # -------------------------------------------------------------- opening

    def _prepare(self) -> None:
        """Make the tables of an embedded store; a server has its own."""
        if sqlite.path_of(self._uri) is not None:
            prepare(self._uri)

    def _open(self) -> RunStore:
        """The store, with all runs of this sweep found by their tags."""
        if self._store is not None:
            return self._store
        self._prepare()
        store = RunStore(self._uri, self._plan.name, self._options.artifact_root)
        self._parent = self._find_parent(store)
        self._runs = {}
        for run in store.find(PARENT, self._parent):
            if TRIAL in run.data.tags:
                self._remember(run)
        if not self._described:
            self._upload(store, self._parent, self._config_files())
            self._described = True
        self._store = store
        return store

    def _find_parent(self, store: RunStore) -> str:
        for run in store.find(KIND, "sweep"):
            return run.info.run_id
        goal = self._plan.objectives[0].goal
        store.tag_experiment(
            {
                "mlflow.experimentKind": "custom_model_development",  # opens on the runs, not on language-model traces
                f"mlflow.sharedViewState.{VIEW}": shared_view(self._plan),
                "mlflow.experiment.primaryMetric.name": FIRST,
                "mlflow.experiment.primaryMetric.greaterIsBetter": "true" if goal == "maximize" else "false",
            }
        )
        created = int(self._sweep.created * 1000)
        tags = {KIND: "sweep", SWEEP: self._plan.name, "seed": str(self._plan.seed)}
        return store.create(self._plan.name, created, tags).info.run_id

    def _config_files(self, params: Params | None = None) -> dict[str, bytes]:
        return {
            "config.yaml": config_yaml(self._plan.config, params),
            "overrides.txt": "".join(f"{override}\n" for override in self._plan.overrides).encode(),
            "environment.json": json.dumps(self._options.environment, indent=2, default=str).encode(),
        }

    def _remember(self, stored: Run) -> TrialRun:
        number, info, data = int(stored.data.tags[TRIAL]), stored.info, stored.data
        self._runs.setdefault(number, TrialRun(info.run_id, info.start_time, set(data.metrics), status=info.status))
        if info.status == "FINISHED" and FIRST in data.metrics:
            params = {key: data.params[key] for key in self._plan.space.keys if key in data.params}
            self._consider(number, data.metrics[FIRST], params)
        return self._runs[number]

    # -------------------------------------------------------------- changes

    def _take(self, store: RunStore, change: Change) -> None:
        if change.kind == "sweep":
            self._state = str(change.data["state"])
        elif change.kind == "trial" and change.trial is not None:
            self._take_trial(store, change.trial, change)
        elif change.kind == "rung" and change.trial in self._runs:
            step = int(change.data["step"])
            run = self._runs[change.trial]
            run.last = (step, change.data["metrics"])
            if self._kept(step):
                run.add(step, change.data["metrics"])

    def _kept(self, step: int) -> bool:
        """Whether the rung that ends at `step` is among the points that a curve may have; the last one always is.

        The choice depends on the rung's index and the number of rungs alone, so it is the same after a resume.
        """
        every = self._plan.report_every
        rung, rungs = -(-step // every), -(-self._plan.budget.updates // every)
        points = max(1, self._options.points)
        return rungs <= points or rung >= rungs or rung * points // rungs != (rung - 1) * points // rungs

    def _take_trial(self, store: RunStore, number: int, change: Change) -> None:
        data, state = change.data, TrialState(change.data["state"])
        if state is TrialState.WAITING and number not in self._runs:
            return  # prefetched: its run begins with the trial
        run = self._runs.get(number) or self._create(store, number, change)
        run.params = {key: param_text(value) for key, value in data["params"].items() if key in self._plan.space.keys}
        run.tags = trial_tags(data, self._plan, self._options.shape_key(data["params"]))
        run.ended = None
        if state.finished:
            self._end(store, number, run, change)

    def _create(self, store: RunStore, number: int, change: Change) -> TrialRun:
        started = change.data.get("started")
        base = int((change.at if started is None else started) * 1000)
        tags = {PARENT: self._parent, KIND: "trial", TRIAL: str(number), SWEEP: self._plan.name}
        return self._remember(store.create(f"{number:05d}", base, tags))

    def _end(self, store: RunStore, number: int, run: TrialRun, change: Change) -> None:
        """Queue the last rung, what is missing of the keys, and the status; upload the artifacts."""
        data, state = change.data, TrialState(change.data["state"])
        last = run.last or self._options.last_rung(number)
        values, step = tuple(data.get("values", ())), int(data.get("step", 0))
        if last is not None and not self._kept(last[0]):
            run.add(*last)
        if values and (last is None or last[1].get("objective") != values[0]):
            run.add(step, {"objective": values[0]})
        run.add(step, {key: self._stand_in(key) for key in self._keys() if key not in run.keys})
        if state is TrialState.COMPLETE and values:
            self._consider(number, values[0], data["params"])
        finished = data.get("finished")
        run.ended = (STATUS[state], int((change.at if finished is None else finished) * 1000))
        files: dict[str, Any] = {**self._config_files(data["params"])}
        try:
            files.update(self._options.artifacts(number))
        except Exception:
            LOG.exception("no artifacts for trial %d", number)
        self._upload(store, run.run_id, files)

    def _keys(self) -> list[str]:
        return list(dict.fromkeys([*self._options.metrics, "objective"]))

    def _stand_in(self, key: str) -> float:
        """What a trial has under a key that it never reported: the worst value where one is defined, else 0."""
        first = self._plan.objectives[0]
        if key == "objective":
            return first.worst
        return self._plan.worst.get(key, float(self._plan.budget.updates) if key == "solved_at" else 0.0)

    def _consider(self, number: int, value: float, params: Params) -> None:
        sign = -1.0 if self._plan.objectives[0].goal == "maximize" else 1.0
        if self._best is None or (sign * value, number) <= (sign * self._best[1], self._best[0]):
            self._best = (number, value, params)

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
        elif (state := run.tags.get("state")) in ("WAITING", "RUNNING"):
            status = "RUNNING" if state == "RUNNING" else "SCHEDULED"
            if run.status != status:
                store.set_status(run.run_id, status)
                run.status = status
        run.points, run.params, run.tags, run.ended = [], {}, {}, None

    def _finish_parent(self, store: RunStore, changes: Sequence[Change]) -> None:
        """The parent's note where it changed; its status, and the report, where the sweep's state did."""
        text = note(self._plan, self._state, self._best, self._options.commands)
        if text != self._note:
            store.log(self._parent, [], {}, {"mlflow.note.content": text, "state": self._state})
            self._note = text
        news = [change for change in changes if change.kind == "sweep"]
        if not news or self._state == self._parent_state:
            return
        self._parent_state = self._state
        status = PARENT_STATUS.get(SweepState(self._state))
        if status is None:
            store.set_status(self._parent, "RUNNING")
            return
        store.end(self._parent, status, int(news[-1].at * 1000))
        try:
            files = self._options.report()
        except Exception:
            LOG.exception("no report for the sweep %s", self._plan.name)
            return
        self._upload(store, self._parent, files)

    def _upload(self, store: RunStore, run_id: str, files: Mapping[str, Any]) -> None:
        """Artifacts never stand in the way of metrics."""
        try:
            store.upload(run_id, files)
        except Exception:
            LOG.exception("artifacts of run %s could not be written", run_id)
