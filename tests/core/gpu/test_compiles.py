"""Triton's kernels compile for an H100 or H200 (sm_90), without one; `gpu_update_resources.py` has those of updates."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CASES = [
    ("step", "float32", "sgd"),
    ("step", "float32", "nesterov", 11136, True),
    ("step", "float32", "adam"),
    ("step", "float64", "rmsprop_inside"),
    ("step", "float32", "adagrad", 200),
    ("gather", "float32", 6),
    ("read_out", "float32", "classes", 100, 4),
    ("read_out", "float32", "binary", 100, 16),
    ("read_out", "float64", "squared", 64, 1),
    ("score", "float32", "classes", 9),
    ("place", "int64", True),
    ("order", "float32", 2, False),
    ("order", "float32", 3, True),
    ("marked", "float32", True),
    ("hot", "float32", 1000),
    ("recall", "float32", 8, False),
]
FOLDERS = ("rnnsweep/core/gpu", "rnnsweep/core/recurrence/gpu")


@pytest.mark.slow
def test_kernels_compile_and_several_programs_fit(triton_interpreter):
    """In a process of its own: compiling needs triton outside of its interpreter."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(ROOT)}
    script = ROOT / "benchmarks/gpu_update_resources.py"
    command = [sys.executable, "-W", "ignore", str(script), "--cases", json.dumps(CASES)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    for case, found in zip(CASES, json.loads(done.stdout.splitlines()[-1]), strict=True):
        # a few registers go to and fro in formulas with quotients and roots, around what waits for memory anyway
        assert found["spilled"] <= 32, case
        assert found["programs"] * found["warps"] >= 12, case


def test_kernels_compile_as_a_launch_would_have_them(triton_interpreter):
    """Names, tuples and numbers that are 1 are what Triton makes of them on the way to a launch."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-m", "tests.kit.launches_compiled"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    compiled = {line.split()[0] for line in done.stdout.splitlines()}
    written = "".join(path.read_text(encoding="utf-8") for folder in FOLDERS for path in (ROOT / folder).glob("*.py"))
    assert compiled == set(re.findall(r"^def (\w+_kernel)\(", written, re.MULTILINE))


def for_a_device(text: str) -> Iterator[ast.FunctionDef]:
    """Functions that Triton compiles: by their decorator, or by what they use, as formulas' kernels have none."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            uses = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
            if "tl" in uses or any("triton.jit" in ast.unparse(one) for one in node.decorator_list):
                yield node


def returns_none(function: ast.FunctionDef) -> bool:
    """Whether None is returned, or is one of several values that are."""
    returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None]
    values = [one for value in returned for one in (value.elts if isinstance(value, ast.Tuple) else [value])]
    return any(isinstance(one, ast.Constant) and one.value is None for one in values)


def test_no_compiled_function_returns_none():
    """Triton 3.6 refuses it, at the kernel's first launch; later versions, which compile the kernels here, do not."""
    found = {
        f"{path.name}: {function.name}": returns_none(function)
        for path in sorted((ROOT / "rnnsweep").rglob("*.py"))
        if "import triton" in (text := path.read_text(encoding="utf-8"))
        for function in for_a_device(text)
    }
    assert {"steps.py: _moved", "steps.py: step_kernel", "inverses.py: _block_inverse", "launching.py: root"} <= set(
        found
    )
    assert [name for name, has in found.items() if has] == []


def test_a_returned_none_is_seen():
    lost = "@triton.jit\ndef f(x):\n    if x is not None:\n        return x, 1\n    else:\n        return None, 1\n"
    assert [returns_none(function) for function in for_a_device(lost)] == [True]
    assert [returns_none(function) for function in for_a_device(lost.replace("None, 1", "0, 1"))] == [False]
