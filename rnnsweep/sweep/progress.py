"""What a person who waits wants to know, several times a second."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from rnnsweep.sweep.objective import SOLVED_AT
from rnnsweep.sweep.records import SweepMemory
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.summary import rank, unsolved


@dataclass(frozen=True)
class Progress:
    """A sweep at one moment.

    Attributes:
        trials: number of trials by state.
        total: trials in the budget, None without a limit.
        workers: live workers.
        best: (trial, objective) of the best COMPLETE trial, or None.
        tied: how many others have the same objective.
        updates: row-updates done, all sessions together; of rungs in progress, as far as workers have told.
        updates_per_s: row-updates per second lately.
        wall_s: seconds, all sessions together.
        unsolved: the objective is a time to solve, and no trial knows one yet.
        bound: how the best value, or the leading one, is to be read: "> ", the true one is larger, as some replicas did
            not solve; "≤ ", some have not so far and count as the whole budget; empty: as it is.
        leading: (trial, value, update) of the open trial that stands better than `best`, or None.
        whole: row-updates if every trial of the budget runs to its end.
        shares: state -> share of `whole` that trials in it account for: all of theirs where they have ended or wait for
            a promotion that most never get (PAUSED), what they have done under RUNNING.
        in_training: share of `whole` that the rungs in progress bring at most.
        compiling: some worker is compiling loops, which it does on a machine's first run only.
        left_s: estimated seconds left at this rate, if every trial runs to its end but those that wait for a promotion;
            None while unknown.
    """

    trials: Mapping[TrialState, int]
    total: int | None
    workers: int
    best: tuple[int, float] | None
    updates: int
    updates_per_s: float
    wall_s: float
    left_s: float | None
    tied: int = 0
    unsolved: bool = False
    bound: str = ""
    leading: tuple[int, float, int] | None = None
    whole: int = 1
    shares: Mapping[TrialState, float] = field(default_factory=dict[TrialState, float])
    in_training: float = 0.0
    compiling: bool = False


class Rate:
    """Row-updates per second over a sliding window, without what comes but once: loading and compiling.

    A worker's first rung, or what it tells within a long one for the first time, holds both: counting begins when every
    worker that has rows has come so far, and there is a rate when each of them has come further.

    Attributes:
        window: seconds that count.
    """

    def __init__(self, window: float = 30.0) -> None:
        self.window = window
        self._points: deque[tuple[float, int]] = deque()
        self._heard: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        self._known = False

    def heard(self, worker: str) -> None:
        """A worker has trained a rung, or told how far it is within one."""
        self._heard[worker] += 1

    def add(self, at: float, updates: int, busy: Collection[str]) -> float:
        """Take a look and return the rate; 0 while it is not known.

        Args:
            at: seconds.
            updates: row-updates so far, as known.
            busy: workers that have rows.
        """
        if not self._points:
            if busy and all(self._heard[worker] for worker in busy):
                self._first = {worker: self._heard[worker] for worker in busy}
                self._points.append((at, updates))
            return 0.0
        if updates > self._points[-1][1]:  # between two rungs nothing is learnt
            self._points.append((at, updates))
        # One point of every worker stays whatever its age: rungs may be longer than the window, and an old rate is
        # better than none.
        while len(self._points) > 1 + max(1, len(busy)) and at - self._points[0][0] > self.window:
            self._points.popleft()
        # whoever was lost meanwhile, or has nothing left to train, is not waited for
        self._known = self._known or all(self._heard[one] > self._first[one] for one in busy if one in self._first)
        (start, first), (end, last) = self._points[0], self._points[-1]
        return (last - first) / (end - start) if self._known and end > start else 0.0


def progress(memory: SweepMemory, rate: float, compiling: bool = False, within: int = 0) -> Progress:
    """Look at the machine's memory; `compiling` and `within`, updates of rungs in progress, are what workers say."""
    plan, counts = memory.plan, memory.counts
    each = plan.replicas * plan.budget.updates
    finished = sum(count for state, count in counts.items() if state.finished)
    total = plan.budget.trials if plan.budget.trials is not None else finished + len(memory.open)
    whole = max(1, total * each)
    # ended trials count by number: a pruned one leaves nothing to do, however few updates it had, and so does, most
    # likely, one that waits for its promotion
    unpromoted = sum(trial.unpromoted for trial in memory.open.values())
    done = sum(row.step for trial in memory.open.values() if not trial.unpromoted for row in trial.rows) + within
    left = None
    if plan.budget.trials is not None and rate > 0:
        left = max(0, max(0, total - finished - unpromoted) * each - done) / rate
    best = memory.best
    return Progress(
        trials={state: counts[state] for state in TrialState},
        total=plan.budget.trials,
        workers=len(memory.workers),
        best=None if best is None else (best.number, best.value),
        tied=0 if best is None else best.tied,
        unsolved=_unsolved(memory),
        bound=_bound(memory),
        leading=_leading(memory),
        updates=memory.spent.updates + within,
        updates_per_s=rate,
        wall_s=memory.spent.wall_s,
        left_s=left,
        whole=whole,
        shares={
            **{state: counts[state] * each / whole for state in TrialState if state.finished},
            TrialState.PAUSED: unpromoted * each / whole,
            TrialState.RUNNING: done / whole,
        },
        in_training=max(0, _in_training(memory) - within) / whole,
        compiling=compiling,
    )


def _unsolved(memory: SweepMemory) -> bool:
    """Whether the best value, of an ended trial or an open one, is only a time by which the task was not solved."""
    goal, leading, best = memory.plan.objectives[0], _leading(memory), memory.best
    updates = memory.plan.budget.updates
    if leading is not None:  # an open trial's time is known by its value alone
        return unsolved(goal, leading[1], None if leading[1] >= updates else leading[1], updates)
    return best is not None and best.unsolved and best.value >= updates


def _bound(memory: SweepMemory) -> str:
    leading, best = _leading(memory), memory.best
    if leading is None:
        return "> " if best is not None and best.unsolved else ""
    goal, rows = memory.plan.objectives[0], memory.open[leading[0]].rows
    mixed = goal.metric == SOLVED_AT and goal.reduce == "mean" and any(row.curve.solved_at is None for row in rows)
    return "≤ " if mixed else ""


def _leading(memory: SweepMemory) -> tuple[int, float, int] | None:
    """The open trial whose newest rung is best by the first objective, where no complete trial is as good."""
    goal = memory.plan.objectives[0]
    open_ranks = [
        (rank(goal, trial.values[0], None, trial.number), trial.values[0], trial.step)
        for trial in memory.open.values()
        if trial.values and trial.full
    ]
    if not open_ranks:
        return None
    first, value, step = min(open_ranks)
    if memory.best is not None and memory.best.rank.loss <= first.loss:
        return None
    return first.number, value, step


def _in_training(memory: SweepMemory) -> int:
    """Row-updates that the rungs in progress bring at most."""
    rung, updates = memory.plan.report_every, memory.plan.budget.updates
    rows = (row for trial in memory.open.values() for row in trial.rows if row.placed)
    return sum(min(rung, max(0, updates - row.step)) for row in rows)
