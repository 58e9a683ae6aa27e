"""The GPU's tests run where no stores, no cluster, no browser and none of the test tools but pytest can be imported."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ABSENT = (
    "psycopg", "ray", "mlflow", "optuna", "sqlalchemy", "alembic", "selenium", "playwright", "fastapi", "textual",
    "hypothesis", "schemathesis", "beartype",
)  # fmt: skip
"""What a machine lent for an hour need not have; PostgreSQL and Chromium are reached through two of these only."""
FILES = sorted(
    str(path.relative_to(ROOT))
    for path in (*(ROOT / "tests/core").rglob("test_gpu*.py"), ROOT / "tests/contract/test_replay.py")
)
FINDER = f"""
from importlib.machinery import PathFinder

class Found:
    # not found, rather than refused: torch asks for some of them without importing any
    find = PathFinder.find_spec

    def __call__(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {ABSENT} else Found.find(name, path, target)

PathFinder.find_spec = Found()
"""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which these cannot be imported."""
    (tmp_path / "sitecustomize.py").write_text(FINDER)
    # not the variables of a run that this test may be part of
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTEST_", "COV_", "TRITON_")) and key != "CI"
    }
    # plugins come with packages that are absent there
    return kept | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def run(bare: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=bare, cwd=ROOT, check=False, timeout=300)


def test_they_are_absent_there(bare):
    lines = "; ".join(f"print(type(attempt({name!r})).__name__)" for name in ABSENT)
    attempt = "def attempt(name):\n    try: __import__(name)\n    except ImportError as error: return error\n"
    assert run(bare, "-c", attempt + lines).stdout.split() == ["ModuleNotFoundError"] * len(ABSENT)


def test_make_runs_all_of_them():
    """`make test-gpu` is the one command."""
    if shutil.which("make") is None:
        pytest.skip("no make here")
    said = subprocess.run(["make", "--dry-run", "test-gpu"], capture_output=True, text=True, cwd=ROOT, check=True)
    assert [file for file in FILES if file not in said.stdout.split()] == []
    assert "pip install" not in said.stdout


def test_gpu_tests_run_there(bare):
    """All of them are imported; one with a kernel and one of an update run: what is imported late must be there too."""
    if importlib.util.find_spec("triton") is None:  # not imported: its interpreter is chosen when it is
        pytest.skip("triton is not installed")
    assert len(FILES) >= 7
    done = run(bare, "-m", "pytest", "-p", "no:cacheprovider", "-k", "sample_ids or (same_bits and sgd)", *FILES)
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.startswith("."), done.stdout[-3000:]


def test_the_benchmark_starts_there(bare):
    """All of it is imported before it looks for a GPU; a hidden one is none."""
    done = run(bare | {"CUDA_VISIBLE_DEVICES": ""}, "benchmarks/gpu.py")
    assert (done.returncode, done.stdout) == (0, "no GPU here: nothing was measured\n"), done.stderr[-3000:]
