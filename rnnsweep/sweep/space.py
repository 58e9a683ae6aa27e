"""The search space: dimensions keyed by dotted config keys, with optional conditions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

from rnnsweep.errors import ConfigError, nearest


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

    def words(self) -> str:
        """The allowed values in words, for error messages."""
        if self.kind == "categorical":
            return ", ".join(map(str, self.choices))
        kind = "a whole number" if self.kind == "int" else "a number"
        steps = "" if self.step in (None, 1) else f", in steps of {self.step:g}"
        return f"{kind} from {self.low:g} to {self.high:g}{steps}"

    def fitting(self, value: Any) -> Any:
        """The value with the Python type that this dimension gives; a wrong one is no value of the dimension.

        Raises:
            ConfigError: a value that the dimension does not have.

        Example:
            >>> Dimension("family.hidden", "int", 16, 64).fitting(32.0)
            32
        """
        if self.kind == "categorical":
            fitting = [choice for choice in self.choices if _same(choice, value)]
            if fitting:
                return fitting[0]
        # bool is an int in Python; true is no number here
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            assert self.low is not None and self.high is not None
            whole = self.kind != "int" or value == int(value)
            if self.low <= value <= self.high and whole and self._on_grid(value):
                return int(value) if self.kind == "int" else float(value)
        # as YAML writes them; NaN is the one value unequal to itself
        yaml_value = "null" if value is None else "nan" if value != value else value
        raise ConfigError("is no value of what is searched", key=self.key, value=yaml_value, allowed=self.words())

    def _on_grid(self, value: float) -> bool:
        if self.step is None or self.low is None:
            return True
        index = (value - self.low) / self.step
        # relative: far from `low` the division alone is off by more than a fixed tolerance
        return abs(index - round(index)) <= 1e-8 * max(1.0, abs(index))

    def plain(self) -> dict[str, Any]:
        """Its fields that are set, without the key, as plain data: `of_plain` reads them again."""
        fields: dict[str, Any] = {"kind": self.kind}
        if self.kind == "categorical":
            fields["choices"] = list(self.choices)
        else:
            fields |= {"low": self.low, "high": self.high, "log": self.log, "step": self.step}
        if self.when:
            fields["when"] = {key: list(values) for key, values in self.when.items()}
        return fields

    @staticmethod
    def of_plain(key: str, fields: Mapping[str, Any]) -> Dimension:
        """The inverse of `plain`.

        Example:
            >>> Dimension.of_plain("a", Dimension("a", "int", 1, 8).plain()) == Dimension("a", "int", 1, 8)
            True
        """
        known = dict(fields)
        choices = tuple(known.pop("choices", ()))
        when = {name: tuple(values) for name, values in known.pop("when", {}).items()}
        return Dimension(key, **known, choices=choices, when=when)

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
        return tuple(self.cell(index) for index in range(self.count()))

    def count(self) -> int:
        """How many cells there are, without making any: a step may be tiny beside its range.

        Raises:
            ConfigError: a continuous range without step has no grid.

        Example:
            >>> Dimension("a", "int", 1, 10**12).count()
            1000000000000
        """
        if self.kind == "categorical":
            return len(self.choices)
        # a logarithmic range of whole numbers has no even grid of step 1 that a user could mean
        step = self.step if self.step is not None else (1 if self.kind == "int" and not self.log else None)
        if step is None:
            raise ConfigError(
                "a grid needs choices or a stepped range", key=f"space.{self.key}", allowed="choice(...) or range(...)"
            )
        assert self.low is not None and self.high is not None
        # 0.7 / 0.1 comes out just below 7: the upper end belongs to the grid
        return int(math.floor((self.high - self.low) / step + 1e-9)) + 1

    def cell(self, index: int) -> float:
        """Value number `index` of a stepped range, counted from its lower end, as one would write it.

        Example:
            >>> Dimension("a", "float", 0.0, 1.0, step=0.1).cell(3)
            0.3
        """
        step = Decimal(repr(1 if self.step is None else self.step))  # in decimals, as it was written
        value = Decimal(repr(self.low)) + index * step
        return round(value) if self.kind == "int" else float(value)


def fixed(key: str, value: Any, when: Mapping[str, tuple[Any, ...]] | None = None) -> Dimension:
    """A key that is not searched, as a dimension of one value."""
    return Dimension(key, "categorical", choices=(value,), when=dict(when or {}))


def completed(dimensions: Iterable[Dimension], params: Mapping[str, Any]) -> dict[str, Any]:
    """The params, and the values of fixed keys that they leave out, as far as those exist beside them.

    Example:
        >>> completed([fixed("b", 2, {"a": (1,)}), fixed("c", 3)], {"a": 1, "c": 9})
        {'a': 1, 'c': 9, 'b': 2}
    """
    whole = dict(params)
    for dimension in dimensions:
        if dimension.key not in whole and dimension.active(whole):
            whole[dimension.key] = dimension.choices[0]
    return whole


def _same(choice: Any, value: Any) -> bool:
    """Whether a value means a choice: 1 and 1.0 are one number, but true is none."""
    return choice == value and isinstance(choice, bool) == isinstance(value, bool)


def parents_first(
    dimensions: Iterable[Dimension], source: Callable[[str], str | None] = lambda key: None
) -> list[Dimension]:
    """Every dimension behind those that its conditions name; otherwise in the order given.

    A sampler goes through dimensions in order and must know the parents' values when it comes to a child; the order
    besides is what the grid's numbering depends on.

    Args:
        dimensions: conditions on keys that are not among them ask for nothing.
        source: the file that a key's range stands in, for the error.

    Raises:
        ConfigError: conditions run in a circle.

    Example:
        >>> a = Dimension("a", "categorical", choices=(1, 2), when={"b": (1,)})
        >>> [d.key for d in parents_first([a, Dimension("b", "categorical", choices=(1, 2))])]
        ['b', 'a']
    """
    ordered: list[Dimension] = []
    waiting = list(dimensions)
    known = {dimension.key for dimension in waiting}
    while waiting:
        done = {dimension.key for dimension in ordered}
        ready = next((d for d in waiting if all(key in done or key not in known for key in d.when)), None)
        if ready is None:
            key = waiting[0].key
            raise ConfigError("conditions run in a circle", key=f"space.{key}.when", file=source(key))
        waiting.remove(ready)
        ordered.append(ready)
    return ordered


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

    def fitting(self, point: Any, key: str) -> dict[str, Any]:
        """A known point, to be tried: every value as its dimension has it. Keys that it leaves open are drawn.

        Args:
            point: dotted key -> value.
            key: what errors call it.

        Raises:
            ConfigError: no mapping, a key that is not searched or does not exist beside the others, a value that the
                dimension does not have.
        """
        if not isinstance(point, Mapping):
            raise ConfigError("is no point", key=key, value=point, allowed="{dotted key: value}")
        given = cast("Mapping[object, Any]", point)
        known = {dimension.key: dimension for dimension in self.dimensions}
        fitting: dict[str, Any] = {}
        for name, value in given.items():
            if not isinstance(name, str) or name not in known:
                hint = nearest(str(name), known)
                problem = "names a key that is not searched"
                raise ConfigError(problem, key=key, value=name, allowed=self.keys or "none", hint=hint)
            try:
                fitting[name] = known[name].fitting(value)
            except ConfigError as error:
                raise ConfigError(
                    error.problem, key=f"{key}.{name}", value=error.value, allowed=error.allowed
                ) from None
        for name in fitting:
            if not known[name].active(fitting):
                needed = "; ".join(f"{k} = {' or '.join(map(str, v))}" for k, v in known[name].when.items())
                raise ConfigError("does not exist in this point", key=f"{key}.{name}", allowed=f"beside {needed}")
        return fitting

    def size(self, most: int = 4096) -> int | None:
        """How many points there are; None for a space that is continuous somewhere or has more than `most`.

        Example:
            >>> [Space(some).size() for some in ((), (Dimension("a", "int", 1, 3),), (Dimension("a", "float", 0, 1),))]
            [1, 3, None]
        """
        try:
            # conditions only make it smaller: an upper bound, at no cost
            product = math.prod(dimension.count() for dimension in self.dimensions)
        except ConfigError:
            return None
        return sum(1 for _ in self.grid()) if product <= most else None

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
                # a dimension that its condition switches off is left out, so that several combinations are one cell
                if dimension.active(cell):
                    cell[dimension.key] = value
            mark = tuple(cell.items())
            if mark not in seen:
                seen.add(mark)
                yield cell
