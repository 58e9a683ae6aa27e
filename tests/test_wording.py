"""Numbers and their nouns; and that no text leaves the choice to its reader."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import rnnsweep
from rnnsweep.wording import counted

PACKAGE = Path(rnnsweep.__file__).parent
# `report` has words of its own
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "report")


@pytest.mark.parametrize(("number", "text"), [(0, "0 trials"), (1, "1 trial"), (1.0, "1 trial"), (2, "2 trials")])
def test_one_is_singular_all_else_plural(number, text):
    assert counted(number, "trial") == text


def test_no_text_says_trial_s_in_brackets():
    """`(s)` behind a word in any text of the program, docstrings of commands included."""
    found = [
        f"{module.relative_to(PACKAGE)}:{node.lineno}: {node.value}"
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"[a-z]\((s|es)\)", node.value)
    ]
    assert found == []
