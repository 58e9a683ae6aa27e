"""What a tracker shows of a sweep, followed through the journal: the same for all of them.

    journal ─► TrackedSweep ─► pending: per trial its new points, params, tags and end ─► a store's files

A store that only grows (event files, tables) is safe from doubled points by one fact: the steps of a trial never go
back within the journal. So the last step and its keys say what is there already (`KnownPoints`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.adapters.trial_texts import legal_name, trial_facts
from rnnsweep.sweep.edits import brought_up
from rnnsweep.sweep.plan import Params, Scalar, SweepPlan
from rnnsweep.sweep.ports import Change
from rnnsweep.sweep.states import SweepState, TrialState
from rnnsweep.sweep.summary import Best, Rank, best_of, rank

OBJECTIVE = "objective"
COUNTED = {state: f"sweep/{state.value.lower()}" for state in TrialState if state.finished}
BEST = "sweep/best"

Point = tuple[str, int, float]
"""(metric key, step in updates, finite value); for the sweep itself, step in ended trials."""


def kept(plan: SweepPlan, points: int, step: int) -> bool:
    """Whether the rung that ends at `step` is among the `points` that a curve may have; the last one always is.

    The choice depends on the rung's index and the number of rungs alone, so it is the same after a resume.
    """
    every = plan.report_every
    rung, rungs = -(-step // every), -(-plan.budget.updates // every)
    points = max(1, points)
    return rungs <= points or rung >= rungs or rung * points // rungs != (rung - 1) * points // rungs


def stand_in(plan: SweepPlan, key: str) -> float:
    """What a finished trial has under a key that it never reported: the worst value where one is defined, else 0."""
    if key == OBJECTIVE:
        return plan.objectives[0].worst
    return plan.worst.get(key, float(plan.budget.updates) if key == "solved_at" else 0.0)


def finite(step: int, metrics: Mapping[str, float]) -> list[Point]:
    """The points that a rung brings, under legal names."""
    return [(legal_name(key), step, float(value)) for key, value in metrics.items() if math.isfinite(value)]


def _no_key(_: Params) -> str:
    return ""


@dataclass(frozen=True)
class TrackerFacts:
    """What trackers need besides the journal; app hands it in.

    Attributes:
        points: largest number of points per curve and trial.
        metrics: gives every metric key; each finished trial has all of them. Called in the mirror's thread.
        shape_key: params -> the trial's shape key; empty, or an exception, where the params are refused.
    """

    points: int = 200
    metrics: Callable[[], Sequence[str]] = tuple
    shape_key: Callable[[Params], str] = _no_key


@dataclass
class TrackedTrial:
    """A trial as its tracker knows it.

    Attributes:
        number: its number.
        started: seconds since the epoch.
        state: last known.
        data: fields of its newest `TrialView`.
        reported: points per key that rungs have brought. rungs: number of rungs among them.
        last: step and metrics of the newest rung, until the trial has ended.
        whole: it has ended once, and all keys have a point.
        ended_at: seconds since the epoch; None while it is open.
        points: not written yet.
        dirty: something besides `points` is not written yet.
    """

    number: int
    started: float
    state: TrialState
    data: Mapping[str, Any]
    reported: Counter[str] = field(default_factory=Counter[str])
    rungs: int = 0
    last: tuple[int, Mapping[str, float]] | None = None
    whole: bool = False
    ended_at: float | None = None
    points: list[Point] = field(default_factory=list[Point])
    dirty: bool = True

    @property
    def step(self) -> int:
        """Updates that it has trained, at its last change of state."""
        return int(self.data.get("step", 0))

    def add(self, points: Iterable[Point]) -> None:
        """Queue points."""
        before = len(self.points)
        self.points += points
        self.reported.update({key for key, _, _ in self.points[before:]})


class TrackedSweep:
    """Follows the journal; what is new waits in `pending` until a store has taken it.

    Entries that come again after a failed write change nothing: what they brought is still pending.

    Attributes:
        trials: by number; those that have begun.
        points: of the sweep itself, not written yet. state: its state; None: not known yet.
        best: the best trial so far.
        reported: points per key that the sweep itself has at least. steps: number of different steps among them.
    """

    def __init__(self, plan: SweepPlan, facts: TrackerFacts) -> None:
        self.plan, self.facts = plan, facts
        self._shape_keys: dict[int, str] = {}
        self._keys: list[str] = []
        self.reset()

    def reset(self) -> None:
        """The whole journal comes next."""
        self._taken = 0
        self.trials: dict[int, TrackedTrial] = {}
        self.points: list[Point] = []
        self.state: SweepState | None = None
        self.changed_at = 0.0
        self.best: Best | None = None
        self.reported, self.steps = Counter[str](), 0
        self._scores: dict[int, tuple[Rank, float]] = {}
        self._ended: dict[int, TrialState] = {}
        self._pending: dict[int, TrackedTrial] = {}

    def replay(self, batches: Iterable[Sequence[Change]]) -> None:
        """Learn what was written before, by another process perhaps; nothing is pending afterwards."""
        self.reset()
        for changes in batches:
            for change in changes:
                self._take(change, again=True)
            self.written()

    def take(self, changes: Sequence[Change]) -> None:
        """Apply entries in order; those that were taken before are passed over."""
        if not self._keys:  # asked late: the units that say so need torch
            self._keys = list(dict.fromkeys([*self.facts.metrics(), OBJECTIVE]))
        for change in changes:
            if change.seq > self._taken:
                self._take(change, again=False)

    @property
    def pending(self) -> list[TrackedTrial]:
        """Trials with something new, by number."""
        return [self._pending[number] for number in sorted(self._pending)]

    def written(self) -> None:
        """A store has all that was pending."""
        for trial in self._pending.values():
            trial.points, trial.dirty = [], False
        self._pending, self.points = {}, []

    def params(self, trial: TrackedTrial) -> dict[str, Scalar]:
        """The searched keys of a trial and their values, under legal names."""
        return {legal_name(k): v for k, v in trial.data["params"].items() if k in self.plan.keys}

    def tags(self, trial: TrackedTrial) -> dict[str, str]:
        """The facts that MLflow has as tags."""
        if trial.number not in self._shape_keys:
            try:
                self._shape_keys[trial.number] = self.facts.shape_key(trial.data["params"])
            except Exception:  # noqa: BLE001 - refused params are the trial's failure, not the tracker's
                self._shape_keys[trial.number] = ""
        return trial_facts(trial.data, self.plan, self._shape_keys[trial.number])

    # ------------------------------------------------------------------ entries

    def _take(self, change: Change, again: bool) -> None:
        if change.kind == "sweep":
            self.state, self.changed_at = SweepState(change.data["state"]), change.at
            self.plan = brought_up(self.plan, change.data.get("config", {}))
        elif change.kind == "trial" and change.trial is not None:
            self._take_trial(change.trial, change, again)
        elif change.kind == "rung" and change.trial in self.trials:
            trial, step = self.trials[change.trial], int(change.data["step"])
            trial.last = (step, change.data["metrics"])
            if kept(self.plan, self.facts.points, step):
                trial.rungs += 1
                trial.add(finite(step, change.data["metrics"]))
                self._pending[change.trial] = trial
        self._taken = change.seq

    def _take_trial(self, number: int, change: Change, again: bool) -> None:
        data, state = change.data, TrialState(change.data["state"])
        trial = self.trials.get(number)
        if trial is None:
            if state is TrialState.WAITING:
                return  # prefetched: it begins later
            started = data.get("started")
            trial = self.trials[number] = TrackedTrial(number, change.at if started is None else started, state, data)
        trial.state, trial.data, trial.dirty, trial.ended_at = state, data, True, None
        self._pending[number] = trial
        if state.finished:
            finished = data.get("finished")
            trial.ended_at = change.at if finished is None else finished
            self._end(trial, again)
            self._count(trial)

    def _end(self, trial: TrackedTrial, again: bool) -> None:
        """Queue the last rung, and what is missing of the keys."""
        last, values, step = trial.last, tuple(trial.data.get("values", ())), trial.step
        if last is not None and not kept(self.plan, self.facts.points, last[0]):
            trial.add(finite(*last))
        if values and (last is None or last[1].get(OBJECTIVE) != values[0]):
            trial.add(finite(step, {OBJECTIVE: values[0]}))
        if not trial.whole and not again:
            missing = {legal_name(key): key for key in self._keys if legal_name(key) not in trial.reported}
            trial.points += [(name, step, stand_in(self.plan, key)) for name, key in missing.items()]
        trial.whole, trial.last = True, None

    def _count(self, trial: TrackedTrial) -> None:
        values = tuple(trial.data.get("values", ()))
        self._ended[trial.number] = trial.state
        if self._scores.pop(trial.number, None) is not None:  # an extended trial counts once: as it ended last
            self.best = None
            for earlier in self._scores.values():
                self.best = best_of(self.best, *earlier)
        if trial.state is TrialState.COMPLETE and values:
            solved_at = trial.data.get("solved_at")
            order = rank(self.plan.objectives[0], values[0], solved_at, trial.number)
            self._scores[trial.number] = (order, values[0])
            self.best = best_of(self.best, order, values[0])
        step, counts = len(self._ended), Counter(self._ended.values())
        points = [(key, step, float(counts[state])) for state, key in COUNTED.items()]
        if self.best is not None:
            points.append((BEST, step, self.best.value))
        if step > self.steps:  # a trial that ends again brings no further step
            self.steps = step
            self.reported.update(key for key, _, _ in points)
        self.points += points


class KnownPoints:
    """Which points a store has already, where steps never go back: the last step of each trial, and its keys."""

    def __init__(self) -> None:
        self._last: dict[int | None, tuple[int, set[str]]] = {}

    def note(self, trial: int | None, key: str, step: int) -> None:
        """The store has this point."""
        last, keys = self._last.get(trial, (-1, set[str]()))
        if step > last:
            self._last[trial] = (step, {key})
        elif step == last:
            keys.add(key)

    def new(self, trial: int | None, points: Iterable[Point]) -> list[Point]:
        """Those that the store has not, now noted; of two of one key and step the first."""
        fresh: list[Point] = []
        for key, step, value in points:
            last, keys = self._last.get(trial, (-1, set[str]()))
            if step > last or (step == last and key not in keys):
                self.note(trial, key, step)
                fresh.append((key, step, value))
        return fresh
