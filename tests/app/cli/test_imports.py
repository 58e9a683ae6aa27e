"""The command line calls the front door, results and studies; whatever lies deeper is theirs to call."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnnsweep.app import cli

MAY = ("api", "results", "studies", "watch", "cli", "doctor", "live_training", "remote")
COMMANDS = sorted(Path(cli.__file__).parent.glob("*.py"))


def imports_of(file: Path) -> Iterator[str]:
    """Modules that a file imports anywhere, in functions and for types too; names count where they are modules."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("file", COMMANDS, ids=lambda file: file.stem)
def test_commands_call_nothing_deeper(file):
    ours = [name for name in imports_of(file) if name.startswith("rnnsweep.")]
    allowed = ("rnnsweep.errors.", "rnnsweep.version.", "rnnsweep.wording.", *(f"rnnsweep.app.{room}" for room in MAY))
    assert [name for name in ours if not name.startswith(allowed)] == []
