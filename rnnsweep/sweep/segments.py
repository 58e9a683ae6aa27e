"""Stretches of a trial's training: from which rung on it has which point, and whose state it began them with.

decided ─► ready ─► taken            the state that is taken over is there; the trial goes on with it
   └─────────┴────► lapsed           one of the two did not train on, or the state could not be read
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnsweep.sweep.plan import Params

DECIDED, READY, TAKEN, LAPSED = "decided", "ready", "taken", "lapsed"


@dataclass(frozen=True)
class Segment:
    """What becomes of a trial after one of its rungs; nothing of it changes once it is `TAKEN` or `LAPSED`.

    Attributes:
        rung: after which it begins. step: updates done by then.
        params: the whole point from there on.
        source: the trial whose state after that rung it begins with; None: its own.
        state: one of those above.
        tokens: attempts of the source that may have stored that state, newest first.
        attempt: number of the trial's first attempt in it; 0 until one is set apart for it.
        until: number of its last attempt where it has lapsed though it had some; else 0.
        reason: why it has lapsed.
    """

    rung: int
    step: int
    params: Params
    source: int | None = None
    state: str = DECIDED
    tokens: tuple[str, ...] = ()
    attempt: int = 0
    until: int = 0
    reason: str = ""

    @property
    def open(self) -> bool:
        """It has neither been taken nor lapsed."""
        return self.state in (DECIDED, READY)


def segment_of(data: Mapping[str, Any]) -> Segment:
    """A segment from its fields, as JSON has them."""
    fields: dict[str, Any] = {**data, "tokens": tuple(data["tokens"])}
    return Segment(**fields)


def taken(segments: Sequence[Segment]) -> list[Segment]:
    """Those that the trial has gone through, or is in, oldest first."""
    return [segment for segment in segments if segment.state == TAKEN]


def point_at(params: Params, segments: Sequence[Segment], rung: int) -> Params:
    """The point that a trial has trained rung number `rung` with.

    Example:
        >>> point_at({"lr": 1}, [Segment(3, 30, {"lr": 2}, 5, TAKEN)], 3)
        {'lr': 1}
        >>> point_at({"lr": 1}, [Segment(3, 30, {"lr": 2}, 5, TAKEN)], 4)
        {'lr': 2}
    """
    points = [segment.params for segment in taken(segments) if segment.rung < rung]
    return points[-1] if points else params


def own_attempts(segments: Sequence[Segment], attempts: int) -> list[int]:
    """Numbers of the attempts whose checkpoints hold the state that a trial goes on from, newest first.

    Those of before it took over another one's state hold what it had then, and those of a segment that has lapsed what
    it was not to have.

    Example:
        >>> own_attempts([Segment(3, 30, {}, 5, TAKEN, attempt=3)], 4), own_attempts([], 2)
        ([4, 3], [2, 1])
    """
    begun = taken(segments)
    first = begun[-1].attempt if begun else 1
    # a worker may have begun what its driver had not settled yet, or took back
    void = [(one.attempt, one.until or one.attempt) for one in segments if one.state != TAKEN and one.attempt]
    return [n for n in range(attempts, first - 1, -1) if not any(low <= n <= high for low, high in void)]
