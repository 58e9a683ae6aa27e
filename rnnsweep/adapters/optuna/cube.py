"""The unit cube: every dimension of a space as one coordinate in [0, 1), on its own scale.

Categorical values and the cells of stepped ranges share the interval equally; logarithmic ranges are uniform in the
logarithm. Samplers of our own work in the cube and know nothing of scales.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.space import Dimension, Space


def seed_for(seed: int, number: int, purpose: int = 0) -> int:
    """A 32-bit seed that belongs to one ask of one sweep; equal on every machine.

    Example:
        >>> seed_for(1, 2) == seed_for(1, 2), seed_for(1, 2) == seed_for(1, 3)
        (True, False)
    """
    # hashed, since neighbouring seeds give related streams in some generators; SeedSequence takes no negative numbers
    return int(np.random.SeedSequence([abs(seed), int(seed < 0), number, purpose]).generate_state(1)[0])


def cell_count(dimension: Dimension) -> int | None:
    """Number of cells of a discrete dimension that shares [0, 1) equally; None for the others."""
    if dimension.kind == "categorical":
        return len(dimension.choices)
    low, high = bounds(dimension)
    if dimension.step is None and (dimension.kind == "float" or dimension.log):
        return None
    # as in `Dimension.cells`: the upper end belongs to it in spite of rounding
    return math.floor((high - low) / (dimension.step or 1) + 1e-9) + 1


def bounds(dimension: Dimension) -> tuple[float, float]:
    """Both bounds of a numeric dimension."""
    assert dimension.low is not None
    assert dimension.high is not None
    return dimension.low, dimension.high


def value_at(dimension: Dimension, u: float) -> Any:
    """The dimension's value at coordinate `u`, with its exact python type."""
    # u = 1 would be one cell beyond the last
    u = min(max(float(u), 0.0), math.nextafter(1.0, 0.0))
    cells = cell_count(dimension)
    if cells is not None:
        return cell_value(dimension, int(u * cells))
    low, high = bounds(dimension)
    if dimension.kind == "int":  # logarithmic: as wide as the rounding makes them
        a, b = math.log(low - 0.5), math.log(high + 0.5)
        return int(min(max(round(math.exp(a + u * (b - a))), low), high))
    if not dimension.log:
        # rounding may come out just above `high`
        return float(min(low + u * (high - low), high))
    return float(min(max(math.exp(math.log(low) + u * (math.log(high) - math.log(low))), low), high))


def cell_value(dimension: Dimension, index: int) -> Any:
    """Value of cell `index`, the same number that `Dimension.cells` gives."""
    return dimension.choices[index] if dimension.kind == "categorical" else dimension.cell(index)


def cell_of(dimension: Dimension, value: Any) -> int | None:
    """Index of the cell that holds `value`; None where there is none (exact types win over equal values)."""
    if dimension.kind == "categorical":
        # 1, 1.0 and True are equal in Python
        exact = [i for i, c in enumerate(dimension.choices) if type(c) is type(value) and c == value]
        equal = [i for i, c in enumerate(dimension.choices) if c == value]
        return next(iter(exact + equal), None)
    cells = cell_count(dimension)
    index = round((value - bounds(dimension)[0]) / (dimension.step or 1))
    return index if cells is not None and 0 <= index < cells else None


def coordinate(dimension: Dimension, value: Any) -> float | None:
    """The coordinate of `value` (centre of its cell), or None where it is outside of the dimension."""
    if dimension.kind != "categorical" and (
        isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value)
    ):
        return None
    if dimension.kind == "int" and not float(value).is_integer():
        return None  # rounding it to a cell would show another value than was trained
    cells = cell_count(dimension)
    if cells is not None:
        index = cell_of(dimension, value)
        return None if index is None else (index + 0.5) / cells
    low, high = bounds(dimension)
    if not low <= value <= high:
        return None
    if dimension.kind == "int":
        a, b = math.log(low - 0.5), math.log(high + 0.5)
    elif dimension.log:
        a, b = math.log(low), math.log(high)
    else:
        a, b = low, high
    position = math.log(value) if dimension.log else value
    # a single value: anywhere, so the middle
    return (position - a) / (b - a) if b > a else 0.5


def params_at(space: Space, point: Iterable[float]) -> dict[str, Any]:
    """The params at a point of the cube; coordinates of dimensions that do not exist there are ignored."""
    params: dict[str, Any] = {}
    for dimension, u in zip(space, point, strict=True):
        if dimension.active(params):
            params[dimension.key] = value_at(dimension, u)
    return params


def point_of(space: Space, params: Mapping[str, Any]) -> tuple[float | None, ...] | None:
    """The cube's point of `params`; None entries where a dimension does not exist, None if outside of the space."""
    point: list[float | None] = []
    for dimension in space:
        if not dimension.active(params):
            point.append(None)
            continue
        u = coordinate(dimension, params[dimension.key]) if dimension.key in params else None
        if u is None:
            return None
        point.append(u)
    return tuple(point)


def exact(dimension: Dimension, value: Any) -> Any:
    """`value` with the python type that the dimension gives; what is not a number of it stays as it is."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if dimension.kind == "float" and number:
        return float(value)
    if dimension.kind == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def check_space(space: Space) -> None:
    """Raise `ConfigError` for dimensions that no sampler can serve."""
    for dimension in space:
        if dimension.kind == "categorical":
            continue
        key = f"space.{dimension.key}"
        if dimension.log and dimension.step is not None:
            raise ConfigError("log and step exclude each other", key=key, allowed="log, or a step, not both")
        if dimension.step is not None and not dimension.step > 0:
            raise ConfigError("the step must be positive", key=key, value=dimension.step, allowed="a number > 0")
        if dimension.kind == "int" and any(not float(bound).is_integer() for bound in bounds(dimension)):
            raise ConfigError("bounds of whole numbers must be whole", key=key, value=bounds(dimension))
