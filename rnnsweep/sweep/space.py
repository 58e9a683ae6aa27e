"""The search space: dimensions keyed by dotted config keys, with optional conditions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.errors import ConfigError


@dataclass(frozen=True)
class Dimension:
    """One searched key.

    Attributes:
        key: dotted config key, e.g. ``controllers.clip.threshold``; also the name in every store.
        kind: ``float``, ``int`` or ``categorical``.
        low, high: bounds, both included (float and int).
        log: search on a logarithmic scale (float and int).
        step: grid step of the range, or None.
        choices: values of a categorical, in order.
        when: condition: this dimension exists only where each named key has one of the listed values.
    """

    key: str
    kind: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])

    def __post_init__(self) -> None:
        if self.kind == "categorical":
            self._check_choices()
        else:
            self._check_range()

    def _check_choices(self) -> None:
        if not self.choices:
            raise ConfigError("a choice needs at least one value", key=f"space.{self.key}", allowed="choice(a,b,...)")

    def _check_range(self) -> None:
        key, low, high = f"space.{self.key}", self.low, self.high
        if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
            raise ConfigError("range bounds must be finite numbers", key=key, value=(low, high), allowed="low < high")
        if low > high:
            raise ConfigError("range is empty", key=key, value=(low, high), allowed="low <= high")
        if self.log and low <= 0:
            raise ConfigError("a logarithmic range must be positive", key=key, value=(low, high), allowed="low > 0")

    def active(self, params: Mapping[str, Any]) -> bool:
        """Whether this dimension exists beside the values chosen so far."""
        return all(params.get(key) in values for key, values in self.when.items())

    def cells(self) -> tuple[Any, ...]:
        """The values that a grid visits; needs choices or a step.

        Raises:
            ConfigError: a continuous range without step has no grid.
        """
        if self.kind == "categorical":
            return self.choices
        step = self.step if self.step is not None else (1 if self.kind == "int" and not self.log else None)
        if step is None:
            raise ConfigError(
                "a grid needs choices or a stepped range", key=f"space.{self.key}", allowed="choice(...) or range(...)"
            )
        assert self.low is not None and self.high is not None
        count = int(math.floor((self.high - self.low) / step + 1e-9)) + 1
        values = [self.low + index * step for index in range(count)]
        return tuple(int(round(v)) for v in values) if self.kind == "int" else tuple(values)


@dataclass(frozen=True)
class Space:
    """All searched dimensions, conditions' parents before their children."""

    dimensions: tuple[Dimension, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Dotted keys in order."""
        return tuple(dimension.key for dimension in self.dimensions)

    def __iter__(self) -> Iterator[Dimension]:
        return iter(self.dimensions)

    def __len__(self) -> int:
        return len(self.dimensions)

    def grid(self) -> Iterator[dict[str, Any]]:
        """All cells in a fixed order: the cell's index is the trial number.

        Example:
            >>> list(Space((Dimension("a", "categorical", choices=(1, 2)),)).grid())
            [{'a': 1}, {'a': 2}]
        """
        seen: set[tuple[tuple[str, Any], ...]] = set()
        for values in itertools.product(*(dimension.cells() for dimension in self.dimensions)):
            cell: dict[str, Any] = {}
            for dimension, value in zip(self.dimensions, values, strict=True):
                if dimension.active(cell):
                    cell[dimension.key] = value
            mark = tuple(cell.items())
            if mark not in seen:
                seen.add(mark)
                yield cell
