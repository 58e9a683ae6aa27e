"""Kernels compiled from formulas of single entries (`core.optimizers.base`), as `core.gpu.formulas` has them for a GPU.

Numba compiles a function with the names that its module has. A formula is given those of `core.optimizers.base` as a
kernel means them, and its whole numbers and fractions as numbers of the entries' type.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Mapping
from functools import cache
from types import FunctionType
from typing import Any

from rnnsweep.core.cpu import numbers
from rnnsweep.core.recurrence.cpu.compiling import kernel, part

_NAMES = {
    "root": numbers.root,
    "ratio": numbers.ratio,
    "where": numbers.where,
    "plus": numbers.plus,
    "correction": numbers.correction,
    "number": numbers.number,
}


class _Typed(ast.NodeTransformer):
    """Writes `number(1, gradient)` for 1, where `gradient` is the first argument."""

    def __init__(self, like: str) -> None:
        self.like = like

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """Places of a tuple stay whole numbers."""
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """A number; docstrings stay."""
        if type(node.value) not in (int, float):
            return node
        like = [node, ast.Name(self.like, ast.Load())]
        return ast.copy_location(ast.Call(ast.Name("number", ast.Load()), like, []), node)


def _compiled_formula(step: Callable[..., Any]) -> tuple[Any, str]:
    """A formula's step as a piece of kernels, and what tells it from others."""
    # what checks shapes in tests wraps functions: a compiler wants the one within
    plain = inspect.unwrap(step)
    source = textwrap.dedent(inspect.getsource(plain))
    tree = ast.parse(source)
    (function,) = tree.body
    assert isinstance(function, ast.FunctionDef)  # see `StepFormula`
    tree = ast.fix_missing_locations(_Typed(function.args.args[0].arg).visit(tree))
    names: dict[str, Any] = dict(_NAMES)
    exec(compile(tree, inspect.getfile(plain), "exec"), names)
    return part(names[function.name]), hashlib.sha256(source.encode()).hexdigest()[:16]


def _with_names(function: Callable[..., Any], names: Mapping[str, Any], mark: str) -> Any:
    """A plain function for whom these names mean something else than in its module; the mark is part of its own."""
    plain: Any = inspect.unwrap(function)
    own = FunctionType(plain.__code__, {**plain.__globals__, **names}, plain.__name__, plain.__defaults__)
    own.__module__ = plain.__module__
    # numba keeps compiled code by this name: that of another formula must not be taken for it
    own.__qualname__ = f"{plain.__qualname__}.{mark}"
    return own


@cache
def kernel_of(function: Callable[..., Any], entry: Callable[..., Any], step: Callable[..., Any]) -> Any:
    """A kernel whose `entry` calls a formula's step `formula`; made once for each."""
    formula, mark = _compiled_formula(step)
    inner = part(_with_names(entry, {"formula": formula}, mark))
    return kernel(_with_names(function, {entry.__name__: inner}, mark))
