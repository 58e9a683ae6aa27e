"""From a unit's block of a config to the unit: one loader, with one set of checks, for every group.

A unit's ``_target_`` is the only registry. The class that it names may be the user's, and so may be what goes wrong on
the way: whatever such code raises becomes one `ConfigError` with file and line, the original error being its cause.
"""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rnnsweep.errors import ConfigError, RnnsweepError, nearest
from rnnsweep.unit import Unit

SCORES = "sklearn.metrics"
"""Module of scikit-learn's scores."""
NAME = "_name_"
"""Key of a block that holds the unit's name, where whoever hands the block over knows it."""
META = ("_target_", "_search_", "_units_", "defaults", NAME)
"""Keys of a block that are no fields of the unit."""

_WRAPPED = {"family": ("rnnsweep.core.families.own", "family_of")}
"""Groups that also take other code than units -> what makes a unit of it. By name: the loader knows no torch."""

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
# whole folders: which packages are installed there does not matter
_LIBRARIES = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})

AnyUnit = TypeVar("AnyUnit", bound=Unit)


_refused: dict[str, str] = {}
"""Targets that are not imported -> why; see `refuse`."""


def foreign_targets(config: Any) -> list[str]:
    """What a nested config names as code (every `_target_`) that is not ours, in order.

    Example:
        >>> foreign_targets([{"_target_": "mine.Clip"}, {"a": {"_target_": "rnnsweep.core.inits.normal.Normal"}}])
        ['mine.Clip']
    """
    if isinstance(config, list | tuple):
        return list(dict.fromkeys(target for item in config for target in foreign_targets(item)))
    if not isinstance(config, Mapping):
        return []
    own = [str(config["_target_"])] if "_target_" in config else []
    inside = [target for item in config.values() for target in foreign_targets(item)]
    return [target for target in dict.fromkeys([*own, *inside]) if not _known(target)]


def _known(target: str) -> bool:
    """Whether a target is ours, or one of scikit-learn's scores: they compute, and touch nothing."""
    return target.startswith("rnnsweep.") or target.rpartition(".")[0] == SCORES


def refuse(config: Any, reason: str) -> None:
    """Import none of a config's foreign targets in this process, unless their modules are imported already.

    Args:
        config: see `foreign_targets`.
        reason: for the error's line; empty takes it back.
    """
    for target in foreign_targets(config) if reason or _refused else ():
        if reason:
            _refused[target] = reason
        else:
            _refused.pop(target, None)


def load_code(target: Any, key: str) -> Any:
    """What a `_target_` names, whatever it is.

    Raises:
        ConfigError: it cannot be imported, or must not be (`refuse`).
    """
    module, _, name = str(target).rpartition(".")
    if not module:
        raise ConfigError("cannot be imported", key=f"{key}._target_", value=target, allowed="package.module.Class")
    if str(target) in _refused and module not in sys.modules:
        hint = _refused[str(target)]
        raise ConfigError("is code that is not imported", key=f"{key}._target_", value=target, hint=hint)
    try:
        return getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:  # a module that calls sys.exit must not end a launch without a word
        raise fault(error, "cannot be imported", f"{key}._target_", target, module) from error


def load_class(target: Any, key: str) -> type[Unit]:
    """The class that a `_target_` names.

    Raises:
        ConfigError: see `load_code`; or it is no unit.
    """
    loaded = load_code(target, key)
    if not (isinstance(loaded, type) and issubclass(loaded, Unit)):
        loaded = _wrapped(loaded, key)
    if loaded is None:
        allowed = "a subclass of rnnsweep.unit.Unit"
        if key.partition(".")[0] in _WRAPPED:
            allowed += ", a torch.nn.Module or a step function"
        raise ConfigError("is no unit", key=f"{key}._target_", value=target, allowed=allowed)
    return loaded


def _wrapped(loaded: Any, key: str) -> Any:
    """A unit's class made of other code, where its group takes such; else None."""
    group = key.partition(".")[0]
    if group not in _WRAPPED:
        return None
    module, name = _WRAPPED[group]
    return getattr(importlib.import_module(module), name)(loaded)


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
    # lists become tuples: units are hashed, as keys of caches
    values = {name: _frozen(value) for name, value in block.items() if name not in META}
    for name in values:
        if name not in known:
            raise ConfigError("unknown key", key=f"{key}.{name}", allowed=known, hint=nearest(str(name), known))
    name = block.get(NAME) or ("." in key and key.rpartition(".")[2]) or ""
    try:
        return unit(**values, unit_name=name)
    except RnnsweepError:
        raise
    except Exception as error:
        raise fault(error, "cannot be made", key, values, unit.__module__) from error


@contextmanager
def user_code(*units: Unit) -> Iterator[None]:
    """Report what the code of one of these units raises while a config is checked: as `build_unit` does.

    What our own code raises is a bug of ours, and goes on as it is.
    """
    try:
        yield
    except RnnsweepError:
        raise
    except Exception as error:
        unit = _culprit(error, units)
        if unit is None:
            raise
        raise fault(error, "failed a check", unit.unit_key, unit.unit_name, type(unit).__module__) from error


def _culprit(error: Exception, units: Sequence[Unit]) -> Unit | None:
    """The unit that is not ours and whose module took part, the innermost one."""
    modules = {getattr(sys.modules.get(type(unit).__module__), "__file__", None): unit for unit in units}
    for frame in reversed(_frames(error)):
        unit = modules.get(frame.filename)
        if unit is not None and not _is_ours(frame.filename):
            return unit
    return None


def fault(error: BaseException, problem: str, key: str, value: Any, module: str) -> ConfigError:
    """The one line for what went wrong in a module of the user's; names file and line where they are not ours."""
    place = _place(error, module)
    cause = _one_line(error) if place is None else f"{type(error).__name__}: {_one_line(error)}"
    return ConfigError(f"{problem} ({cause})", key=key, value=value, file=place)


def _one_line(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)  # str(SyntaxError) repeats its place
    return next(iter(text.splitlines()), "") or type(error).__name__


def _place(error: BaseException, module: str) -> str | None:
    """``file:line`` of the user's code that is to blame, or None where only ours and libraries took part.

    The innermost line of the user's own: a wrong argument is noticed deep inside a library, but was written there. A
    unit that is installed as a library among others is known by its module alone.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    foreign = [frame for frame in _frames(error) if not _is_ours(frame.filename)]
    own = [frame for frame in foreign if not os.path.abspath(frame.filename).startswith(_LIBRARIES)]
    if not own and not module.startswith("rnnsweep."):
        own = foreign
    return f"{own[-1].filename}:{own[-1].lineno}" if own else None


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Where it came through, outermost first; without what has no file (generated code, the import machinery)."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if os.path.isfile(frame.filename)]


def _is_ours(file: str) -> bool:
    return os.path.abspath(file).startswith(_OURS)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
