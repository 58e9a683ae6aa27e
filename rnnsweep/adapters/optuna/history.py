"""What samplers and pruners know: one small record per trial, fed by the driver, rebuilt by `restore`.

The order of feeding does not matter: everything is read back by trial number.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.adapters.optuna.cube import point_of
from rnnsweep.sweep.plan import Objective, Params
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.space import Space
from rnnsweep.sweep.states import TrialState


@dataclass(slots=True)
class Record:
    """One trial.

    Attributes:
        state: RUNNING (also while it waits), COMPLETE or PRUNED; FAILED trials have no record.
        point: its coordinates in the unit cube; None if it lies outside of the space (an enqueued point may).
        values: one per objective, once finished.
        diverged: share of diverged replicas.
        curve: rung -> reduced value.
        replicas: rung -> one value per replica; kept only for pruners that pair replicas.
        frozen: the trial in Optuna's words, made when first needed.
    """

    number: int
    params: dict[str, Any]
    point: tuple[float | None, ...] | None
    state: TrialState = TrialState.RUNNING
    values: tuple[float, ...] = ()
    diverged: float = 0.0
    curve: dict[int, float] = field(default_factory=dict)
    replicas: dict[int, tuple[float, ...]] = field(default_factory=dict)
    frozen: Any = None

    @property
    def usable(self) -> bool:
        """Finished with something to learn from."""
        return self.point is not None and (
            self.state is TrialState.COMPLETE or (self.state is TrialState.PRUNED and bool(self.curve or self.values))
        )

    @property
    def last(self) -> tuple[int, float]:
        """(rung, value) of the last report; a pruned trial without a curve counts as its value at rung 0."""
        if not self.curve:
            return 0, self.values[0] if self.values else 0.0
        rung = max(self.curve)
        return rung, self.curve[rung]


class History:
    """All trials that count, by number."""

    def __init__(self, space: Space, objectives: tuple[Objective, ...]) -> None:
        self.space = space
        self.goals = tuple(objective.goal for objective in objectives)
        self._records: dict[int, Record] = {}
        self._failed: set[int] = set()

    def start(self, number: int, params: Params) -> None:
        """A trial that was asked for and has no result yet."""
        self._failed.discard(number)
        self._records[number] = Record(number, dict(params), point_of(self.space, params))

    def report(self, number: int, rung: int, value: float, keep_all: bool = True) -> None:
        """A reduced value at a rung; without `keep_all` only the newest one is kept."""
        record = self._records.get(number)
        if record is None:
            return  # FAILED meanwhile: its numbers count for nothing
        if not keep_all:
            if record.curve and max(record.curve) > rung:
                return
            record.curve.clear()
        record.curve[rung] = value

    def report_replicas(self, number: int, rung: int, values: tuple[float, ...]) -> None:
        """One value per replica at a rung."""
        record = self._records.get(number)
        if record is not None:
            record.replicas[rung] = values

    def finish(self, view: TrialView) -> None:
        """A trial's result; FAILED trials vanish."""
        if view.state is TrialState.FAILED:
            self._records.pop(view.number, None)
            self._failed.add(view.number)
            return
        record = self._records.get(view.number)
        if record is None:
            record = Record(view.number, dict(view.params), point_of(self.space, view.params))
            self._records[view.number] = record
        record.state, record.values, record.diverged = view.state, tuple(view.values), view.diverged_share
        record.frozen = None

    @property
    def warm(self) -> int:
        """Usable trials of another sweep; they have numbers below 0."""
        return sum(number < 0 and record.usable for number, record in self._records.items())

    def get(self, number: int) -> Record | None:
        """The record of one trial, if it counts."""
        return self._records.get(number)

    def settled(self, number: int) -> bool:
        """Whether the trial has ended, FAILED included."""
        record = self._records.get(number)
        return number in self._failed if record is None else record.state is not TrialState.RUNNING

    def running(self, but: int = -1) -> list[Record]:
        """Trials without a result, except `but`, by number."""
        found = [r for r in self._records.values() if r.state is TrialState.RUNNING and r.number != but]
        return sorted(found, key=lambda record: record.number)

    def finished(self, cap: int, pruned: bool = True) -> list[Record]:
        """At most `cap` usable trials by number: the best quarter of `cap`, and the newest.

        The bound keeps an ask's cost constant however long the sweep gets.
        """
        usable = [r for r in self._records.values() if r.usable and (pruned or r.state is TrialState.COMPLETE)]
        usable.sort(key=lambda record: record.number)
        if len(usable) <= cap:
            return usable
        shown: dict[int, Record] = {}
        complete = [r for r in usable if r.state is TrialState.COMPLETE]
        for index in range(len(self.goals)):
            best = heapq.nsmallest(
                cap // (4 * len(self.goals)),
                complete,
                key=lambda r, i=index: (r.diverged > 0, self.loss(r)[i], r.number),
            )
            shown.update({record.number: record for record in best})
        for record in reversed(usable):
            if len(shown) >= cap:
                break
            shown.setdefault(record.number, record)
        return [shown[number] for number in sorted(shown)]

    def newest(self, cap: int, state: TrialState | None = None) -> list[Record]:
        """The `cap` newest trials (of one state), by number."""
        found = [r for r in self._records.values() if state is None or r.state is state]
        return sorted(found, key=lambda record: record.number)[-cap:]

    def loss(self, record: Record) -> tuple[float, ...]:
        """A finished trial's values, signed so that less is better."""
        return tuple(v if goal == "minimize" else -v for v, goal in zip(record.values, self.goals, strict=True))


def rung_of(step: int, report_every: int) -> int:
    """The rung that ends at update `step`; the last one may be shorter.

    Example:
        >>> rung_of(200, 100), rung_of(250, 100)
        (2, 3)
    """
    return -(-step // report_every)
