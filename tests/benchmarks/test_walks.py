"""Following one thing through the program stays short, and the documented lists are the measured ones."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/architecture.md"
PROMISED = {
    "one mini-batch through `update`": ("One mini-batch", 28),
    "one report from the worker to MLflow's tables": ("One report", 15),
}
"""Walk -> its section of the page, and how many files it may have."""


@pytest.fixture(scope="module")
def walks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("walks", ROOT / "benchmarks/walks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["walks"] = module
    spec.loader.exec_module(module)
    return module


def documented(title: str) -> list[str]:
    """Files in the table of a section of the page."""
    section = re.search(rf"^## {re.escape(title)}\n(.*?)^## ", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None, title
    return re.findall(r"^\| `([\w/]+\.py)` \|", section[1], re.MULTILINE)


@cache
def measured(name: str) -> list[str]:
    """The files of a walk in a process of its own: the checks of shapes, which run in tests only, take other ways."""
    command = [sys.executable, str(ROOT / "benchmarks/walks.py"), name]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=500)
    return [line.strip() for line in run.stdout.splitlines() if line.startswith("    ")]


@pytest.mark.parametrize("name", list(PROMISED))
def test_a_walk_is_as_short_as_promised_and_documented(name: str) -> None:
    files = measured(name)
    section, limit = PROMISED[name]
    assert len(files) <= limit, files
    assert sorted(documented(section)) == files
    assert all((ROOT / "rnnsweep" / file).is_file() for file in files)


def test_compiled_functions_are_followed() -> None:
    """A kernel's own pieces, and those that it takes from another module by its name."""
    files = measured("one mini-batch through `update`")
    assert "core/recurrence/cpu/emit/products.py" in files
    assert "core/rng.py" in files


def test_files_that_do_not_run_are_not_counted(walks: ModuleType) -> None:
    from rnnsweep.core import numerics
    from rnnsweep.core.activations import activation

    assert walks.files_of(lambda: activation("tanh").gain) == ["core/activations.py"]
    assert walks.files_of(lambda: numerics) == []
