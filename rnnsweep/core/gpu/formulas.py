"""Kernels compiled from formulas of single entries (`core.optimizers.base`).

Triton compiles a function's source, with the names that its module has. A formula is therefore given another module's
names: those of `core.optimizers.base`, as a kernel means them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from types import FunctionType
from typing import Any

import triton
import triton.language as tl

from rnnsweep.core.gpu.launching import ratio, root


@triton.jit
def _plus(fresh, x):
    return fresh + x


@triton.jit
def _where(condition, x, y):
    return tl.where(condition, x, y)


@triton.jit
def _correction(beta, taken):
    """As `optimizers.base.correction`; float64 as there."""
    base = tl.maximum(beta.to(tl.float64), 1e-300)
    return (1 - tl.exp((taken.to(tl.float64) + 1) * tl.log(base))).to(beta.dtype)


_NAMES = {"tl": tl, "root": root, "ratio": ratio, "where": _where, "plus": _plus, "correction": _correction}


def compiled(function: Callable[..., Any], names: Mapping[str, Any]) -> Any:
    """A plain function as one of Triton's, where these names mean something else than in its module."""
    # what checks shapes in tests wraps functions: a compiler wants the one within
    plain: Any = inspect.unwrap(function)
    own = FunctionType(plain.__code__, {**plain.__globals__, **names}, plain.__name__, plain.__defaults__)
    own.__module__, own.__qualname__ = plain.__module__, plain.__qualname__
    # they say which arguments are known when it is compiled
    own.__annotations__ = plain.__annotations__
    return triton.jit(own)


@cache
def kernel_of(kernel: Callable[..., Any], part: Callable[..., Any], step: Callable[..., Any]) -> Any:
    """A kernel whose `part` calls a formula's step `formula`; made once for each."""
    return compiled(kernel, {part.__name__: compiled(part, {"formula": compiled(step, _NAMES)})})
