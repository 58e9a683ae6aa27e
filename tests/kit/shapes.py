"""Shapes in annotations, checked while tests run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jaxtyping
from beartype import BeartypeConf, beartype

from rnnsweep.unit import Unit

CORE = Path(__file__).resolve().parents[2] / "rnnsweep/core"
ANNOTATED = re.compile(r"^from jaxtyping import ", re.MULTILINE)
COMPILED = re.compile(r"^@(?:kernel|part|inlined|njit|intrinsic|triton\.jit)\b", re.MULTILINE)
"""Compilers look at a function's own code: the wrapper that checks would be in their way."""


checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Checks a function; an int is a float, as everywhere in Python."""


def annotated_modules() -> list[str]:
    """Modules of `rnnsweep.core` with shapes in their annotations, but for those with compiled functions."""
    modules = []
    for path in sorted(CORE.rglob("*.py")):
        text = path.read_text()
        if ANNOTATED.search(text) and not COMPILED.search(text):
            modules.append(".".join(("rnnsweep.core", *path.relative_to(CORE).with_suffix("").parts)))
    return modules


def check_shapes() -> None:
    """Have beartype check the annotations of these modules; to be called before any of them is imported."""
    # The one class attribute that jaxtyping looks at: the `__init__` that dataclasses write for units stays as it is,
    # since a unit checks and converts its fields itself (5.0 for a whole number, a `ConfigError` for "5"). Methods, and
    # every other dataclass, are checked.
    Unit.__no_type_check__ = True  # type: ignore[attr-defined]
    jaxtyping.install_import_hook(annotated_modules(), f"{__name__}.checked")


@contextmanager
def unchecked() -> Iterator[None]:
    """Let annotations be for a while: what follows every line of the code would follow the checks too."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
