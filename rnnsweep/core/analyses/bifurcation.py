"""Fixed points of a single unit x <- w sigmoid(x) + b over its bias: the dynamical view of Pascanu et al. (2013)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import root_scalar

from rnnsweep.errors import HyperparameterError

FEEDBACK = 4.0
"""The slope of the sigmoid is at most 1/4: with a weight of 4 or less there is one fixed point for every bias."""


@dataclass(frozen=True)
class FixedPoint:
    """A state that the unit maps onto itself.

    Attributes:
        x: the state.
        stable: whether nearby states move towards it; an unstable one is the border between two basins.
    """

    x: float
    stable: bool


def sigmoid(x: float | np.ndarray) -> np.ndarray:
    """The logistic function by tanh, which overflows nowhere."""
    return 0.5 + 0.5 * np.tanh(0.5 * np.asarray(x, dtype=np.float64))


def bifurcations(w: float) -> tuple[tuple[float, float], ...]:
    """Where two fixed points meet and vanish: (b, x) pairs, the smaller bias first; none for w <= 4.

    There the map touches the diagonal: w s (1 - s) = 1 for s = sigmoid(x), so s = (1 +- sqrt(1 - 4 / w)) / 2.

    Args:
        w: feedback weight, > 0.

    Raises:
        HyperparameterError: w is not a positive number.

    Numerics:
        Closed form in float64.

    References:
        Pascanu, Mikolov, Bengio (2013), section 2.2 and figure 3 (w = 5).

    Example:
        >>> [(round(b, 4), round(x, 4)) for b, x in bifurcations(5.0)]
        [(-2.6556, 0.9624), (-2.3444, -0.9624)]
    """
    _check(w)
    if w <= FEEDBACK:
        return ()
    root = math.sqrt(1 - FEEDBACK / w)
    points = []
    for s in ((1 + root) / 2, (1 - root) / 2):
        x = math.log(s / (1 - s))  # x with sigmoid(x) = s
        points.append((x - w * s, x))  # the bias that makes x a fixed point
    return tuple(sorted(points))


def fixed_points(w: float, b: float) -> tuple[FixedPoint, ...]:
    """All fixed points for one bias, ascending: one, or three between the two bifurcations.

    Args:
        w: feedback weight, > 0.
        b: bias.

    Numerics:
        x - w sigmoid(x) is monotone between the points where the map has slope 1; each piece is bracketed and solved by
        Brent's method to 1e-14. Exactly at a bifurcation the point that is about to vanish counts once.
    """
    _check(w)
    turns = sorted(x for _, x in bifurcations(w))
    # All fixed points lie in (b, b + w), as 0 < sigmoid < 1; a margin of 1 brackets the outermost.
    edges = [min(b, *turns, 0.0) - 1.0, *turns, max(w + b, *turns, 0.0) + 1.0]

    def off(x: float) -> float:
        return float(x - w * sigmoid(x) - b)

    points: list[float] = []
    for low, high in itertools.pairwise(edges):
        # <= 0: at a bifurcation an edge is itself the root.
        if off(low) * off(high) <= 0:
            x = float(root_scalar(off, bracket=(low, high), method="brentq", xtol=1e-14).root)
            # An edge belongs to two pieces, so its root is found twice.
            if not points or x - points[-1] > 1e-9:
                points.append(x)
    return tuple(FixedPoint(x, bool(w * sigmoid(x) * (1 - sigmoid(x)) < 1)) for x in points)


def attractor(w: float, b: float, start: float, steps: int = 1000) -> float:
    """Where the unit ends up from a state, after `steps` steps."""
    _check(w)
    x = start
    for _ in range(steps):
        x = float(w * sigmoid(x) + b)
    return x


def _check(w: float) -> None:
    if not (math.isfinite(w) and w > 0):
        raise HyperparameterError("w", w, "a number > 0")
