"""Build a sampler's or pruner's unit from its resolved yaml: `_target_` is the only registry."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from rnnsweep.errors import ConfigError, nearest


def build_unit(spec: Mapping[str, Any], family: str) -> Any:
    """Instantiate the dataclass that `_target_` names with the other keys as its fields.

    Raises:
        ConfigError: no such class, an unknown key, or a value that the unit refuses.
    """
    options = {str(key): value for key, value in spec.items() if key != "_target_"}
    unit = _load(spec.get("_target_"), family)
    known = [field.name for field in dataclasses.fields(unit) if field.init]
    for key in options:
        if key not in known:
            raise ConfigError("unknown key", key=f"{family}.{key}", allowed=known, hint=nearest(key, known))
    try:
        return unit(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error), key=family, value=options, allowed="see the comments in its yaml") from error


def _load(target: Any, family: str) -> Any:
    module, _, name = str(target).rpartition(".")
    try:
        unit = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError("no such unit", key=f"{family}._target_", value=target, allowed="a class's path") from error
    if not dataclasses.is_dataclass(unit):
        raise ConfigError("not a unit", key=f"{family}._target_", value=target, allowed="a frozen dataclass")
    return unit


def require(ok: bool, key: str, value: Any, allowed: str) -> None:
    """Raise `ConfigError` for a yaml value that is out of range."""
    if not ok:
        raise ConfigError("out of range", key=key, value="null" if value is None else value, allowed=allowed)


def whole(value: Any, low: int) -> bool:
    """Whether `value` is a whole number of at least `low`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def number(value: Any, low: float, high: float) -> bool:
    """Whether `value` is a number within both bounds."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
