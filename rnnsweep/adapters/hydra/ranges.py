"""One searched dimension, from any of the forms in which users may write it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep, Sweep

from rnnsweep.adapters.hydra.overrides import parse_override, plain
from rnnsweep.errors import ConfigError, nearest, printable
from rnnsweep.sweep.space import Dimension

GRAMMAR = (
    "default, interval(a,b), tag(log,interval(a,b)), int(interval(a,b)), range(a,b,step) without b, choice(a,b,...), "
    "{low, high, log, step, int, when} or {choices, when}"
)
_RANGE_KEYS = ("low", "high", "log", "step", "int", "choices", "search", "when")


def dimension(key: str, spec: Any, source: str) -> Dimension:
    """A dimension from a text in the override grammar, a mapping, a list of choices, or a parsed range.

    Args:
        key: dotted key of what is searched.
        spec: the form.
        source: file, or "command line", for errors.

    Raises:
        ConfigError: none of the forms, or an impossible range; names source and key.
    """
    try:
        return _dimension(key, spec)
    except ConfigError as error:
        raise ConfigError(
            error.problem, key=f"space.{key}", value=error.value, allowed=error.allowed, hint=error.hint, file=source
        ) from None


def _dimension(key: str, spec: Any) -> Dimension:
    if isinstance(spec, str):
        spec = _parsed(key, spec)
    if isinstance(spec, list):
        return Dimension(key, "categorical", choices=_choices(spec))
    if isinstance(spec, Mapping):
        return _from_mapping(key, spec)
    # the order in which values are tried is the sampler's
    if isinstance(spec, Sweep) and not getattr(spec, "shuffle", False):
        return _from_sweep(key, spec)
    raise _unknown(spec)


def _unknown(spec: Any) -> ConfigError:
    return ConfigError("is no search range", value=str(spec) if isinstance(spec, Sweep) else spec, allowed=GRAMMAR)


def _parsed(key: str, text: str) -> Any:
    try:
        # files and the command line share one grammar
        value = parse_override(f"{key}={text}")._value
    except ConfigError:
        raise _unknown(text) from None
    if not isinstance(value, Sweep):
        raise _unknown(text)
    return value


def _choices(values: list[Any]) -> tuple[Any, ...]:
    values = [float(value) if value in ("inf", "+inf", "-inf") else value for value in values]
    for value in values:
        if not isinstance(value, (str, int, float, bool, type(None))):
            raise ConfigError(
                "a choice holds single values only", value=value, allowed="numbers, words, true, false, null"
            )
        if isinstance(value, str) and printable(value) != value:
            raise ConfigError("holds control characters", value=value, allowed="printable characters")
        if isinstance(value, float) and math.isnan(value):
            raise ConfigError("NaN cannot be searched", value="nan", allowed="numbers, inf, words, true, false, null")
    # By type too: 1, 1.0 and true are equal to Python and three choices to a user.
    return tuple({(type(value), value): value for value in values}.values())


def _from_sweep(key: str, spec: Sweep) -> Dimension:
    log = "log" in spec.tags
    unknown = {str(tag) for tag in spec.tags} - {"log"}
    if unknown:
        raise ConfigError("unknown tag", value=", ".join(sorted(unknown)), allowed="log")
    if isinstance(spec, ChoiceSweep):
        return Dimension(key, "categorical", choices=_choices([plain(item) for item in spec.list]))
    if isinstance(spec, IntervalSweep):
        # Hydra makes floats of an interval's ends; they are ints again only by int(...)
        whole = isinstance(spec.start, int) and isinstance(spec.end, int)
        return _ordered(key, spec.start, spec.end, log=log, whole=whole)
    if isinstance(spec, RangeSweep):
        return _from_range(key, spec, log)
    raise _unknown(spec)


def _from_range(key: str, spec: RangeSweep, log: bool) -> Dimension:
    start, stop, step = spec.start, spec.stop, spec.step
    if start is None or stop is None or step <= 0 or stop <= start:
        raise ConfigError(
            "range is empty", value=str(spec), allowed="range(first, end, step) with first < end; end is left out"
        )
    # the end is left out, as in Python; 2.1 / 0.7 comes out above 3, so that without 1e-9 it would be in
    count = math.ceil((stop - start) / step - 1e-9) - 1
    last = float(Decimal(repr(start)) + count * Decimal(repr(step)))  # 0.4, not 0.4000000000000000002
    whole = all(isinstance(number, int) for number in (start, stop, step))
    return _ordered(key, start, last, log=log, whole=whole, step=step)


def _from_mapping(key: str, spec: Mapping[Any, Any]) -> Dimension:
    for name in spec:
        if name not in _RANGE_KEYS:
            raise ConfigError(
                "unknown key of a range", value=name, allowed=_RANGE_KEYS, hint=nearest(str(name), _RANGE_KEYS)
            )
    dim = _without_condition(key, spec)
    when = spec.get("when") or {}
    if not isinstance(when, Mapping):
        raise ConfigError("a condition maps keys to values", value=when, allowed="when: {family: [lstm]}")
    conditions = {str(k): tuple(v) if isinstance(v, list) else (v,) for k, v in when.items()}
    return Dimension(key, dim.kind, dim.low, dim.high, log=dim.log, step=dim.step, choices=dim.choices, when=conditions)


def _without_condition(key: str, spec: Mapping[Any, Any]) -> Dimension:
    if "search" in spec:
        return _dimension(key, spec["search"])
    if "choices" in spec:
        choices = spec["choices"]
        return Dimension(key, "categorical", choices=_choices(choices if isinstance(choices, list) else [choices]))
    if "low" not in spec or "high" not in spec:
        raise ConfigError("a range needs low and high", value=dict(spec), allowed=GRAMMAR)
    log, whole = (_flag(spec, name) for name in ("log", "int"))
    return _ordered(key, spec["low"], spec["high"], log=log, whole=whole, step=spec.get("step"))


def _flag(spec: Mapping[Any, Any], name: str) -> bool:
    value = spec.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise ConfigError(f"{name} is neither true nor false", value=value, allowed="true, false")


def _ordered(key: str, low: Any, high: Any, *, log: bool, whole: bool, step: Any = None) -> Dimension:
    for number in (low, high, *([] if step is None else [step])):
        # bool is an int in Python
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ConfigError("range bounds must be numbers", value=number, allowed=GRAMMAR)
        if whole and number != int(number):
            raise ConfigError("a range of whole numbers has whole bounds", value=number, allowed="int(interval(1,8))")
    if step is not None and step <= 0:
        raise ConfigError("a step must be positive", value=step, allowed="step > 0")
    if log and step not in (None, 1 if whole else None):
        raise ConfigError("a logarithmic range has no step", value=step, allowed="log or step, not both")
    if whole:
        # a step of 1 is no step: one space has one form, and equal spaces compare equal
        return Dimension(key, "int", int(low), int(high), log=log, step=None if step in (None, 1) else int(step))
    return Dimension(key, "float", float(low), float(high), log=log, step=None if step is None else float(step))
