"""Public functions of the core say the shapes of the tensors that they take and return."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnnsweep.core.families.srn import Srn
from rnnsweep.errors import ConfigError
from tests.kit.shapes import CORE, annotated_modules

SHAPED = {"Float", "Complex128", "Float64", "Int64", "Bool", "Num", "Shaped"}
Function = ast.FunctionDef | ast.AsyncFunctionDef

_COMPILED = ("dropout_masks", "rng", "gpu.random_numbers", "tasks.marked", "tasks.synthetic", "tasks.temporal_order")
_KERNELS = {
    "gpu": ("gathering", "read_outs", "sequences", "steps", "symbols"),
    "cpu": ("last_queries", "matrix_memories", "numbers", "read_outs", "steps"),
}
_ROOMS = (f"{room}.{name}" for room, names in _KERNELS.items() for name in names)
COMPILED = {f"rnnsweep.core.{name}" for name in (*_COMPILED, *_ROOMS)}
"""Modules with shapes that are written down only: a wrapper would hide their compiled functions from the compiler."""


def is_bare(annotation: ast.expr | None) -> bool:
    """Whether an annotation has a `Tensor` without a shape in it."""
    match annotation:
        case None:
            return False
        case ast.Constant(value=str(text)):
            return is_bare(ast.parse(text, mode="eval").body)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name == "Tensor"
        case ast.Subscript(value=ast.Name(id=name)) if name in SHAPED:
            return False
    return any(is_bare(child) for child in ast.iter_child_nodes(annotation) if isinstance(child, ast.expr))


def public_functions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Functions and methods by dotted name; of private classes and functions none."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, Function) and (not node.name.startswith("_") or node.name.startswith("__")):
            yield prefix + node.name, node


def bare_functions(path: Path) -> list[str]:
    """Public functions of a module with a bare tensor, and its aliases of types that have one."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare: list[str] = []
    for name, node in public_functions(tree.body):
        arguments = node.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        if any(is_bare(argument.annotation) for argument in named if argument) or is_bare(node.returns):
            bare.append(f"{path.relative_to(CORE)}: {name}")
    for node in tree.body:  # `Values = Mapping[str, Tensor]` would hide one
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript) and is_bare(node.value):
            bare.append(f"{path.relative_to(CORE)}: {ast.unparse(node.targets[0])}")
    return bare


def test_no_public_function_of_the_core_takes_or_returns_a_tensor_without_a_shape() -> None:
    assert [name for path in sorted(CORE.rglob("*.py")) for name in bare_functions(path)] == []


def test_a_bare_tensor_is_seen_wherever_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "Alias = Mapping[str, Tensor]\n"
        "def shaped(x: Float[Tensor, 'P N']) -> dict[str, Float[Tensor, 'P ...']]: ...\n"
        "def _private(x: Tensor): ...\n"
        "def taken(x: Tensor | None): ...\n"
        "class Unit:\n"
        "    def returned(self) -> tuple[Float[Tensor, 'P N'], torch.Tensor]: ...\n"
        "    def quoted(self, *all: 'Mapping[str, Tensor]'): ...\n"
    )
    monkeypatch.setattr(f"{__name__}.CORE", tmp_path)
    assert [line.partition(": ")[2] for line in bare_functions(module)] == [
        "taken",
        "Unit.returned",
        "Unit.quoted",
        "Alias",
    ]


def test_what_says_shapes_is_checked_but_for_compiled_functions() -> None:
    said = {
        ".".join(("rnnsweep.core", *path.relative_to(CORE).with_suffix("").parts))
        for path in CORE.rglob("*.py")
        if "from jaxtyping import" in path.read_text(encoding="utf-8")
    }
    # the memory of buffers is counted, see `tests.kit.shapes.COUNTED`
    assert said - set(annotated_modules()) == COMPILED | {"rnnsweep.core.recurrence.cpu.engine.dispatch"}


def test_a_unit_checks_and_converts_its_fields_itself() -> None:
    """The wrapper of jaxtyping would refuse both before the unit sees them."""
    assert type(Srn(hidden=5.0).hidden) is int  # type: ignore[arg-type]
    assert Srn(leak=1).leak == 1
    with pytest.raises(ConfigError, match="hidden"):
        Srn(hidden="5")  # type: ignore[arg-type]
