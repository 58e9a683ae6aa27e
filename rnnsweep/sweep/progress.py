"""What a person who waits wants to know, several times a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from rnnsweep.sweep.records import SweepMemory
from rnnsweep.sweep.states import TrialState


@dataclass(frozen=True)
class Progress:
    """A sweep at one moment.

    Attributes:
        trials: number of trials by state.
        total: trials in the budget, None without a limit.
        workers: live workers.
        best: (trial, objective) of the best COMPLETE trial, or None.
        tied: how many others have the same objective.
        updates: row-updates done, all sessions together.
        updates_per_s: row-updates per second lately.
        wall_s: seconds, all sessions together.
        left_s: estimated seconds left at this rate, if every trial runs to its end; None while unknown.
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


class Rate:
    """Row-updates per second over a sliding window.

    Attributes:
        window: seconds that count.
    """

    def __init__(self, window: float = 30.0) -> None:
        self.window = window
        self._points: deque[tuple[float, int]] = deque()

    def add(self, at: float, updates: int) -> float:
        """Take a point and return the rate; 0 until there are two."""
        self._points.append((at, updates))
        # two points stay whatever their age: rungs may be longer than the window, and an old rate is better than none
        while len(self._points) > 2 and at - self._points[0][0] > self.window:
            self._points.popleft()
        start, first = self._points[0]
        # two looks within the clock's resolution
        return (updates - first) / (at - start) if at > start else 0.0


def progress(memory: SweepMemory, rate: float) -> Progress:
    """Look at the machine's memory."""
    budget = memory.plan.budget
    left = None
    if budget.trials is not None and rate > 0:
        finished = sum(count for state, count in memory.counts.items() if state.finished)
        # ended trials count by number: a pruned one leaves nothing to do, however few updates it had
        done = sum(row.step for trial in memory.open.values() for row in trial.rows)
        goal = max(0, budget.trials - finished) * memory.plan.replicas * budget.updates
        left = max(0, goal - done) / rate
    best = memory.best
    return Progress(
        trials={state: memory.counts[state] for state in TrialState},
        total=budget.trials,
        workers=len(memory.workers),
        best=None if best is None else (best.number, best.value),
        tied=0 if best is None else best.tied,
        updates=memory.spent.updates,
        updates_per_s=rate,
        wall_s=memory.spent.wall_s,
        left_s=left,
    )
