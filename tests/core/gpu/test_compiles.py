"""The kernels around the loops compile for an H100 or H200 (sm_90), without one: `gpu_update_resources.py`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

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
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rnnsweep/core/gpu").glob("*.py"))
    # random numbers take a way of their own: recurrence/test_gpu_compiles.py
    assert compiled | {"philox_kernel"} == set(re.findall(r"^def (\w+_kernel)\(", written, re.MULTILINE))
