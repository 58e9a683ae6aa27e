"""What crosses between driver and workers: plain, frozen, picklable data; no tensors, no library types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from rnnsweep.sweep.plan import Params
from rnnsweep.sweep.states import RowState

RowId = tuple[int, int]
"""(trial number, replica)."""

RowKey = tuple[int, int, str]
"""(trial number, replica, attempt's token): a row of one attempt."""


@dataclass(frozen=True)
class Source:
    """The state of a row of the same sweep that another one takes over; see `decisions/0033`.

    Attributes:
        trial, replica: whose.
        tokens: of its attempts that may have stored it, newest first.
        rung: after which.
    """

    trial: int
    replica: int
    tokens: tuple[str, ...]
    rung: int


@dataclass(frozen=True)
class RowSpec:
    """A row that a worker is to train.

    A row that trains here already goes on as this one, in its place, if it has a `source`.

    Attributes:
        trial, replica: who it is.
        token: the attempt's token; all replicas of an attempt share it. A worker writes below it only.
        params: the trial's point, dotted key -> value.
        updates: train until this many updates.
        restore: tokens of earlier attempts, newest first, to restore from; empty = initial weights.
        restore_to: restore no checkpoint newer than this rung (None = the newest valid one).
        source: what it begins with where it has no checkpoint of its own; None: initial weights.
    """

    trial: int
    replica: int
    token: str
    params: Params
    updates: int
    restore: tuple[str, ...] = ()
    restore_to: int | None = None
    source: Source | None = None

    @property
    def row(self) -> RowId:
        """Identity of the row."""
        return (self.trial, self.replica)

    @property
    def key(self) -> RowKey:
        """Identity of the row in this attempt."""
        return (self.trial, self.replica, self.token)

    def ends_with(self, report: RowReport) -> bool:
        """Whether the row trains no more after this report.

        A row whose updates were raised repeats, from its checkpoint, that it was DONE with fewer: it goes on.
        """
        return report.state.ended and not (report.state is RowState.DONE and report.step < self.updates)


@dataclass(frozen=True)
class RowReport:
    """One row at one rung.

    Attributes:
        rung: 1, 2, ...; rung r ends at update min(r * report_every, updates).
        step: updates done.
        metrics: metric key -> finite value (non-finite values are left out by the worker).
        state: ACTIVE, DONE, SOLVED, STALLED or DIVERGED.
        solved_at: first update with error < 1 %, or None; `solved_exactly_at` the same for 0 errors.
        diverged_at: update at which the row left the finite numbers, or None.
        device_s: seconds of device time that this row took for this rung (a pack's time shared equally).
        engine: engine that trained it, with the reason where it fell back.
        fingerprint: number of what it was trained under (code, versions, data) among those of the sweep; 0 = as it was
            launched.
    """

    trial: int
    replica: int
    token: str
    rung: int
    step: int
    metrics: Mapping[str, float]
    state: RowState = RowState.ACTIVE
    solved_at: int | None = None
    solved_exactly_at: int | None = None
    diverged_at: int | None = None
    device_s: float = 0.0
    engine: str = ""
    fingerprint: int = 0

    @property
    def row(self) -> RowId:
        """Identity of the row."""
        return (self.trial, self.replica)

    @property
    def key(self) -> RowKey:
        """Identity of the row in this attempt."""
        return (self.trial, self.replica, self.token)


@dataclass(frozen=True)
class RowFailure:
    """A row that its worker cannot train.

    Attributes:
        kind: ``bug`` (an exception), ``out_of_memory``, ``refused`` (a unit does not accept the row's params),
            ``no_source`` (the state that it was to take over cannot be read).
        reason: one line.
        traceback: the whole traceback; empty where there is none.
        shared: rows of other sweeps failed with it, of which one may be to blame.
    """

    trial: int
    replica: int
    token: str
    kind: str
    reason: str
    traceback: str = ""
    shared: bool = False

    @property
    def key(self) -> RowKey:
        """Identity of the row in this attempt."""
        return (self.trial, self.replica, self.token)


@dataclass(frozen=True)
class Withdrawal:
    """A row that must leave its pack at the next rung.

    Attributes:
        keep_rung: the rung at which the row ends: checkpoints beyond it are deleted; None keeps all
            (interrupted attempts).
    """

    trial: int
    replica: int
    token: str
    keep_rung: int | None = None

    @property
    def key(self) -> RowKey:
        """Identity of the row in this attempt."""
        return (self.trial, self.replica, self.token)


@dataclass(frozen=True)
class Opening:
    """A sweep that is to train in a worker that others use too.

    Attributes:
        settings: what its rows are trained by; for the trainer alone, who sent the factory knows what it is.
        weight: its part of the worker's time, relative to the others', above 0.
        priority: packs with rows of a higher one are trained before all others.
    """

    settings: Any
    weight: float = 1.0
    priority: int = 0


@dataclass(frozen=True)
class Orders:
    """What a worker is told before it trains its next rung.

    Attributes:
        join: rows to add.
        leave: rows to drop.
        decided: per row the last rung whose verdict is known; older checkpoints (except the best) may go.
        acknowledged: per row the last rung that is durable in the ledger; older reports may be forgotten.
        open: sweeps that come to the worker with this message, by their number in the pool, see `pooled_rows`.
        close: numbers of sweeps that leave it, once their rows have.
        take: rows that are to go on from another one's state, in their place, as soon as they and that other one stand
            after the rung in question; where they never do, nothing comes of it. A withdrawal by its token revokes one.
    """

    join: tuple[RowSpec, ...] = ()
    leave: tuple[Withdrawal, ...] = ()
    decided: Mapping[RowId, int] = field(default_factory=dict[RowId, int])
    acknowledged: Mapping[RowId, int] = field(default_factory=dict[RowId, int])
    open: Mapping[int, Opening] = field(default_factory=dict[int, Opening])
    close: tuple[int, ...] = ()
    take: tuple[RowSpec, ...] = ()

    @property
    def empty(self) -> bool:
        """Nothing to say."""
        said = (self.join, self.leave, self.decided, self.acknowledged, self.open, self.close, self.take)
        return not any(said)

    def merged(self, later: Orders) -> Orders:
        """Both as one message: a row that was to join and is withdrawn before it did is in neither list.

        What is decided or acknowledged only grows, so the larger rung counts, in whatever order messages come.

        Example:
            >>> Orders(decided={(0, 0): 3}).merged(Orders(decided={(0, 0): 2, (1, 0): 1})).decided
            {(0, 0): 3, (1, 0): 1}
        """
        # keys with tokens: a later attempt of the same row may join in the very message in which the earlier one
        # leaves
        gone = {withdrawal.key for withdrawal in later.leave}
        undone = {spec.key for spec in self.join if spec.key in gone}
        return Orders(
            join=tuple(spec for spec in self.join if spec.key not in undone) + later.join,
            leave=self.leave + tuple(one for one in later.leave if one.key not in undone),
            decided=_larger(self.decided, later.decided),
            acknowledged=_larger(self.acknowledged, later.acknowledged),
            open={**self.open, **later.open},
            close=self.close + later.close,
            take=tuple(spec for spec in self.take if spec.key not in gone) + later.take,
        )


def _larger(one: Mapping[RowId, int], two: Mapping[RowId, int]) -> dict[RowId, int]:
    return {row: max(one.get(row, 0), two.get(row, 0)) for row in {**one, **two}}


class ActiveRows:
    """The rows that a worker trains, as an executor knows it from orders and reports."""

    def __init__(self) -> None:
        self._specs: dict[RowKey, RowSpec] = {}

    def __len__(self) -> int:
        return len(self._specs)

    @property
    def specs(self) -> tuple[RowSpec, ...]:
        """All of them, in the order in which they came."""
        return tuple(self._specs.values())

    def obey(self, orders: Orders) -> None:
        """Let rows leave, then let rows join."""
        for withdrawal in orders.leave:
            self._specs.pop(withdrawal.key, None)
        self._specs.update((spec.key, spec) for spec in orders.join)

    def settle(self, reports: Sequence[RowReport], failures: Sequence[RowFailure]) -> None:
        """Forget the rows that ended in a rung."""
        for report in reports:
            spec = self._specs.get(report.key)
            if spec is not None and spec.ends_with(report):
                del self._specs[report.key]
        for failure in failures:
            self._specs.pop(failure.key, None)


@dataclass(frozen=True)
class WorkerInfo:
    """A worker as it introduces itself.

    Attributes:
        worker: unique id.
        node: node id or host name.
        device: e.g. ``cpu`` or ``cuda:0``, with the processor's name in `processor`.
        slots: rows that it can hold at once.
        at_once: rows that it trains in about the time of one, by its cores or a GPU's multiprocessors.
        versions: library versions, for the run's environment artifact.
    """

    worker: str
    node: str
    device: str
    processor: str
    slots: int
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    at_once: int = 1


# ------------------------------------------------------------------ rows of several sweeps in one worker: `pooled_rows`

TRIAL_BITS = 32
"""Trials of one sweep have numbers below 2 to this power."""

ALONE = 0
"""The number of a sweep that shares its workers with none."""

AnyRow = TypeVar("AnyRow", RowSpec, RowReport, RowFailure, Withdrawal)


def wide(sweep: int, trial: int) -> int:
    """A trial's number in the pool.

    Example:
        >>> wide(0, 7), owner_of(wide(3, 7))
        (7, (3, 7))
    """
    return sweep << TRIAL_BITS | trial


def owner_of(number: int) -> tuple[int, int]:
    """Number of the sweep, and of the trial within it."""
    return number >> TRIAL_BITS, number & ((1 << TRIAL_BITS) - 1)


def widened(sweep: int, row: AnyRow) -> AnyRow:
    """The same by its number in the pool."""
    return replace(row, trial=wide(sweep, row.trial)) if sweep else row


def narrowed(row: AnyRow) -> tuple[int, AnyRow]:
    """The sweep whose it is, and the same by its number within that."""
    sweep, trial = owner_of(row.trial)
    return sweep, replace(row, trial=trial) if sweep else row
