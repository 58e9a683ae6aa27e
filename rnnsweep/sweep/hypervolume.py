"""The hypervolume: how much of the space of objectives some points dominate, up to a reference point."""

from __future__ import annotations

from collections.abc import Sequence

Losses = tuple[float, ...]
"""One per objective, less is better."""


def dominates(one: Losses, other: Losses) -> bool:
    """Whether one is at least as good in every objective, and better in some.

    Example:
        >>> dominates((0.0, 1.0), (0.0, 2.0)), dominates((0.0, 1.0), (0.0, 1.0)), dominates((0.0, 1.0), (1.0, 0.0))
        (True, False, False)
    """
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def hypervolume(points: Sequence[Losses], reference: Losses) -> float:
    """Volume that the points dominate up to the reference; what is not below the reference everywhere adds nothing.

    Exact, by slicing along the last objective; with n points and M objectives it takes O(n^(M - 1)) steps at most.

    Example:
        >>> hypervolume([(0.0, 2.0), (1.0, 0.0)], (3.0, 3.0))
        7.0

    References:
        While et al. (2006), hypervolume by slicing objectives.
    """
    inside = sorted({point for point in points if all(a < r for a, r in zip(point, reference, strict=True))})
    return _sliced(inside, reference)


def _sliced(points: list[Losses], reference: Losses) -> float:
    """Of distinct points inside the reference, in ascending order."""
    if not points:
        return 0.0
    if len(reference) == 1:
        return reference[0] - points[0][0]
    if len(reference) == 2:
        return _staircase(points, reference)
    # between two values of the last objective the cut through the volume stays the same
    by_last = sorted(points, key=lambda point: point[-1])
    ends = [point[-1] for point in by_last[1:]] + [reference[-1]]
    total = 0.0
    for count, (point, end) in enumerate(zip(by_last, ends, strict=True), 1):
        if end > point[-1]:
            total += (end - point[-1]) * _sliced(sorted({other[:-1] for other in by_last[:count]}), reference[:-1])
    return total


def _staircase(points: list[Losses], reference: Losses) -> float:
    total, ceiling = 0.0, reference[1]
    for first, second in points:
        if second < ceiling:
            total += (reference[0] - first) * (ceiling - second)
            ceiling = second
    return total


def contributions(points: Sequence[Losses], reference: Losses) -> list[float]:
    """Volume that each point dominates and no other one does; 0 for points that occur twice.

    Example:
        >>> contributions([(0.0, 2.0), (1.0, 0.0)], (3.0, 3.0))
        [1.0, 4.0]

    References:
        While et al. (2012), the limit set: what the others dominate of a point's own box.
    """
    return [_exclusive(points, index, reference) for index in range(len(points))]


def _exclusive(points: Sequence[Losses], index: int, reference: Losses) -> float:
    own = points[index]
    others = (point for place, point in enumerate(points) if place != index)
    # as seen from within the box, most of the others are hidden behind few
    limited = {tuple(max(a, b) for a, b in zip(own, other, strict=True)) for other in others}
    front = [one for one in limited if not any(dominates(other, one) for other in limited)]
    return hypervolume([own], reference) - hypervolume(front, reference)
