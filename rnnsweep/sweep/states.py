"""Life cycles of trials, rows and sweeps, each with its table of allowed moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from rnnsweep.errors import IllegalTransition


class TrialState(StrEnum):
    """Life of a trial; it keeps its number through every attempt.

    WAITING -> RUNNING -> COMPLETE | PRUNED | FAILED
    RUNNING -> WAITING    attempt lost
    WAITING -> FAILED     retries used up
    WAITING | RUNNING -> PAUSED -> WAITING    a user's wish, or a scheduler's; it costs a file meanwhile, and no slot
    FAILED  -> WAITING    only `resume --failed` / `--trial`
    COMPLETE -> WAITING   only `resume --extend`
    """

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAILED = "FAILED"

    @property
    def finished(self) -> bool:
        """Final unless a user asks for more."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


class RowState(StrEnum):
    """Life of a row, as its worker and the machine see it.

    ACTIVE -> DONE | SOLVED (may stop early) | STALLED (out of patience) | PRUNED | DIVERGED | FAILED
    ACTIVE -> LOST -> ACTIVE (next attempt)
    DONE | SOLVED | STALLED | DIVERGED -> ACTIVE    it had run ahead of a rung after which it takes over another's state
    """

    ACTIVE = "ACTIVE"
    DONE = "DONE"
    SOLVED = "SOLVED"
    STALLED = "STALLED"
    PRUNED = "PRUNED"
    DIVERGED = "DIVERGED"
    FAILED = "FAILED"
    LOST = "LOST"

    @property
    def ended(self) -> bool:
        """The row trains no more in this attempt."""
        return self is not RowState.ACTIVE


class SweepState(StrEnum):
    """Life of a sweep.

    STOPPED and INTERRUPTED are resumable. FAILED was stopped by a bug or a store, or has ended without one COMPLETE
    trial.
    """

    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    INTERRUPTED = "INTERRUPTED"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"


_T, _R, _S = TrialState, RowState, SweepState

TRIAL_MOVES: Mapping[TrialState, frozenset[TrialState]] = {
    _T.WAITING: frozenset({_T.RUNNING, _T.FAILED, _T.PAUSED}),
    _T.RUNNING: frozenset({_T.COMPLETE, _T.PRUNED, _T.FAILED, _T.WAITING, _T.PAUSED}),
    # an end, too, comes by way of WAITING: whatever follows a trial's states knows those moves
    _T.PAUSED: frozenset({_T.WAITING}),
    _T.COMPLETE: frozenset({_T.WAITING}),
    # nothing reopens it: its verdict rested on what the sweep knew then
    _T.PRUNED: frozenset(),
    _T.FAILED: frozenset({_T.WAITING}),
}
ROW_MOVES: Mapping[RowState, frozenset[RowState]] = {
    _R.ACTIVE: frozenset({_R.DONE, _R.SOLVED, _R.STALLED, _R.PRUNED, _R.DIVERGED, _R.FAILED, _R.LOST}),
    _R.LOST: frozenset({_R.ACTIVE}),
    # ACTIVE again: a raised `budget.updates`. PRUNED: a row runs ahead of the verdict and may end before it comes.
    _R.DONE: frozenset({_R.ACTIVE, _R.PRUNED}),
    _R.SOLVED: frozenset({_R.ACTIVE, _R.PRUNED}),
    # ACTIVE again: it takes over another row's state from a rung on that it had run beyond
    _R.STALLED: frozenset({_R.ACTIVE, _R.PRUNED}),
    _R.DIVERGED: frozenset({_R.ACTIVE, _R.PRUNED}),
    _R.PRUNED: frozenset(),
    _R.FAILED: frozenset({_R.ACTIVE}),
}
SWEEP_MOVES: Mapping[SweepState, frozenset[SweepState]] = {
    _S.RUNNING: frozenset({_S.STOPPED, _S.INTERRUPTED, _S.COMPLETE, _S.FAILED}),
    _S.STOPPED: frozenset({_S.RUNNING}),
    _S.INTERRUPTED: frozenset({_S.RUNNING}),
    _S.COMPLETE: frozenset({_S.RUNNING}),
    _S.FAILED: frozenset({_S.RUNNING}),
}


_State = TypeVar("_State", bound=StrEnum)


def check_move(
    moves: Mapping[_State, frozenset[_State]], what: str, before: _State, after: _State, history: Sequence[str] = ()
) -> None:
    """Raise `IllegalTransition` unless `moves` allows `before -> after`."""
    if after not in moves[before]:
        raise IllegalTransition(what, before.value, after.value, history)
