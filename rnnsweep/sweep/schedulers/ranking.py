"""Who is best among the trials at a rung: by one objective, or by the front that a trial is on among several."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from typing import Protocol

from rnnsweep.sweep.hypervolume import Losses, contributions, dominates
from rnnsweep.sweep.plan import Objective

EPSILON_NET, HYPERVOLUME = "epsilon_net", "hypervolume"
AMONG = (EPSILON_NET, HYPERVOLUME)
"""What orders trials of one front."""
_MARGIN = 0.1
"""The reference point lies so far beyond the worst values, as a share of their range: extreme points count too."""


def losses(values: Sequence[float], objectives: Sequence[Objective]) -> Losses:
    """Values signed so that less is better."""
    return tuple(-v if o.goal == "maximize" else v for v, o in zip(values, objectives, strict=True))


class Ranking(Protocol):
    """Trials in order; equal ones by number, so that the order is total."""

    def __len__(self) -> int: ...

    def add(self, number: int, losses: Losses) -> None:
        """One more trial."""
        ...

    def top(self, count: int) -> list[int]:
        """Numbers of the best `count` trials, in no particular order where nothing depends on it."""
        ...

    def ordered(self) -> list[int]:
        """All numbers, best first."""
        ...


def ranking(objectives: int, among: str) -> Ranking:
    """An empty ranking by so many objectives."""
    return OneObjective() if objectives == 1 else Fronts(among)


class OneObjective:
    """By the only objective."""

    def __init__(self) -> None:
        self._sorted: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, number: int, losses: Losses) -> None:
        """One more trial."""
        insort(self._sorted, (losses[0], number))

    def top(self, count: int) -> list[int]:
        """Best first."""
        return [number for _, number in self._sorted[:count]]

    def ordered(self) -> list[int]:
        """Best first."""
        return self.top(len(self._sorted))


class Fronts:
    """Non-dominated sorting: the first front is dominated by nobody, the second one by the first alone, ...

    A new trial moves those that it dominates to the next front, and so on, so that nothing is sorted anew.

    Attributes:
        among: what orders a front, see `AMONG`.

    References:
        Deb et al. (2002), non-dominated sorting; Li et al. (2017), the update by one point.
        Salinas et al. (2021), Schmucker et al. (2021): a front by its epsilon-net. Ours differs: objectives are scaled
        to their range in the front, and the net begins with the best by the first objective.
        Beume et al. (2007): a front by exclusive hypervolume, as in SMS-EMOA.
    """

    def __init__(self, among: str) -> None:
        self.among = among
        self.fronts: list[dict[int, Losses]] = []
        self._worst: list[float] = []
        self._best: list[float] = []
        self._count = 0
        self._orders: dict[int, list[int]] = {}  # of fronts that have not changed since

    def __len__(self) -> int:
        return self._count

    def add(self, number: int, losses: Losses) -> None:
        """One more trial."""
        self._count += 1
        bounds = self._worst, self._best
        self._worst = [max(pair) for pair in zip(self._worst or losses, losses, strict=True)]
        self._best = [min(pair) for pair in zip(self._best or losses, losses, strict=True)]
        if bounds != (self._worst, self._best):  # another reference point
            self._orders.clear()
        moving, place = {number: losses}, 0
        while place < len(self.fronts) and any(dominates(one, losses) for one in self.fronts[place].values()):
            place += 1
        while moving:
            if place == len(self.fronts):
                self.fronts.append({})
            front = self.fronts[place]
            self._orders.pop(place, None)
            beaten = {
                other: theirs
                for other, theirs in front.items()
                if any(dominates(one, theirs) for one in moving.values())
            }
            for other in beaten:
                del front[other]
            front.update(moving)
            moving, place = beaten, place + 1

    def top(self, count: int) -> list[int]:
        """The best `count`; a front that is taken whole is not ordered."""
        taken: list[int] = []
        for place, front in enumerate(self.fronts):
            left = count - len(taken)
            if left <= 0:
                break
            taken += list(front) if len(front) <= left else self._in_order(place)[:left]
        return taken

    def ordered(self) -> list[int]:
        """Best first."""
        return [number for place in range(len(self.fronts)) for number in self._in_order(place)]

    def _in_order(self, place: int) -> list[int]:
        if place not in self._orders:
            self._orders[place] = self._ordered(self.fronts[place])
        return self._orders[place]

    def _ordered(self, front: dict[int, Losses]) -> list[int]:
        numbers = sorted(front)
        points = [front[number] for number in numbers]
        if self.among == EPSILON_NET:
            return [numbers[index] for index in epsilon_net(points)]
        ranges = zip(self._worst, self._best, strict=True)
        reference = tuple(worst + _MARGIN * ((worst - best) or 1.0) for worst, best in ranges)
        shares = contributions(points, reference)
        return [numbers[index] for index in sorted(range(len(points)), key=lambda index: (-shares[index], index))]


def epsilon_net(points: Sequence[Losses]) -> list[int]:
    """An order in which every prefix is spread well: always next the point that is furthest from those before it.

    Distances are Euclidean in objectives scaled to their range; equal ones go by index. The first is the best by the
    first objective.

    Example:
        >>> epsilon_net([(0.0, 4.0), (1.0, 3.0), (2.0, 2.0), (4.0, 0.0)])
        [0, 3, 2, 1]
    """
    scale = [max(column) - min(column) or 1.0 for column in zip(*points, strict=True)]
    scaled = [tuple(value / size for value, size in zip(point, scale, strict=True)) for point in points]
    order = [min(range(len(points)), key=lambda index: (points[index], index))]
    near = [math.dist(point, scaled[order[0]]) for point in scaled]
    left = set(range(len(points))) - set(order)
    while left:
        furthest = min(left, key=lambda index: (-near[index], index))
        order.append(furthest)
        left.remove(furthest)
        near = [min(known, math.dist(point, scaled[furthest])) for known, point in zip(near, scaled, strict=True)]
    return order
