"""What a sweep remembers of the points that it has tried: who trained them, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.space import Dimension, Space, completed
from rnnsweep.sweep.views import TrialView

IN_A_ROW = 100
"""Points of a finite space that a sampler may propose in a row of which none is new; then it has no more."""


def point_key(params: Params, defaults: Sequence[Dimension] = ()) -> str:
    """A text that two points share only if they are one point.

    Args:
        params: the point.
        defaults: keys that are searched since an edit, with the values that older trials had: to name one is to name
            none, so that keys of before stay what they are.

    Example:
        >>> point_key({"b": 1, "a": True}) == point_key({"a": True, "b": 1})
        True
        >>> point_key({"a": 1}) == point_key({"a": 1.0})
        False
    """
    usual = {d.key: d.choices[0] for d in defaults if d.active(params)}
    named = sorted((key, value) for key, value in params.items() if key not in usual or repr(usual[key]) != repr(value))
    return repr(named)


@dataclass(frozen=True, slots=True)
class Result:
    """What another trial of the same point gets.

    Attributes:
        view: the trial that was trained, without its history.
        metrics: of its last rung, reduced over replicas.
    """

    view: TrialView
    metrics: Mapping[str, float]


@dataclass(slots=True)
class TriedPoints:
    """The points that were asked for.

    Attributes:
        cells: how many points the space has; None where there is no end of them.
        left: those of them that no trial has.
        seen: points asked for, under whatever space.
        repeats: trials that were asked for when every point of the space had been.
        in_a_row: the last so many points were none of them new.
        results: point -> what its training led to.
        trained_by: point -> the unfinished trial that trains it.
        followers: trial -> those that wait for its result.
    """

    cells: int | None = None
    left: set[str] = field(default_factory=set[str])
    seen: set[str] = field(default_factory=set[str])
    repeats: int = 0
    in_a_row: int = 0
    results: dict[str, Result] = field(default_factory=dict[str, Result])
    trained_by: dict[str, int] = field(default_factory=dict[str, int])
    followers: dict[int, list[int]] = field(default_factory=dict[int, list[int]])

    def search(self, plan: SweepPlan) -> None:
        """From now on this is the space; what was tried stays tried."""
        points = points_of(plan.space, plan.version.pins, plan.version.defaults)
        self.cells = None if points is None else len(points)
        self.left, self.in_a_row = (points or set()) - self.seen, 0

    def count(self, point: str) -> None:
        """A point was asked for."""
        known = point in self.seen
        self.repeats += known and self.cells is not None and not self.left
        self.in_a_row = self.in_a_row + 1 if known else 0
        self.seen.add(point)
        self.left.discard(point)

    @property
    def used_up(self) -> bool:
        """Nothing new is to be expected of this space."""
        return self.cells is not None and (not self.left or self.in_a_row >= IN_A_ROW)


def points_of(
    space: Space, pins: Sequence[Dimension] = (), defaults: Sequence[Dimension] = (), most: int = 4096
) -> set[str] | None:
    """Keys of all points; None for a space that is continuous somewhere or has more than `most`."""
    if space.size(most) is None:
        return None
    return {point_key(completed(pins, cell), defaults) for cell in space.grid()}
