"""What every exchangeable unit declares, so that configs, docs and contract suites can read it.

Families, tasks, inits, learners, optimizers, controllers, read-outs, samplers, pruners and schedulers are units;
`loader` makes them of their yaml. A unit is a frozen dataclass. Its fields are its yaml keys. Fields named in `rows`
are *per-row*: they are searched without changing the tensor program, and reach the unit as tensors [P]; the field's own
value is only the default. All other fields are structural: they are part of the shape key. A unit checks itself in
`__post_init__` by `check`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, ClassVar

from rnnsweep.errors import ConfigError, nearest


@dataclass(frozen=True)
class Range:
    """Allowed numbers of a field.

    Attributes:
        low, high: bounds; `open_low`, `open_high` exclude them.
        integer: only whole numbers.
        optional: None is allowed too.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    integer: bool = False
    optional: bool = False

    def accepts(self, value: Any) -> bool:
        """Whether the value is a number in range (NaN never is; inf is where it equals a closed bound).

        Example:
            >>> Range(0, open_low=True).accepts(math.inf), Range(0, open_low=True).accepts(0)
            (True, False)
        """
        if value is None:
            return self.optional
        # bool is an int in Python, but true is no number in a config
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
            return False
        if self.integer and isinstance(value, float) and not value.is_integer():
            return False
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def words(self) -> str:
        """The range in words, for error messages."""
        kind = "a whole number" if self.integer else "a number"
        parts: list[str] = []
        if self.low > -math.inf or self.open_low:
            parts.append(f"{'>' if self.open_low else '>='} {_digits(self.low)}")
        if self.high < math.inf or self.open_high:
            parts.append(f"{'<' if self.open_high else '<='} {_digits(self.high)}")
        text = " ".join([kind, " and ".join(parts)]).strip()
        return f"{text}, or null" if self.optional else text


def _digits(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


ANY = Range()
POSITIVE = Range(0, open_low=True)
NOT_NEGATIVE = Range(0)
SHARE = Range(0, 1)


@dataclass(frozen=True)
class Metric:
    """What the words about a metric are.

    Attributes:
        meaning: one line that says what is measured, and in which unit.
        label: words for an axis; empty: the key stands for itself.
        drawn: whether reports draw its course over the updates.
        by_layer: whether a network of several layers reports it of single ones too, as ``key.1``, ``key.2``, ...
    """

    meaning: str
    label: str = ""
    drawn: bool = False
    by_layer: bool = False


@dataclass(frozen=True)
class Unit:
    """Base of all units.

    Attributes:
        rows: per-row hyperparameters and their ranges.
        fixed: structural fields: a `Range`, or the tuple of allowed values.
        metrics: what it reports beside the metrics that every row has: key -> words. The key is ``topic/quantity``; how
            it is measured is up to the group (`Tally` for controllers, `Task.measure`, `Family.counted`).
        asks_host: whether its part of an update reads numbers on the host, or changes what Python remembers: such
            updates are called each time, and neither a device's graph nor the host's (`core.host_graph`) repeats them.
        unit_group: the group that it belongs to, which is the folder of its yaml and its key in a config.
        unit_name: the name of its yaml, by which it is chosen and spoken of. The loader sets it; a unit that Python
            code makes directly goes by its class's name. It is no part of what the unit is: equality and shape keys
            leave it out.
    """

    rows: ClassVar[Mapping[str, Range]] = {}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {}
    metrics: ClassVar[Mapping[str, Metric]] = {}
    asks_host: ClassVar[bool] = False
    unit_group: ClassVar[str] = ""

    unit_name: str = field(default="", kw_only=True, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.unit_name:
            object.__setattr__(self, "unit_name", type(self).__name__)  # the only way to set a field of a frozen class
        self._take_declared_types()  # before the check: that of a subclass may count with a number, or slice by it
        self.check()

    def _take_declared_types(self) -> None:
        ranges = {**self.rows, **self.fixed}
        for name, allowed in ((name, ranges[name]) for name in self.fields() if name in ranges):
            value = getattr(self, name)
            if is_allowed(value, allowed) and (declared := as_declared(value, allowed)) is not value:
                object.__setattr__(self, name, declared)  # a compiled kernel would take a float's bits for a size

    @property
    def unit_key(self) -> str:
        """Where it stands in a config: ``family``, or ``controllers.clip`` in a group that takes several."""
        return self.unit_group

    def check(self) -> None:
        """Raise `ConfigError` for the first field that is out of range; its key begins with `unit_key`."""
        for name, allowed in {**self.rows, **self.fixed}.items():
            check_field(f"{self.unit_key}.{name}" if self.unit_key else name, getattr(self, name), allowed)

    @classmethod
    def declares(cls, values: Mapping[str, Any]) -> Mapping[str, Metric]:
        """Metrics of a unit with these values of its keys: `metrics`, and what a value of some key adds to them."""
        del values
        return cls.metrics

    def row_values(self) -> dict[str, float]:
        """Values of the per-row hyperparameters, by the names in `rows`."""
        return {name: float(attrgetter(name)(self)) for name in self.rows}

    @property
    def nested(self) -> Mapping[str, Unit]:
        """Units of the same group within it, by the key of their blocks; their keys are ``key.name`` in `rows`."""
        return {}

    def unread(self) -> Mapping[str, str]:
        """Keys that change nothing beside the unit's other values: key -> what makes it so, such as "momentum=0".

        A config that sets or searches one is warned before training. Say only what is certain.
        """
        return {}

    def identity(self) -> dict[str, Any]:
        """`structure`, with what unit it is of."""
        return {"unit": f"{type(self).__module__}.{type(self).__qualname__}", **self.structure()}

    def structure(self) -> dict[str, Any]:
        """What of this unit is part of the shape key: its structural fields (and flags that a subclass adds)."""
        return {name: getattr(self, name) for name in self.fields() if name not in self.rows}

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names of all yaml keys of the unit."""
        # the name is how a unit is called, not what it is
        return tuple(item.name for item in dataclasses.fields(cls) if item.init and item.name != "unit_name")


def is_allowed(value: Any, allowed: Range | tuple[Any, ...]) -> bool:
    """Whether the value is in the range, or one of those listed."""
    return allowed.accepts(value) if isinstance(allowed, Range) else value in allowed


def check_field(key: str, value: Any, allowed: Range | tuple[Any, ...]) -> None:
    """Raise `ConfigError` unless the value is allowed."""
    if is_allowed(value, allowed):
        return
    if isinstance(allowed, Range):
        raise ConfigError("out of range", key=key, value=_shown(value), allowed=allowed.words())
    raise ConfigError(
        "unknown value", key=key, value=_shown(value), allowed=allowed, hint=nearest(str(value), map(str, allowed))
    )


def as_declared(value: Any, allowed: Range | tuple[Any, ...]) -> Any:
    """A checked value with the Python type that the declaration means: 50.0 is an int where numbers are whole.

    Example:
        >>> as_declared(50.0, Range(1, integer=True)), as_declared(50.0, Range(1)), as_declared(5.0, (1, 5))
        (50, 50.0, 5)
    """
    if isinstance(allowed, Range):
        return int(value) if allowed.integer and isinstance(value, float) else value
    # the declared item itself: 5.0 from a file becomes 5
    return next((item for item in allowed if item == value), value)


def _shown(value: Any) -> Any:
    return "null" if value is None else value
