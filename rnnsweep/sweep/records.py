"""The machine's memory: unfinished trials with their rows, workers, and what has been spent.

Finished trials leave nothing behind but their number, so that a sweep's memory does not grow with its history.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from dataclasses import dataclass, field, replace

from rnnsweep.sweep.budget import Spent
from rnnsweep.sweep.free_slots import FreeSlots, Room
from rnnsweep.sweep.objective import Curve, trial_solved_at
from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.policy import DEFAULT, Policy
from rnnsweep.sweep.ports import AttemptView, TrialView
from rnnsweep.sweep.racing import RaceBoard
from rnnsweep.sweep.rows import RowId, RowReport, WorkerInfo
from rnnsweep.sweep.schedulers.base import Decision, Scheduler
from rnnsweep.sweep.segments import Segment, point_at
from rnnsweep.sweep.states import ROW_MOVES, TRIAL_MOVES, RowState, SweepState, TrialState, check_move
from rnnsweep.sweep.summary import Best
from rnnsweep.sweep.tried_points import TriedPoints


@dataclass(slots=True)
class Row:
    """A replica of an unfinished trial.

    Attributes:
        state: as the machine sees it at arrival; may be ahead of the trial's rung.
        worker: who trains it, or trained it last in this attempt; empty while it waits for a place.
        last: who trained it before it was taken off that worker.
        reported: last rung that is known here; reports up to it are repetitions.
        stored: last rung that was handed to the ledger.
        ahead: reports beyond the trial's rung.
        curve: what counts, up to the trial's rung.
    """

    replica: int
    state: RowState = RowState.ACTIVE
    worker: str = ""
    reported: int = 0
    stored: int = 0
    ahead: dict[int, RowReport] = field(default_factory=dict[int, RowReport])
    curve: Curve = field(default_factory=Curve)
    step: int = 0
    last: str = ""

    @property
    def placed(self) -> bool:
        """A worker is training it."""
        return self.state is RowState.ACTIVE and bool(self.worker)

    @property
    def waits(self) -> bool:
        """It has work to do and no worker."""
        return self.state is RowState.LOST or (self.state is RowState.ACTIVE and not self.worker)

    def whole_curve(self, plan: SweepPlan) -> Curve:
        """The curve with the reports beyond the trial's rung, which do not count yet."""
        known = self.curve
        whole = Curve(dict(known.last), list(known.best), list(known.measured), known.report)
        for rung in sorted(self.ahead):
            whole.take(self.ahead[rung], plan)
        return whole

    def move(self, trial: int, after: RowState) -> None:
        """Change state; `IllegalTransition` if the table does not allow it."""
        check_move(ROW_MOVES, f"trial {trial} replica {self.replica}", self.state, after)
        self.state = after


@dataclass(slots=True)
class OpenTrial:
    """An unfinished trial.

    Attributes:
        rung: last rung whose verdict is known to be `keep` (or that needed none).
        judging: rung whose verdict, of the pruner or the scheduler, is not known yet; 0 for none.
        verdicts: verdicts of an earlier session that are still to be applied.
        tokens: tokens of all attempts, newest first.
        strikes: losses without progress in between; `mark` is the rung at the last one.
        group: the quarantine group that it belongs to, or None.
        died_on: nodes on which it was alone when its worker was lost; they are shunned, and to blame if it clears.
        rewind: restore no checkpoint beyond what is known here (after reports went missing).
        failures: replica -> reason of rows that cannot be trained.
        enqueued, informed_by, reopened, paused_by, space: see `TrialView`.
        unpromoted: the scheduler has paused it at its rung and not promoted it, whether or not a user holds it too.
        segments: stretches of its training under other points, oldest first; `params` is the one that it began with.
        reserved: token of the attempt that its rows may have begun with another one's state; empty where none may.
        lent: trials that are to go on, or went on, from its state -> after which rung; its checkpoints from there on
            stay.
        fingerprints: what the rungs that count were trained under.
        late: rows that were started after the others, because it had not lost its race: the last of `rows`, or, while a
            driver rebuilds it, still to be added to them.
        raced_out: why it has lost its race; empty while it has not.
        full: its values are of full fidelity, see `fidelity`: those that are not compare at their rung alone.
    """

    number: int
    params: Params
    rows: list[Row]
    state: TrialState = TrialState.WAITING
    reason: str = ""
    attempts: int = 0
    charged: int = 0
    token: str = ""
    tokens: tuple[str, ...] = ()
    started: float | None = None
    attempt_started: float = 0.0
    from_step: int = 0
    step: int = 0
    rung: int = 0
    judging: int = 0
    verdicts: dict[int, str] = field(default_factory=dict[int, str])
    values: tuple[float, ...] = ()
    strikes: int = 0
    mark: int = 0
    group: int | None = None
    died_on: list[str] = field(default_factory=list[str])
    rewind: bool = False
    failures: dict[int, str] = field(default_factory=dict[int, str])
    engine: str = ""
    history: list[str] = field(default_factory=list[str])
    extra: dict[str, float] = field(default_factory=dict[str, float])
    enqueued: bool = False
    informed_by: int = 0
    reopened: int = 0
    paused_by: str | None = None
    unpromoted: bool = False
    space: int | None = None
    segments: tuple[Segment, ...] = ()
    reserved: str = ""
    lent: dict[int, int] = field(default_factory=dict[int, int])
    fingerprints: set[int] = field(default_factory=set[int])
    late: list[Row] = field(default_factory=list[Row])
    raced_out: str = ""
    full: bool = True

    def move(self, after: TrialState) -> None:
        """Change state; `IllegalTransition` with the history if the table does not allow it."""
        check_move(TRIAL_MOVES, f"trial {self.number}", self.state, after, self.history)
        self.state = after

    def log(self, line: str, policy: Policy = DEFAULT) -> None:
        """Add a line to the trial's history; the oldest lines but the first go when it gets long."""
        self.history.append(line)
        if len(self.history) > policy.history:
            del self.history[1]

    @property
    def point(self) -> Params:
        """What its rows train with now."""
        return point_at(self.params, self.segments, 1 << 60)

    @property
    def diverged(self) -> bool:
        """All its replicas have."""
        return all(row.curve.diverged for row in self.rows)

    @property
    def awaits(self) -> bool:
        """It can do no more before it takes over another one's state, which is not there yet."""
        if not self.segments or not self.segments[-1].open:
            return False
        return self.rung >= self.segments[-1].rung or self.diverged

    @property
    def decided(self) -> int:
        """The last rung before which no checkpoint is needed any more."""
        return min((self.rung, *self.lent.values()))

    @property
    def workers(self) -> str:
        """Workers of this attempt, for the record."""
        return ",".join(dict.fromkeys(row.worker for row in self.rows if row.worker))

    @property
    def progress(self) -> int:
        """The rung that every row in training has reached."""
        # nothing in training: as far as one can get, so that such a trial clears at once
        return min((row.reported for row in self.rows if not row.state.ended), default=1 << 60)

    def view(self, finished: float | None = None) -> TrialView:
        """As the ledger and the sampler see it."""
        curves = [row.curve for row in self.rows]
        diverged = [curve.report.diverged_at for curve in curves if curve.diverged and curve.report is not None]
        known = [step for step in diverged if step is not None]
        return TrialView(
            number=self.number,
            state=self.state,
            params=self.params,
            # intermediate values are rungs, not results; a FAILED trial has none
            values=self.values if self._has_result else (),
            reason=self.reason,
            attempts=self.attempts,
            charged=self.charged,
            token=self.token,
            started=self.started,
            finished=finished,
            step=self.step,
            rung=self.rung,
            solved_at=trial_solved_at(curves),
            diverged_at=min(known) if known else None,
            diverged_share=len(diverged) / len(curves),
            worker=self.workers,
            engine=self.engine,
            history=tuple(self.history),
            extra=dict(self.extra),
            enqueued=self.enqueued,
            informed_by=self.informed_by,
            reopened=self.reopened,
            segments=self.segments or None,
            paused_by=self.paused_by if self.state is TrialState.PAUSED else None,
            space=self.space,
            fingerprints=tuple(sorted(self.fingerprints)) if any(self.fingerprints) else None,
            unsolved=sum(curve.solved_at is None for curve in curves) or None,
        )

    @property
    def _has_result(self) -> bool:
        return self.state is TrialState.COMPLETE or (self.state is TrialState.PRUNED and self.full)

    def sampled(self) -> TrialView:
        """As the sampler is to see it: what waits for its promotion has a result that a model can learn from."""
        view = self.view()
        if not self.unpromoted:
            return view
        return replace(view, state=TrialState.PRUNED, values=self.values if self.full else ())

    @property
    def attempt_number(self) -> int:
        """Number of the attempt in progress."""
        return self.attempts - bool(self.reserved)

    def reservation(self, outcome: str = "") -> AttemptView:
        """The attempt that is set apart, as the ledger sees it."""
        return AttemptView(
            self.number, self.reserved, self.attempts, self.attempt_started, self.segments[-1].step, self.workers,
            outcome=outcome,
        )  # fmt: skip

    def closed_attempts(self, outcome: str) -> list[AttemptView]:
        """The attempt in progress at its end, and the one that was set apart, if there is one."""
        return [self.attempt(outcome=outcome), *([self.reservation("unused")] if self.reserved else [])]

    def attempt(self, outcome: str = "", charged: bool = False) -> AttemptView:
        """The attempt in progress, as the ledger sees it."""
        started, worker = self.attempt_started, self.workers
        return AttemptView(
            self.number,
            self.token,
            self.attempt_number,
            started,
            self.from_step,
            worker,
            charged=charged,
            outcome=outcome,
        )


@dataclass(slots=True)
class LiveWorker:
    """A live worker.

    Attributes:
        order: when it joined; ties between workers are broken by it.
        slots: rows that it may hold; halved when it runs out of memory.
        most: slots that running out of memory has left; None where it has not.
        rows: what it trains.
        group: the quarantine group that it is reserved for, or None.
    """

    info: WorkerInfo
    order: int
    slots: int
    rows: set[RowId] = field(default_factory=set[RowId])
    group: int | None = None
    most: int | None = None

    @property
    def free(self) -> int:
        """Rows that anybody may still add."""
        # `slots` may have been halved below what the worker still holds
        return max(0, self.slots - len(self.rows)) if self.group is None else 0


@dataclass(slots=True)
class SweepMemory:
    """The machine's whole state.

    Attributes:
        fence: the driver's fencing token; part of attempts' tokens.
        now: the last tick, seconds since the epoch.
        open: unfinished trials by number.
        queue: numbers of trials with rows that wait for a place: those tried before and enqueued points first.
        groups: quarantine groups by id; `pending` lists those that wait for a worker of their own.
        free_slots: free rows by worker.
        counts: trials by state.
        next_number: the next trial to ask for; `last_number` the last one that got a point.
        asking: asks that are not answered yet.
        exhausted: the sampler has no more points.
        known: enqueued points that no trial has taken yet.
        tried: the points asked for, and what came of them.
        extendable: COMPLETE trials whose replicas could go on under this budget, with `--extend`.
        best: the best COMPLETE trial by the first objective.
        stopping: state that the sweep will end in, with the reason; None while it runs.
        closed: the sweep has ended.
        bugs: signature -> trials that showed it.
        node_losses, node_rungs: losses of a node, and rungs trained there since.
        store_losses: workers lost to the checkpoint store since a rung was trained.
        refused: reports of fenced attempts and unknown workers that were turned away.
        scheduler: decides at rungs; None where a pruner does, or nobody.
        decisions: what it has decided and what is still to be carried out, in this order.
        undecided: trials whose rung waits for its decision. yielded: those that gave their places up meanwhile.
        exploits: trials that are to take over another one's state, or did lately.
        left: trials that have ended in this step and whose state others are to take over.
        races: decides how many replicas a trial gets; None where it gets all.
        at_look: trials that train nothing until that is decided.
        nothing_to_steal: an idle worker has looked for rows to take since rows were placed last, see `work_stealing`.
    """

    plan: SweepPlan
    fence: int
    policy: Policy = DEFAULT
    now: float = 0.0
    spent: Spent = field(default_factory=Spent)
    open: dict[int, OpenTrial] = field(default_factory=dict[int, OpenTrial])
    queue: list[int] = field(default_factory=list[int])
    groups: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    pending: list[int] = field(default_factory=list[int])
    group_count: int = 0
    workers: dict[str, LiveWorker] = field(default_factory=dict[str, LiveWorker])
    worker_count: int = 0
    free_slots: FreeSlots = field(default_factory=FreeSlots)
    counts: Counter[TrialState] = field(default_factory=Counter[TrialState])
    next_number: int = 0
    last_number: int = -1
    asking: int = 0
    exhausted: bool = False
    known: int = 0
    tried: TriedPoints = field(default_factory=TriedPoints)
    extendable: int = 0
    best: Best | None = None
    stopping: tuple[SweepState, str] | None = None
    closed: bool = False
    bugs: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    node_losses: Counter[str] = field(default_factory=Counter[str])
    node_rungs: Counter[str] = field(default_factory=Counter[str])
    excluded: set[str] = field(default_factory=set[str])
    store_losses: int = 0
    refused: int = 0
    scheduler: Scheduler | None = None
    decisions: deque[Decision] = field(default_factory=deque[Decision])
    undecided: set[int] = field(default_factory=set[int])
    yielded: set[int] = field(default_factory=set[int])
    exploits: set[int] = field(default_factory=set[int])
    left: dict[int, OpenTrial] = field(default_factory=dict[int, OpenTrial])
    races: RaceBoard | None = None
    at_look: set[int] = field(default_factory=set[int])
    nothing_to_steal: bool = False

    def move(self, trial: OpenTrial, after: TrialState) -> None:
        """Change a trial's state and the counts."""
        before = trial.state
        trial.move(after)
        # kept along, because the display and every event ask for them and finished trials are not in memory
        self.counts[before] -= 1
        self.counts[after] += 1

    def touch(self, worker: str) -> None:
        """Recompute whether a worker has room, after anything about it changed."""
        live = self.workers.get(worker)
        if live is None:
            self.free_slots.forget(worker)
        else:
            self.free_slots.set(worker, Room(live.free, len(live.rows), live.info.at_once, live.order))

    def vacate(self, trial: int, row: Row) -> None:
        """A row has left its worker's pack."""
        worker = self.workers.get(row.worker)
        if worker is not None:
            worker.rows.discard((trial, row.replica))
            self.touch(row.worker)


def token(sweep: str, trial: int, number: int, fence: int) -> str:
    """An attempt's token: a function of who, which try and which driver, so that a repeated decision repeats it.

    Example:
        >>> token("s", 3, 1, 1) == token("s", 3, 1, 1), token("s", 3, 1, 1)[:5]
        (True, '0001-')
    """
    digest = hashlib.sha256(f"{sweep}/{trial}/{number}/{fence}".encode()).hexdigest()
    return f"{number:04d}-{digest[:8]}"
