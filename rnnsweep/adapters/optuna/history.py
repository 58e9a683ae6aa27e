"""What samplers and pruners know: one small record per trial, fed by the driver, rebuilt by `restore`.

The order of feeding does not matter: everything is read back by trial number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rnnsweep.adapters.optuna.cube import point_of
from rnnsweep.adapters.optuna.order import Order
from rnnsweep.sweep.plan import Objective, Params
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.space import Dimension, Space, completed
from rnnsweep.sweep.states import TrialState


@dataclass(slots=True)
class TrialRecord:
    """One trial.

    Attributes:
        state: RUNNING (also while it waits), COMPLETE or PRUNED; FAILED trials have no record.
        point: its coordinates in the unit cube; None if it lies outside of the space (an enqueued point may).
        values: one per objective, once finished.
        diverged: share of diverged replicas.
        curve: rung -> reduced value.
        replicas: rung -> one value per replica; kept only for pruners that pair replicas.
        rung: as far as it came, also where it has no curve of its own: of several objectives none is kept, and a trial
            that has taken over a result has had no training.
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
    rung: int = 0
    frozen: Any = None

    @property
    def usable(self) -> bool:
        """Finished with something to learn from."""
        return self.point is not None and (
            self.state is TrialState.COMPLETE or (self.state is TrialState.PRUNED and bool(self.curve or self.values))
        )

    @property
    def last(self) -> tuple[int, float]:
        """(rung, value) of the last report; a pruned trial without a curve counts as its value at `rung`."""
        if not self.curve:
            return self.rung, self.values[0] if self.values else 0.0
        rung = max(self.curve)
        return rung, self.curve[rung]


class History:
    """All trials that count, by number; looking at some of them costs no more in a long history than in a short one.

    Args:
        space: that of now; trials of earlier ones count where they lie in it.
        objectives: of the sweep.
        defaults: values of keys that earlier trials did not name, see `SpaceVersion`.
        trusted: rung from which on the value of a trial that is not complete says something about its end.
    """

    def __init__(
        self,
        space: Space,
        objectives: tuple[Objective, ...],
        defaults: tuple[Dimension, ...] = (),
        trusted: int = 0,
    ) -> None:
        self.space, self.defaults, self.trusted = space, defaults, trusted
        self.goals = tuple(objective.goal for objective in objectives)
        self._records: dict[int, TrialRecord] = {}
        self._failed: set[int] = set()
        self._all = Order()
        self._by_state = {state: Order() for state in TrialState}
        self._telling, self._complete = Order(), Order()
        self._ranked = [Order() for _ in self.goals]  # usable complete trials, best first, by each objective

    def start(self, number: int, params: Params) -> None:
        """A trial that was asked for and has no result yet."""
        # a FAILED trial that was reopened
        self._failed.discard(number)
        self._leave(number)
        self._enter(self._record(number, params))

    def _record(self, number: int, params: Params) -> TrialRecord:
        # another sweep's trials have the values that were theirs, and no others
        whole = completed(self.defaults, params) if number >= 0 else dict(params)
        return TrialRecord(number, whole, point_of(self.space, whole))

    def report(self, number: int, rung: int, value: float, keep_all: bool = True) -> None:
        """A reduced value at a rung; without `keep_all` only the newest one is kept."""
        record = self._records.get(number)
        if record is None:
            return  # FAILED meanwhile: its numbers count for nothing
        if not keep_all:
            # the order of feeding must not matter
            if record.curve and max(record.curve) > rung:
                return
            record.curve.clear()
        record.curve[rung] = value
        if record.state is TrialState.PRUNED:  # it may have become usable; or a scheduler has promoted it since
            record.frozen = None
            self._leave(number)
            self._enter(record)

    def report_replicas(self, number: int, rung: int, values: tuple[float, ...]) -> None:
        """One value per replica at a rung."""
        record = self._records.get(number)
        if record is not None:
            record.replicas[rung] = values

    def finish(self, view: TrialView) -> None:
        """A trial's result; FAILED trials vanish."""
        record = self._leave(view.number)
        if view.state is TrialState.FAILED:
            self._failed.add(view.number)
            return
        if record is None:
            record = self._record(view.number, view.params)
        record.state, record.values, record.diverged = view.state, tuple(view.values), view.diverged_share
        record.rung = view.rung
        # Optuna's form of the running trial is out of date
        record.frozen = None
        self._enter(record)

    def _enter(self, record: TrialRecord) -> None:
        self._records[record.number] = record
        for order, item in self._places(record):
            order.add(item)

    def _leave(self, number: int) -> TrialRecord | None:
        """Take a trial out before it changes, in the state in which it was entered."""
        record = self._records.pop(number, None)
        if record is not None:
            for order, item in self._places(record):
                order.drop(item)
        return record

    def _places(self, record: TrialRecord) -> list[tuple[Order, Any]]:
        """Every order that the record stands in, with its item there."""
        number = record.number
        places: list[tuple[Order, Any]] = [(self._all, number), (self._by_state[record.state], number)]
        if record.usable and (record.state is TrialState.COMPLETE or record.last[0] >= self.trusted):
            places.append((self._telling, number))
        if record.usable and record.state is TrialState.COMPLETE:
            places.append((self._complete, number))
            losses = self.loss(record) if record.values else ()
            # Diverged last, as constraints have it; the number settles ties, so that the order is total.
            ranks = ((record.diverged > 0, loss, number) for loss in losses)
            # not strict: a trial without values has no rank
            places.extend(zip(self._ranked, ranks, strict=False))
        return places

    @property
    def warm(self) -> int:
        """Usable trials of another sweep; they have numbers below 0."""
        return self._telling.below(0)

    def get(self, number: int) -> TrialRecord | None:
        """The record of one trial, if it counts."""
        return self._records.get(number)

    def settled(self, number: int) -> bool:
        """Whether the trial has ended, FAILED included."""
        record = self._records.get(number)
        return number in self._failed if record is None else record.state is not TrialState.RUNNING

    def running(self) -> list[TrialRecord]:
        """Trials without a result, by number."""
        return [self._records[number] for number in self._by_state[TrialState.RUNNING]]

    def finished(self, cap: int, pruned: bool = True) -> list[TrialRecord]:
        """At most `cap` usable trials by number: the best quarter of `cap`, and the newest.

        Pruned ones are among them where asked for, and where they came to the rung `trusted`.
        The bound keeps an ask's cost constant however long the sweep gets.
        """
        usable = self._telling if pruned else self._complete
        if len(usable) <= cap:
            return [self._records[number] for number in usable]
        numbers: set[int] = set()
        for ranked in self._ranked:
            # the best stay in sight however old they are; the newest show where the sampler is now
            numbers.update(number for *_, number in ranked.first(cap // (4 * len(self.goals))))
        for number in reversed(usable):
            if len(numbers) >= cap:
                break
            numbers.add(number)
        return [self._records[number] for number in sorted(numbers)]

    def newest(self, cap: int, state: TrialState | None = None) -> list[TrialRecord]:
        """The `cap` newest trials (of one state), by number."""
        numbers = self._all if state is None else self._by_state[state]
        return [self._records[number] for number in numbers.last(cap)]

    def loss(self, record: TrialRecord) -> tuple[float, ...]:
        """A finished trial's values, signed so that less is better."""
        return tuple(v if goal == "minimize" else -v for v, goal in zip(record.values, self.goals, strict=True))


def rung_of(step: int, report_every: int) -> int:
    """The rung that ends at update `step`; the last one may be shorter.

    Example:
        >>> rung_of(200, 100), rung_of(250, 100)
        (2, 3)
    """
    return -(-step // report_every)
