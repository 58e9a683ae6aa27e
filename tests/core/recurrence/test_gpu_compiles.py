"""The kernels compile for an H100 or H200 (sm_90), without one; what the compiler says about registers is checked.

Compiling needs triton outside of its interpreter: a process of its own, `benchmarks/gpu_resources.py`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "benchmarks/gpu_resources.py"
UNIT = [
    # loop, cell, B, H, type, programs of a multiprocessor
    ("forward", "tanh", 10, 100, "float32", 4),
    ("backward", "tanh", 10, 100, "float32", 4),
    ("tangent", "tanh", 10, 100, "float32", 2),
    ("weight_gradients", "tanh", 10, 100, "float32", 2),
    ("weighted_gradients", "tanh", 10, 100, "float32", 2),
    ("norm_ratio", "float32", 100, 4),
    ("judge", "float32", 100, 8),
    ("forward", "lstm", 10, 100, "float32", 1),
    ("backward", "lstm", 10, 100, "float32", 1),
    ("forward", "gru", 10, 100, "float32", 1),
    ("backward", "gru", 10, 100, "float32", 1),
]
OTHERS = [
    ("forward", "modrelu", 10, 24, "float32"),
    ("forward", "oplu", 17, 24, "float64"),
    ("forward", "elu", 40, 300, "float32"),
    ("backward", "modrelu", 10, 24, "float64"),
    ("backward", "oplu", 10, 24, "float32"),
    ("backward", "lstm", 40, 200, "float32"),
    ("tangent", "oplu", 10, 24, "float32"),
    ("tangent", "relu", 10, 200, "float64"),
    ("weight_gradients", "gru", 10, 150, "float64"),
]
SPILLED = 32
"""Bytes of a thread that may go to memory and back: some numbers of a loop's beginning are not worth a program."""


def in_a_process(cases: list[tuple]) -> list[dict[str, int]]:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", str(SCRIPT), "--cases", json.dumps(cases)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on the PATH: a CUDA toolkit has it")
def test_the_unit_compiles_and_as_many_programs_fit_as_its_layout_says():
    """An H200's multiprocessor: 65536 registers, 227 KB of shared memory for programs and 1 KB more for each."""
    for case, found in zip(UNIT, in_a_process([case[:-1] for case in UNIT]), strict=True):
        assert found["spilled"] <= SPILLED, (case, found)
        assert found["programs"] >= case[-1], (case, found)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on the PATH: a CUDA toolkit has it")
def test_other_loops_compile():
    for case, found in zip(OTHERS, in_a_process(OTHERS), strict=True):
        assert found["shared"] <= 227 * 1024, case


@pytest.mark.slow
def test_filters_compile_without_spilling(triton_interpreter):
    """Many of them fit at 6 inputs: programs of one warp, each with loads of three steps under way."""
    cases = [
        ("filter", "float32", 100, 6), ("filter", "float32", 400, 32, True), ("filter", "float64", 100, 64, True),
        ("filter_back", "float32", 100, 6, False, ["dz"]), ("filter_back", "float32", 100, 6, True),
        ("filter_back", "float64", 100, 32, True), ("filter_back", "float32", 100, 64),
        ("filter_sums", "float32", 100, 6), ("filter_sums", "float64", 100, 64, False, ["after"]),
    ]  # fmt: skip
    for case, found in zip(cases, in_a_process(cases), strict=True):
        assert found["spilled"] == 0, case
        assert found["programs"] >= (16 if case[1:4] == ("float32", 100, 6) else 8), case


@pytest.mark.slow
def test_maps_compile_without_spilling(triton_interpreter):
    """At the widths of the measured units, and what `scurnn` makes of 100: its real form has 200."""
    cases = [("power", "float64", 40)] + [
        (name, dtype, N)
        for name, dtype in (("inverse", "float32"), ("inverse", "float64"), ("pivoted", "float32"))
        for N in (40, 100, 128, 200)
    ]
    cases += [(name, "float32", N) for name in ("squaring", "squaring_pullback") for N in (40, 100, 128)]
    for case, found in zip(cases, in_a_process(cases), strict=True):
        assert found["spilled"] == 0, case
        assert found["programs"] >= 3, case


def test_random_numbers_compile_without_spilling(triton_interpreter):
    cases = [("integers", "int64", 100, True), ("uniforms", "float32", 100)]
    for case, found in zip(cases, in_a_process(cases), strict=True):
        assert found["spilled"] == 0, case
        assert found["programs"] >= 4, case


def test_every_kernel_is_in_the_table():
    """A kernel that is added without its resources would be found to spill on a device only."""
    rooms = [path for path in (ROOT / "rnnsweep").rglob("*.py") if "cpu" not in path.parts]
    named = "|".join(path.read_text(encoding="utf-8") for path in rooms)
    kernels = set(re.findall(r"^def (\w+_kernel)\(", named, re.MULTILINE))
    assert kernels >= {"inverse_kernel", "filter_kernel", "philox_kernel"}
    scripts = "".join(path.read_text(encoding="utf-8") for path in SCRIPT.parent.glob("gpu*_resources.py"))
    assert [kernel for kernel in kernels if kernel not in scripts] == []
