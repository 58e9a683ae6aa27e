"""Steps within a searched range: to a near value, and to any. No value ever leaves its range or its grid."""

from __future__ import annotations

import hashlib
import math

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Scalar
from rnnsweep.sweep.space import Dimension


def uniform(*who: object) -> float:
    """A number in [0, 1) that is a function of these words and numbers alone: no generator has to be kept.

    Example:
        >>> uniform(0, "a") == uniform(0, "a"), uniform(0, "a") == uniform(0, "b")
        (True, False)
    """
    digest = hashlib.sha256("/".join(map(repr, who)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def scaled(dimension: Dimension, value: Scalar, factor: float) -> Scalar:
    """The value times a factor, within the range; on a grid, and among choices, a neighbour at least.

    Choices are taken as ordered: a factor above 1 goes to the next one, below 1 to the one before.

    Example:
        >>> scaled(Dimension("a", "int", 1, 8), 2, 1.2), scaled(Dimension("a", "float", 0.1, 1.0), 0.9, 1.2)
        (3, 1.0)
    """
    assert isinstance(value, int | float) or dimension.kind == "categorical"
    values = grid_of(dimension)
    if values is None:
        return nearest_to(dimension, float(value) * factor)  # type: ignore[arg-type]
    index = _index(values, value)
    wanted = index + (1 if factor > 1 else -1)
    if dimension.kind != "categorical":
        near = _index(values, float(value) * factor)  # type: ignore[arg-type]
        wanted = max(near, wanted) if (float(value) * factor > float(value)) else min(near, wanted)  # type: ignore[arg-type]
    return values[min(max(wanted, 0), len(values) - 1)]


def drawn(dimension: Dimension, share: float) -> Scalar:
    """A value anywhere in the range, on its own scale.

    Args:
        dimension: the key's. share: in [0, 1), uniform.

    Example:
        >>> drawn(Dimension("a", "categorical", choices=("x", "y")), 0.7), drawn(Dimension("a", "float", 0, 4), 0.25)
        ('y', 1.0)
    """
    values = grid_of(dimension)
    if values is not None and not (dimension.log and dimension.step is None):
        return values[int(share * len(values))]
    low, high = _bounds(dimension)
    if dimension.log:
        return nearest_to(dimension, math.exp(math.log(low) + share * (math.log(high) - math.log(low))))
    return nearest_to(dimension, low + share * (high - low))


def nearest_to(dimension: Dimension, value: float) -> Scalar:
    """The value of the range that is nearest to a number."""
    low, high = _bounds(dimension)
    inside = min(max(value, low), high)
    values = grid_of(dimension)
    return float(inside) if values is None else values[_index(values, inside)]


def grid_of(dimension: Dimension) -> tuple[Scalar, ...] | None:
    """All values in order, where there are finitely many."""
    if dimension.kind == "int" and dimension.step is None:
        low, high = _bounds(dimension)
        return tuple(range(int(low), int(high) + 1))
    try:
        return dimension.cells()
    except ConfigError:
        return None


def _index(values: tuple[Scalar, ...], value: Scalar) -> int:
    """Where a value stands, or the number nearest to it, the lower one of two."""
    if value in values:
        return values.index(value)
    return min(range(len(values)), key=lambda index: (abs(float(values[index]) - float(value)), index))  # type: ignore[arg-type]


def _bounds(dimension: Dimension) -> tuple[float, float]:
    assert dimension.low is not None and dimension.high is not None
    return dimension.low, dimension.high
