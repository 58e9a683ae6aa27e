"""The sweep's own run in MLflow: whose it is, its note, its progress as metrics, its status and the report."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rnnsweep.adapters.mlflow.formatting import config_yaml, note
from rnnsweep.adapters.mlflow.sqlite_tables import IDENTITY, KIND, SWEEP
from rnnsweep.adapters.mlflow.tracker_options import TrackerOptions
from rnnsweep.adapters.mlflow.ui_view import experiment_tags
from rnnsweep.adapters.trial_texts import LONGEST_TAG, clean
from rnnsweep.sweep.edits import brought_up, entries_of, says
from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.ports import Change, SweepView
from rnnsweep.sweep.states import SweepState, TrialState
from rnnsweep.sweep.summary import Best, Rank, best_of

if TYPE_CHECKING:
    from rnnsweep.adapters.mlflow.store import Point, RunStore

LOG = logging.getLogger(__name__)
STATUS = {
    SweepState.COMPLETE: "FINISHED",
    SweepState.STOPPED: "KILLED",
    SweepState.INTERRUPTED: "KILLED",
    SweepState.FAILED: "FAILED",
}
COUNTED = {state: f"sweep/{state.value.lower()}" for state in TrialState if state.finished}
BEST = "sweep/best"


class SweepRun:
    """The parent of all trials' runs, between two writes.

    Attributes:
        run_id: MLflow's; empty until the store was opened.
    """

    def __init__(self, sweep: SweepView, plan: SweepPlan, options: TrackerOptions) -> None:
        self.run_id = ""
        self._sweep, self._plan, self._options = sweep, plan, options
        self._ended: dict[int, TrialState] = {}
        self._scores: dict[int, tuple[Rank, float]] = {}
        self._best: Best | None = None
        self._points: list[Point] = []
        self._newest_ms, self._described = 0, b""
        self._state, self._shown_state, self._note = str(sweep.state), "", ""
        self._changed_at: float | None = None
        self._params: tuple[int, Mapping[str, str]] = -1, {}
        self._prepared = False
        self._edits: list[str] = []

    def open(self, store: RunStore) -> str:
        """Find the run, or make it; forget what was known of its trials."""
        self._ended, self._scores, self._best, self._points = {}, {}, None, []
        if store.own is None:
            store.tag_experiment(experiment_tags(self._plan))
            tags = {KIND: "sweep", SWEEP: self._plan.name, "seed": str(self._plan.seed), IDENTITY: self._sweep.identity}
            run = store.create(self._plan.name, int(self._sweep.created * 1000), tags)
        else:
            run = store.own
            if IDENTITY not in run.data.tags:  # an older rnnsweep wrote it
                store.tag_experiment(experiment_tags(self._plan))
                store.log(run.info.run_id, [], {}, {IDENTITY: self._sweep.identity})
        if not self.run_id:
            store.upload_quietly(run.info.run_id, self.config_files())
        self.run_id = run.info.run_id
        self._newest_ms = store.newest_point(self.run_id, COUNTED[TrialState.COMPLETE])
        return self.run_id

    def config_files(self, params: Params | None = None) -> dict[str, bytes]:
        """Artifacts of the sweep and of each trial: resolved config, overrides, environment."""
        return {
            "config.yaml": config_yaml(self._plan.config, params),
            "overrides.txt": "".join(f"{override}\n" for override in self._plan.overrides).encode(),
            "environment.json": self._environment(),
        }

    def _environment(self) -> bytes:
        if not self._described:  # it asks other programs, which takes a while
            self._described = json.dumps(self._options.environment(), indent=2, default=str).encode()
        return self._described

    # -------------------------------------------------------------- what happens

    def take(self, change: Change) -> None:
        """A change of the sweep itself."""
        self._state, self._changed_at = str(change.data["state"]), change.at
        config = change.data.get("config", {})
        self._plan, self._edits = brought_up(self._plan, config), [says(entry) for entry in entries_of(config)]

    def known(self, number: int, state: TrialState, score: tuple[Rank, float] | None) -> None:
        """A trial that has ended, as MLflow knows it."""
        self._ended[number] = state
        if self._scores.pop(number, None) is not None:  # an extended trial counts once: as it ended last
            self._best = None
            for earlier in self._scores.values():
                self._best = best_of(self._best, *earlier)
        if score is not None:
            self._scores[number] = score
            self._best = best_of(self._best, *score)

    def ended(self, number: int, state: TrialState, score: tuple[Rank, float] | None, at: float) -> None:
        """A trial has ended just now, or an entry says so again: then the curves have it already."""
        again = self._ended.get(number) is state
        self.known(number, state, score)
        at_ms = int(at * 1000)
        if at_ms < self._newest_ms or (again and at_ms == self._newest_ms):
            return
        self._newest_ms = at_ms
        step, counts = len(self._ended), Counter(self._ended.values())
        self._points += [(key, float(counts[state]), at_ms, step) for state, key in COUNTED.items()]
        if self._best is not None:
            self._points.append((BEST, self._best.value, at_ms, step))

    # -------------------------------------------------------------- writing

    def write(self, store: RunStore, params_of: Callable[[int], Mapping[str, str]]) -> None:
        """Curves; the note where it changed; status and report where the sweep's state did."""
        if self._points:
            store.log(self.run_id, self._points, {}, {})
            self._points = []
        self._write_note(store, params_of)
        if self._changed_at is not None and self._state != self._shown_state:
            self._write_state(store, self._changed_at)
        self._changed_at = None
        if not self._prepared and self._state not in STATUS:
            self._prepare()

    def _prepare(self) -> None:
        self._prepared = True
        try:
            self._options.prepare()
        except Exception:
            LOG.exception("the report of the sweep %s cannot be prepared", self._plan.name)

    def _write_note(self, store: RunStore, params_of: Callable[[int], Mapping[str, str]]) -> None:
        best = self._best
        if best is not None and best.number != self._params[0]:
            self._params = best.number, params_of(best.number)
        best_with_params = None if best is None else (best, self._params[1])
        text = note(self._plan, self._state, best_with_params, self._options.commands, self._edits)
        if text != self._note:
            edits = {"space": str(self._plan.version.number), "edits": clean("\n".join(self._edits))[:LONGEST_TAG]}
            tags = {"mlflow.note.content": text, "state": self._state, **(edits if self._edits else {})}
            store.log(self.run_id, [], {}, tags)
            self._note = text

    def _write_state(self, store: RunStore, at: float) -> None:
        self._shown_state = self._state
        status = STATUS.get(SweepState(self._state))
        if status is None:
            store.set_status(self.run_id, "RUNNING")
            return
        store.end(self.run_id, status, int(at * 1000))
        try:
            files: Mapping[str, Any] = self._options.report()
        except Exception:
            LOG.exception("no report for the sweep %s", self._plan.name)
            return
        store.upload_quietly(self.run_id, files)
