"""Shapes in annotations, checked while tests run: each function's first calls in each test, and those with new shapes.

A check takes as long as twenty small products, and a test that trains makes the same calls a hundred thousand times.
Where beartype is not installed, as on a machine lent for the GPU's tests, nothing is checked; with CI=true that fails.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

import jaxtyping

from rnnsweep.unit import Unit

CORE = Path(__file__).resolve().parents[2] / "rnnsweep/core"
ANNOTATED = re.compile(r"^from jaxtyping import ", re.MULTILINE)
COMPILED = re.compile(r"^@(?:kernel|part|inlined|njit|intrinsic|triton\.jit)\b", re.MULTILINE)
"""Compilers look at a function's own code: the wrapper that checks would be in their way."""
COUNTED = "sys.getrefcount"
"""Memory that is recycled when nobody refers to it: under wrappers some of it never is, and searches grow long."""


try:
    from beartype import BeartypeConf, beartype
except ModuleNotFoundError:
    if os.environ.get("CI") == "true":
        raise
    checked = None
else:
    checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
    """Checks a function; an int is a float, as everywhere in Python."""


ALIKE, CALLS = 2, 8
"""So many calls of a function are checked in each test; further ones, up to so many, where their shapes are new."""
_calls: Counter[CodeType] = Counter()
"""By code: a function within a function is made anew whenever that one runs."""
_seen: set[tuple[Any, ...]] = set()
"""Functions with the shapes of what they were called with."""
_jaxtyped = jaxtyping.jaxtyped


def forget_calls() -> None:
    """A new test: every function is checked again."""
    _calls.clear()
    _seen.clear()


def _is_new(code: CodeType, values: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Whether this call is to be checked; counts it."""
    calls = _calls[code]
    if calls >= CALLS:
        return False
    _calls[code] = calls + 1
    shapes = (code, *map(_shape, values), *map(_shape, named.values()))
    new = shapes not in _seen
    _seen.add(shapes)
    return new or calls < ALIKE


def _shape(value: Any) -> Any:
    """What two values that pass the same checks have in common."""
    shape = getattr(value, "shape", None)  # this module does not import torch: few tests of others need it
    if isinstance(shape, tuple):
        return shape, getattr(value, "dtype", None)
    if isinstance(value, (tuple, list)):
        return type(value), *map(_shape, value)
    if isinstance(value, dict):
        return tuple((key, _shape(one)) for key, one in value.items())
    return type(value)


def _jaxtyped_at_first(*, typechecker: Any) -> Callable[[Any], Any]:
    """`jaxtyping.jaxtyped`, but what it wraps is left alone after its first `CALLS` calls."""
    decorate = _jaxtyped(typechecker=typechecker)

    def decorated(what: Any) -> Any:
        if inspect.isfunction(what):
            return _at_first(what, lambda: decorate(what))
        plain = what.__init__
        kind = decorate(what)
        if kind.__init__ is not plain:
            checks = kind.__init__
            kind.__init__ = _at_first(plain, lambda: checks)
        return kind

    return decorated


def _at_first(plain: Callable[..., Any], make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """The function with its checks at first; they are put together at the first call, which takes a while."""
    code = plain.__code__
    with_checks: list[Callable[..., Any]] = []

    @functools.wraps(plain)
    def either(*args: Any, **kwargs: Any) -> Any:
        # exporters follow this line too, and may not write into what lies outside
        if jaxtyping.config.jaxtyping_disable or not _is_new(code, args, kwargs):
            return plain(*args, **kwargs)
        if not with_checks:
            with_checks.append(make())
        return with_checks[0](*args, **kwargs)

    return either


def annotated_modules() -> list[str]:
    """Modules of `rnnsweep.core` with shapes in their annotations, but for those that wrappers would disturb."""
    modules = []
    for path in sorted(CORE.rglob("*.py")):
        text = path.read_text()
        if ANNOTATED.search(text) and not COMPILED.search(text) and COUNTED not in text:
            modules.append(".".join(("rnnsweep.core", *path.relative_to(CORE).with_suffix("").parts)))
    return modules


def check_shapes() -> None:
    """Have beartype check the annotations of these modules; to be called before any of them is imported."""
    if checked is None:
        return
    # The one class attribute that jaxtyping looks at: the `__init__` that dataclasses write for units stays as it is,
    # since a unit checks and converts its fields itself (5.0 for a whole number, a `ConfigError` for "5"). Methods, and
    # every other dataclass, are checked.
    Unit.__no_type_check__ = True  # type: ignore[attr-defined]
    jaxtyping.jaxtyped = _jaxtyped_at_first  # the name that the hook writes above functions
    jaxtyping.install_import_hook(annotated_modules(), f"{__name__}.checked")


@contextmanager
def unchecked() -> Iterator[None]:
    """Let annotations be for a while: what follows every line of the code would follow the checks too."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
