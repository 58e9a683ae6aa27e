"""From a unit's block of a config to the unit: one loader, with one set of checks, for every group.

A unit's ``_target_`` is the only registry. The class that it names may be the user's, and so may be what goes wrong on
the way: whatever such code raises becomes one `ConfigError` with file and line, the original error being its cause.
"""

from __future__ import annotations

import importlib
import os
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from rnnsweep.errors import ConfigError, RnnsweepError, nearest
from rnnsweep.unit import Unit

NAME = "_name_"
"""Key of a block that holds the unit's name, where whoever hands the block over knows it."""
META = ("_target_", "_search_", NAME)
"""Keys of a block that are no fields of the unit."""

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LIBRARIES = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})

AnyUnit = TypeVar("AnyUnit", bound=Unit)


def load_class(target: Any, key: str) -> type[Unit]:
    """The class that a `_target_` names.

    Raises:
        ConfigError: it cannot be imported, or is no unit.
    """
    module, _, name = str(target).rpartition(".")
    if not module:
        raise ConfigError("cannot be imported", key=f"{key}._target_", value=target, allowed="package.module.Class")
    with _reported(f"{key}._target_", target, "cannot be imported", allowed="package.module.Class"):
        loaded = getattr(importlib.import_module(module), name)
    if not (isinstance(loaded, type) and issubclass(loaded, Unit)):
        raise ConfigError("is no unit", key=f"{key}._target_", value=target, allowed="a subclass of rnnsweep.unit.Unit")
    return loaded


def build_unit(block: Any, key: str, kind: type[AnyUnit]) -> AnyUnit:
    """One unit of its config block; it gets the block's `_name_`, or else the last part of a dotted key, as its name.

    Args:
        block: ``_target_`` and values of the fields, perhaps also `_search_` and `_name_`.
        key: where the block stands: ``family``, ``controllers.clip``.
        kind: base class of the group.

    Raises:
        ConfigError: no `_target_`, unknown or missing keys, wrong types, values out of range, code that fails.
    """
    if not isinstance(block, Mapping) or "_target_" not in block:
        raise ConfigError("names no unit", key=key, value=block, allowed="a unit's block with a _target_")
    unit = load_class(block["_target_"], key)
    if not issubclass(unit, kind):
        problem, allowed = f"is no unit of the group {kind.unit_group}", f"a subclass of {kind.__name__}"
        raise ConfigError(problem, key=f"{key}._target_", value=block["_target_"], allowed=allowed)
    known = unit.fields()
    values = {name: _frozen(value) for name, value in block.items() if name not in META}
    for name in values:
        if name not in known:
            raise ConfigError("unknown key", key=f"{key}.{name}", allowed=known, hint=nearest(str(name), known))
    name = block.get(NAME) or ("." in key and key.rpartition(".")[2]) or ""
    with _reported(key, values, "cannot be made"):
        return unit(**values, unit_name=name)


@contextmanager
def user_code(unit: Unit) -> Iterator[None]:
    """Report what a unit's own code raises while a config is checked: as `build_unit` does."""
    with _reported(unit.unit_key, unit.unit_name, "failed a check"):
        yield


@contextmanager
def _reported(key: str, value: Any, problem: str, allowed: str | None = None) -> Iterator[None]:
    try:
        yield
    except RnnsweepError:
        raise
    except (Exception, SystemExit) as error:  # a module that calls sys.exit must not end a launch without a word
        where = _place(error)
        cause = _one_line(error) if where is None else f"{type(error).__name__}: {_one_line(error)}"
        raise ConfigError(f"{problem} ({cause})", key=key, value=value, allowed=allowed, file=where) from error


def _one_line(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)  # the text of a SyntaxError repeats its place
    return next(iter(text.splitlines()), "") or type(error).__name__


def _place(error: BaseException) -> str | None:
    """``file:line`` of the user's code that is to blame, or None where only ours and libraries took part.

    The innermost line of the user's own: a wrong argument is noticed deep inside a library, but was written there.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = os.path.abspath(frame.filename)
        if os.path.isfile(file) and not file.startswith((_OURS, *_LIBRARIES)):
            return f"{file}:{frame.lineno}"
    return None


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
