"""The units of a package, found by themselves, so that a new one keeps the promises of its kind or fails."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any


def concrete(package: ModuleType, base: type) -> list[Any]:
    """Classes of the package's modules that are units of the kind `base` and leave nothing abstract, by name."""
    found = []
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        own = [unit for unit in vars(module).values() if inspect.isclass(unit) and unit.__module__ == module.__name__]
        found += [unit for unit in own if issubclass(unit, base) and not _abstract(unit)]
    return sorted(found, key=lambda unit: unit.__name__)


def _abstract(unit: type) -> bool:
    return any(getattr(getattr(unit, name, None), "__isabstractmethod__", False) for name in dir(unit))


def instances(unit: Any) -> Iterator[Any]:
    """The default, and every other choice of each structural field that has choices."""
    yield unit()
    for name, allowed in unit.fixed.items():
        if isinstance(allowed, tuple):
            yield from (unit(**{name: value}) for value in allowed if value != getattr(unit(), name))
