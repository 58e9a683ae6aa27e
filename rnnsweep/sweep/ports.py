"""What the driver needs from the outside. Adapters implement these; tests have in-memory ones.

sampler ◄─ ask, report, tell ─ driver ─ orders ─► executor ─► trainer (in a worker)
                                 └─ changes ─► ledger ─ tail ─► mirrors (MLflow, Optuna)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rnnsweep.sweep.plan import Params, Scalar, SweepPlan
from rnnsweep.sweep.rows import Orders, RowFailure, RowReport, WorkerInfo
from rnnsweep.sweep.views import AttemptView, SweepView, TrialView


@dataclass(frozen=True)
class Change:
    """One entry of the ledger's journal, in the order of `seq`: what mirrors are written from.

    Attributes:
        seq: strictly increasing within the ledger.
        kind: ``sweep`` (data: SweepView fields), ``trial`` (data: TrialView fields after a state change),
            ``rung`` (data: {rung, step, metrics: reduced over replicas, values}), ``worker``,
            ``skipped`` (data: {mirror, seq, reason}: an entry that a mirror could not take).
        trial: trial number, or None for the sweep's own changes.
        at: seconds since the epoch, driver's clock. Mirrors derive their timestamps from the trial's `started`
            and the step, never from the time of writing.
    """

    seq: int
    kind: str
    trial: int | None
    at: float
    data: Mapping[str, Any]


class Ledger(Protocol):
    """The truth. All writes of sweep state go through `commit`, which checks the fencing token.

    A commit is atomic and durable when it returns: after kill -9 or power loss either all of it is there or none.
    """

    def close(self) -> None:
        """Release connections."""
        ...

    def sweeps(self) -> list[SweepView]:
        """All sweeps, oldest first."""
        ...

    def sweep(self, name: str) -> SweepView | None:
        """One sweep, or None."""
        ...

    def create(self, view: SweepView) -> None:
        """Add a sweep; `ConfigError` if the name is taken."""
        ...

    def acquire(self, name: str, holder: str, timeout: float) -> int:
        """Take the sweep's lock; returns the fencing token (greater than any before). `LockedError`: another has it.

        Waits up to `timeout` seconds for the holder's deadline; a dead process on this machine is succeeded at once.
        """
        ...

    def renew(self, name: str, fence: int) -> None:
        """Heartbeat, every second. `FencedError` if the token is not the newest."""
        ...

    def release(self, name: str, fence: int) -> None:
        """Give the lock back."""
        ...

    def driven(self, name: str) -> bool:
        """Whether a living driver seems to hold the sweep; only looks."""
        ...

    def commit(self, name: str, fence: int, writes: Sequence[Write]) -> None:
        """Apply all writes in one transaction. `FencedError` if the token is not the newest."""
        ...

    def trials(self, name: str) -> list[TrialView]:
        """All trials by number."""
        ...

    def attempts(self, name: str, trial: int | None = None) -> list[AttemptView]:
        """Attempts by trial and number."""
        ...

    def reports(self, name: str, trial: int | None = None) -> list[RowReport]:
        """Row reports by trial, rung, replica (those that count: none beyond a verdict)."""
        ...

    def verdicts(self, name: str, trial: int | None = None) -> list[tuple[int, int, str]]:
        """(trial, rung, verdict) in the order they were taken; the words are in `verdicts`."""
        ...

    def changes(self, name: str, after: int, limit: int = 1000, trial: int | None = None) -> list[Change]:
        """Journal entries with seq > after, of one trial where it is named."""
        ...

    def newest(self, name: str) -> int:
        """Number of the journal's last entry; 0 while there is none. Cheap: who looks often asks it first."""
        ...

    def newest_rungs(self, name: str) -> list[Change]:
        """Each trial's newest entry of kind ``rung``, by trial; trials without any are left out."""
        ...

    def cursor(self, name: str, mirror: str) -> int:
        """The last journal entry that `mirror` has written; 0 at first."""
        ...

    def set_cursor(self, name: str, mirror: str, seq: int) -> None:
        """Remember how far a mirror is; 0 makes it begin again."""
        ...

    def skip(self, name: str, mirror: str, change: Change, reason: str) -> None:
        """Note in the journal (kind ``skipped``) that `mirror` cannot take an entry; a second time changes nothing."""
        ...

    def skipped(self, name: str, mirror: str) -> Mapping[int, str]:
        """Entries that `mirror` could not take: seq -> reason."""
        ...

    def post(self, name: str, request: str, data: Mapping[str, Any] | None = None) -> None:
        """Leave a request for the driver that holds the sweep: ``stop``, ``budget``, ``edit``, ``end_trial``, ...

        Needs no lock. Those on one trial have the fields of `events.TrialRequest`. A ``stop`` is meant for one driver:
        its data say which, as ``fence``. The others are for whoever comes.
        """
        ...

    def taken_requests(self, name: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Requests that were taken in the past, oldest first."""
        ...

    def requests_wait(self, name: str) -> bool:
        """Whether there are requests that no driver has taken; only looks."""
        ...

    def take_requests(self, name: str, fence: int) -> list[tuple[str, Mapping[str, Any]]]:
        """Requests since the last call, oldest first, each returned once."""
        ...


@dataclass(frozen=True)
class PutSweep:
    """Replace the sweep's row; journalled."""

    view: SweepView


@dataclass(frozen=True)
class PutTrial:
    """Insert or replace a trial; journalled."""

    view: TrialView


@dataclass(frozen=True)
class PutAttempt:
    """Insert or replace an attempt."""

    view: AttemptView


@dataclass(frozen=True)
class PutReports:
    """Insert row reports; (trial, replica, rung) that exist already are left as they are."""

    reports: tuple[RowReport, ...]


@dataclass(frozen=True)
class PutRung:
    """A trial-level rung, reduced over replicas; journalled. Exists once per (trial, rung)."""

    trial: int
    rung: int
    step: int
    metrics: Mapping[str, float]
    values: tuple[float, ...]


@dataclass(frozen=True)
class PutVerdict:
    """What was decided on a trial's rung, a word of `verdicts`; never taken twice."""

    trial: int
    rung: int
    verdict: str


Write = PutSweep | PutTrial | PutAttempt | PutReports | PutRung | PutVerdict


# ------------------------------------------------------------------ sampler, executor, mirrors, clock


@dataclass(frozen=True)
class Origin:
    """How a sampler came to a point; see `TrialView` for its fields."""

    enqueued: bool = False
    informed_by: int = 0


UNINFORMED = Origin()
"""A point that no result of another trial has led to."""


class Sampler(Protocol):
    """Proposes points and judges rungs from an in-memory history that the driver feeds.

    Each ask is a function of (sweep seed, trial number, history): nothing else.

    Attributes:
        wants_replicas: the pruner pairs replicas: it is told their values by `report_replicas` and `restore`.
        origin: how the last ask was answered.
    """

    wants_replicas: bool
    origin: Origin

    def warm_start(self, earlier: Sequence[TrialView], offset: int | None = None) -> None:
        """Learn from others' results; `restore` keeps them. `offset`: how far they have gone along our points."""
        ...

    def restore(
        self,
        trials: Sequence[TrialView],
        rungs: Mapping[int, Sequence[tuple[int, float]]],
        replicas: Mapping[int, Sequence[tuple[int, tuple[float, ...]]]],
    ) -> None:
        """Rebuild the history from the ledger.

        Args:
            trials: all trials, in any order.
            rungs: trial -> [(step, reduced value), ...].
            replicas: trial -> [(step, replicas' values), ...]; empty unless `wants_replicas`.
        """
        ...

    def ask(self, number: int) -> dict[str, Scalar] | None:
        """The point of trial `number`, or None when the space is exhausted (grid). The trial counts as running."""
        ...

    def edit(self, plan: SweepPlan, pruner: Mapping[str, Any] | None) -> int:
        """Ask by another plan, judge by another pruner; how many enqueued points fit no longer. `restore` follows."""
        ...

    def enqueue(self, points: Sequence[Params]) -> None:
        """Known points for the next asks; `ConfigError` if one does not fit the space."""
        ...

    def report(self, number: int, step: int, value: float) -> None:
        """A reduced value at a rung."""
        ...

    def report_replicas(self, number: int, step: int, values: Sequence[float]) -> None:
        """The replicas' values behind the last `report`, where `wants_replicas`."""
        ...

    def prune(self, number: int, step: int) -> bool:
        """Whether the trial should end at this rung (already reported)."""
        ...

    def tell(self, view: TrialView) -> None:
        """A finished trial (COMPLETE, PRUNED or FAILED); what a scheduler has paused comes as PRUNED, and may again."""
        ...


@dataclass(frozen=True)
class WorkerJoined:
    """A worker is ready."""

    info: WorkerInfo


@dataclass(frozen=True)
class WorkerLost:
    """A worker is gone, with all its rows.

    Attributes:
        store: because the checkpoint store was full or away, no row's fault.
        shared: rows of other sweeps were there too, one of which may have killed it.
    """

    worker: str
    node: str
    reason: str
    store: bool = False
    shared: bool = False


@dataclass(frozen=True)
class WorkerResized:
    """A worker has another number of rows for this sweep: others came to the pool, or left it."""

    worker: str
    slots: int


@dataclass(frozen=True)
class RungTrained:
    """A worker finished a rung of all its rows."""

    worker: str
    reports: tuple[RowReport, ...]
    failures: tuple[RowFailure, ...] = ()


@dataclass(frozen=True)
class WorkerNews:
    """What a worker, joined or not, is at within a rung.

    Attributes:
        worker: its id.
        compiling: it compiles loops for its machine.
        updates: row-updates that it has done of the rung in progress; 0: nothing to say of that.
    """

    worker: str
    compiling: bool
    updates: int = 0


ExecutorEvent = WorkerJoined | WorkerLost | WorkerResized | RungTrained


NEWS_S = 1.0
"""A trainer says so often how far its rung is, seconds: nothing of rungs that are quicker."""


class Executor(Protocol):
    """Runs trainers in workers, at most two rungs in flight each: while the driver decides on r, r + 1 is trained.

    `order` is delivered before the first rung that has not been handed to the worker yet.
    """

    def connect(self) -> None:
        """Reach what `start` needs of others, if anything, so that it is missed before anything is written.

        Raises:
            ConfigError: it cannot be reached. `stop` undoes it.
        """
        ...

    def begin(self) -> None:
        """`start` is sure to follow, and may begin in the background. `stop` undoes it."""
        ...

    def watch(self, hear: Callable[[WorkerNews], None]) -> None:
        """Have `hear` called when a worker begins or ends to compile, and now and then within a rung that takes long.

        It is called during `poll`, before the rung in question is over, as news for people: no decision may depend on
        it. Who is lost has ended.
        """
        ...

    def start(self) -> None:
        """Bring workers up; they announce themselves through `poll`."""
        ...

    def order(self, worker: str, orders: Orders) -> None:
        """Queue orders for a worker; unknown workers are ignored (their loss is already on its way)."""
        ...

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        """Events since the last call; waits at most `timeout` seconds for the first."""
        ...

    def exclude(self, node: str) -> None:
        """Start no more workers on this node."""
        ...

    def stop(self, graceful: bool) -> None:
        """End all workers; graceful lets the rung in progress end and its checkpoints be written."""
        ...


class Trainer(Protocol):
    """What runs inside a worker. Built there by a factory that `app` hands in."""

    def describe(self) -> WorkerInfo:
        """Device, slots, versions."""
        ...

    def watch(self, tell: Callable[[bool, int], None]) -> None:
        """Have `tell` called with news until `close`: whether loops compile, row-updates done of the rung in progress.

        It is called when the first changes, and every `NEWS_S` seconds within a rung.
        """
        ...

    def advance(self, orders: Orders) -> tuple[list[RowReport], list[RowFailure]]:
        """Obey the orders, then train every row for a rung, checkpoint it and report it, perhaps by the next call.

        Returns nothing at once where there are no rows. A row that ended is dropped by itself. Reports of a restored
        row that the driver may not have seen come first, oldest first.
        """
        ...

    def settle(self) -> tuple[list[RowReport], list[RowFailure]]:
        """Report what was trained and not yet reported; trains nothing."""
        ...

    def close(self) -> None:
        """Free the device."""
        ...


TrainerFactory = Callable[[str, int], Trainer]
"""(worker id, cores) -> Trainer; must survive cloudpickle."""


class Mirror(Protocol):
    """A store that is written from the ledger's journal in the background; writing twice is writing once.

    `batch` is the number of journal entries per `write` at which it is fastest.
    """

    name: str
    batch: int

    def holds(self, batches: Iterable[Sequence[Change]]) -> bool:
        """Whether the store still has what these entries, which it was given before, brought it; only looks.

        If not, `start_over` is called and the whole journal comes again. `StoreError`: it is away.
        """
        ...

    def start_over(self) -> None:
        """The whole journal comes next: drop what would stand in its way. `StoreError`: the store is away."""
        ...

    def write(self, changes: Sequence[Change]) -> None:
        """Apply journal entries in order.

        `StoreError` when the store is away: the same entries come again. Any other exception: it cannot take one of
        them; then they come in smaller parts, until the one is found and left out.
        """
        ...

    def close(self) -> None:
        """Flush and disconnect."""
        ...
