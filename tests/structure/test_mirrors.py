"""Modules of logic have a test file of their name, in the same place below tests/."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = ("rnnsweep/adapters/optuna/samplers/", "rnnsweep/adapters/optuna/pruners/")
"""Covered one by one by contract suites that find them; their bases are not."""


def has_logic(module: Path) -> bool:
    """Whether a module defines a function with a body; contracts and tables of constants have none."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return any(not isinstance(body[-1], ast.Expr) or len(body) > 2 for body in bodies)


def is_unit(module: Path) -> bool:
    return module.stem != "base" and module.relative_to(ROOT).as_posix().startswith(UNITS)


def without_test(package: str) -> tuple[list[str], int]:
    """Modules of logic that lack a test file of their name, and how many modules of logic there are."""
    modules = [path for path in (ROOT / "rnnsweep" / package).rglob("*.py") if has_logic(path) and not is_unit(path)]
    missing = [
        module.relative_to(ROOT).as_posix()
        for module in modules
        if not (ROOT / "tests" / module.relative_to(ROOT / "rnnsweep").with_name(f"test_{module.name}")).is_file()
    ]
    return sorted(missing), len(modules)


@pytest.mark.parametrize("package", ["app", "sweep", "adapters", "service"])
def test_four_of_five_modules_of_logic_have_a_test_of_their_name(package: str) -> None:
    missing, total = without_test(package)
    assert len(missing) <= 0.2 * total, f"{len(missing)} of {total}: {missing}"
