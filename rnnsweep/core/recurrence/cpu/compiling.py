"""Numba with an on-disk cache that can neither be stale, nor torn, nor in the way.

The cache lies below `NUMBA_CACHE_DIR` if the user sets it, else below the user's cache directory (XDG_CACHE_HOME,
~/.cache), else below the system's temporary directory, in a folder named after a checksum of this package's sources:
an upgrade or an edit never meets old code. Numba itself keys by CPU type and features, and writes by temporary name and
rename, so that workers that start at once do not disturb each other. Without any writable place kernels compile
in each process.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
from numba.core import compiler, config, event, ir
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import register_jitable

from rnnsweep import user_cache


def cache_folder() -> Path | None:
    """A writable folder for compiled kernels, or None."""
    # Numba's own place, beside the sources, may not be writable; and it would not notice that a piece which a kernel
    # takes from another file has changed.
    return user_cache.cache_folder(f"cpu-engine-{_sources_checksum()}", os.environ.get("NUMBA_CACHE_DIR"))


def sources() -> list[Path]:
    """The files that compiled code is made of: all of this package but `engine`, plain Python around the kernels.

    And the cells' formulas beside it, which tensors have too; and the passes of `core.cpu`.
    """
    package = Path(__file__).parent
    own = sorted(path for path in package.rglob("*.py") if path.relative_to(package).parts[0] != "engine")
    own += sorted((package.parents[1] / "cpu").glob("*.py"))
    return [*own, *(package.parent / f"{name}_formulas.py" for name in ("block", "gated", "known", "step"))]


def _sources_checksum() -> str:
    total = hashlib.sha256(os.environ.get("RNNSWEEP_VECTOR_BYTES", "").encode())
    for path in sources():
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


@contextmanager
def _scopes_uncopied() -> Iterator[None]:
    """Statements that numba copies keep their scope meanwhile.

    To put a piece into its caller it copies the piece's blocks twice, one by one, and with each block all variables of
    the whole piece: hundreds of blocks times thousands of variables took 10 s of the 24 s that an LSTM's loops need to
    compile. All blocks of a piece have one scope before, and every piece is read anew wherever it is put.
    """
    with global_compiler_lock:  # nobody else's code is compiled meanwhile
        ir.Scope.__deepcopy__ = lambda scope, memo: scope  # type: ignore[attr-defined]
        try:
            yield
        finally:
            del ir.Scope.__deepcopy__  # type: ignore[attr-defined]


class _Compiler(compiler.Compiler):
    """Numba's own compiler, which makes the same code in less time."""

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        with _scopes_uncopied():
            return super().compile_extra(func)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel on first use, once per element type, without the interpreter lock; cached on disk.

    Numerics:
        IEEE arithmetic, no fast-math; division by zero gives inf or NaN, as torch does.
    """
    # numba's own error model raises where it divides by zero
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "pipeline_class": _Compiler}
    folder = cache_folder()
    if folder is None:
        return numba.njit(**options)(function)
    before = config.CACHE_DIR  # type: ignore[attr-defined]
    config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # numba reads it when it decorates
    try:
        return numba.njit(cache=True, **options)(function)
    finally:
        config.CACHE_DIR = before  # type: ignore[attr-defined]


class CompileWatch(event.Listener):
    """Tells when this process begins to compile a kernel and when it has ended; loading one from the cache is neither.

    `tell` is called with True and with False by turns, in the thread that compiles.

    Attributes:
        tell: who is told.
    """

    def __init__(self, tell: Callable[[bool], None]) -> None:
        self.tell, self._depth = tell, 0
        event.register("numba:compile", self)

    def on_start(self, event: event.Event) -> None:
        """A kernel begins, or one of its parts: numba holds its lock meanwhile, so that none runs beside it."""
        del event
        self._depth += 1
        if self._depth == 1:
            self.tell(True)

    def on_end(self, event: event.Event) -> None:
        """It has ended, also where it could not be compiled."""
        del event
        self._depth -= 1
        if self._depth == 0:
            self.tell(False)

    def end(self) -> None:
        """Tell nothing any more."""
        event.unregister("numba:compile", self)


def part(function: Callable[..., Any]) -> Any:
    """Compile a piece that kernels call as a function of its own; it lives in its callers' cache entries."""
    return numba.njit(nogil=True, error_model="numpy")(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a piece into its callers: cheaper than `part` for what is called once or is very short."""
    return numba.njit(nogil=True, error_model="numpy", inline="always")(function)


def memory_map(function: Callable[..., Any]) -> Any:
    """A function that lays out a kernel's scratch memory: plain Python for who allocates it, compiled in the kernel.

    One formula says how long the memory is and where each block of it lies, so that the two cannot disagree.
    """
    return register_jitable(function)
