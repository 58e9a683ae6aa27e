"""Where a trial's state comes from: stretches of training, each by one trial under one point."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rnnsweep.sweep.plan import Params, Scalar
from rnnsweep.sweep.segments import Segment, own_attempts, point_at, taken
from rnnsweep.sweep.views import AttemptView, TrialView

Schedule = dict[str, list[tuple[int, Scalar]]]
"""Key -> (from update, value), oldest first."""


@dataclass(frozen=True)
class Stretch:
    """Training of one trial that led to a state.

    Attributes:
        trial: whose data stream and identity it had.
        after, rung: it goes from after the one rung to after the other.
        step: updates done at its begin.
        params: the whole point.
    """

    trial: int
    after: int
    rung: int
    step: int
    params: Params


def lineage(trials: Iterable[TrialView], number: int) -> list[Stretch]:
    """All stretches that led to what a trial has now, oldest first; one for a trial that took over no state.

    Args:
        trials: of the sweep, with all those whose states were taken over.
        number: of one of them.
    """
    by_number = {view.number: view for view in trials}
    stretches: list[Stretch] = []
    view, until = by_number[number], by_number[number].rung
    while True:
        # what it took over right after that rung is not what somebody else took from it there
        begun = [segment for segment in taken(view.segments or ()) if segment.rung < until or not stretches]
        for segment in reversed(begun):
            stretches.append(Stretch(view.number, segment.rung, until, segment.step, segment.params))
            until = segment.rung
            if segment.source is not None:
                break
        else:
            stretches.append(Stretch(view.number, 0, until, 0, view.params))
            return stretches[::-1]
        assert segment.source is not None
        view = by_number[segment.source]


def schedule(stretches: Sequence[Stretch]) -> Schedule:
    """The values that a lineage was trained with, each from the update at which it came.

    Example:
        >>> schedule([Stretch(0, 0, 3, 0, {"lr": 0.1}), Stretch(4, 3, 6, 30, {"lr": 0.2})])
        {'lr': [(0, 0.1), (30, 0.2)]}
    """
    found: Schedule = {}
    for stretch in stretches:
        for key, value in stretch.params.items():
            points = found.setdefault(key, [])
            if not points or points[-1][1] != value:
                points.append((stretch.step, value))
    return found


def present_point(view: TrialView) -> Params:
    """What a trial trains with now, or did last."""
    return point_at(view.params, view.segments or (), 1 << 60)


def present_tokens(view: TrialView, attempts: Iterable[AttemptView]) -> list[str]:
    """Tokens of the attempts whose checkpoints hold what a trial has now, newest first."""
    numbers = own_attempts(view.segments or (), max(view.attempts, 0))
    by_number = {attempt.number: attempt.token for attempt in attempts}
    return [by_number[number] for number in numbers if number in by_number]


def changes_of(params: Params, segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """What each state that a trial has taken over brought: update, parent, and (old, new) of values that changed.

    Example:
        >>> changes_of({"lr": 1, "w": 0}, [Segment(3, 30, {"lr": 2, "w": 0}, 5, "taken")])
        [{'update': 30, 'parent': 5, 'changed': {'lr': (1, 2)}}]
    """
    found: list[dict[str, Any]] = []
    for segment in taken(segments):
        before = point_at(params, segments, segment.rung)
        changed = {key: (before.get(key), value) for key, value in segment.params.items() if before.get(key) != value}
        found.append({"update": segment.step, "parent": segment.source, "changed": changed})
    return found
