"""The kernels compile for an H100 or H200 (sm_90), without one; what the compiler says about registers is checked.

Compiling needs triton outside of its interpreter: a process of its own, `benchmarks/gpu_resources.py`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "benchmarks/gpu_resources.py"
FORWARD_ABSENT = ("act_bias", "h0", "leak", "slopes")
BACKWARD_ABSENT = ("slopes", "steps", "leak", "x", "dact", "dh0")
TANGENT_ABSENT = ("slopes", "total", "leak")
UNIT = [
    # kernel, activation, B, H, type, absent tensors
    ("forward", "tanh", 10, 100, "float32", FORWARD_ABSENT),
    ("backward", "tanh", 10, 100, "float32", BACKWARD_ABSENT),
    ("tangent", "tanh", 10, 100, "float32", TANGENT_ABSENT),
    ("tangent", "tanh", 10, 128, "float32", TANGENT_ABSENT),
]
OTHERS = [
    ("forward", "modrelu", 10, 24, "float32", ()),
    ("forward", "oplu", 10, 24, "float32", ("w_in", "bias", "act_bias")),
    ("forward", "sigmoid", 10, 24, "float64", FORWARD_ABSENT),
    ("forward", "elu", 40, 200, "float32", FORWARD_ABSENT),
    ("backward", "modrelu", 10, 24, "float32", ("last",)),
    ("backward", "oplu", 10, 24, "float32", ("steps", "dact")),
    ("backward", "sigmoid", 10, 24, "float64", BACKWARD_ABSENT),
    ("backward", "leaky_relu", 40, 200, "float32", BACKWARD_ABSENT),
    ("tangent", "oplu", 10, 24, "float32", ()),
    ("tangent", "relu", 10, 24, "float64", TANGENT_ABSENT),
]


def in_a_process(cases: list[tuple]) -> list[dict[str, int]]:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", str(SCRIPT), "--cases", json.dumps(cases)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_unit_compiles_without_spilling_and_two_programs_fit(triton_interpreter):
    """An H200's multiprocessor: 65536 registers, 227 KB of shared memory for programs and 1 KB more for each."""
    for case, found in zip(UNIT, in_a_process(UNIT), strict=True):
        assert found["spilled"] == 0, case
        assert 2 * (found["shared"] + 1024) <= 227 * 1024, case
        assert 2 * 256 * found["registers"] <= 65536, case
        assert found["programs"] >= 2, case


def test_other_loops_compile(triton_interpreter):
    for case, found in zip(OTHERS, in_a_process(OTHERS), strict=True):
        assert found["shared"] <= 227 * 1024, case


def test_random_numbers_compile_without_spilling(triton_interpreter):
    cases = [("integers", "int64", 100, True), ("uniforms", "float32", 100)]
    for case, found in zip(cases, in_a_process(cases), strict=True):
        assert found["spilled"] == 0, case
        assert found["programs"] >= 4, case


def test_every_kernel_is_in_the_table():
    """A kernel that is added without its resources would be found to spill on a device only."""
    named = "|".join(path.read_text(encoding="utf-8") for path in (ROOT / "rnnsweep").rglob("*.py"))
    kernels = set(re.findall(r"^def (\w+_kernel)\(", named, re.MULTILINE))
    assert kernels >= {"forward_kernel", "backward_kernel", "tangent_kernel", "philox_kernel"}
    scripts = "".join(path.read_text(encoding="utf-8") for path in SCRIPT.parent.glob("gpu*_resources.py"))
    assert [kernel for kernel in kernels if kernel not in scripts] == []
