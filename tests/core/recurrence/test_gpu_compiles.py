"""The kernels compile for an H100 or H200 (sm_90), without one; what the compiler says about registers is checked.

Compiling needs triton outside of its interpreter: a process of its own, this file as a program.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

POINTERS = {"float32": "*fp32", "float64": "*fp64"}
OTHER = {"T": "i32", "B": "i32", "lengths": "*i64", "horizon": "*i64", "exponents": "*i64"}
FORWARD_ABSENT = ("act_bias", "h0", "leak", "slopes")
BACKWARD_ABSENT = ("slopes", "steps", "leak", "x", "dact", "dh0")
TANGENT_ABSENT = ("slopes", "total", "leak")
UNIT = [
    # kernel, activation, B, H, type, absent tensors
    ("forward", "tanh", 10, 100, "float32", FORWARD_ABSENT),
    ("backward", "tanh", 10, 100, "float32", BACKWARD_ABSENT),
    ("tangent", "tanh", 10, 100, "float32", TANGENT_ABSENT),
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


def compiled(case: tuple) -> dict[str, int]:
    """Registers per thread, bytes of local memory (spilled registers), bytes of shared memory."""
    import torch
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from rnnsweep.core.recurrence.gpu import backward, forward, tangent, tiling

    name, act, B, H, dtype, absent = case
    kernel = getattr({"forward": forward, "backward": backward, "tangent": tangent}[name], f"{name}_kernel")
    cut = tiling.Tiling.of(B, H, getattr(torch, dtype), matrices=2 if name == "tangent" else 1)
    inner = H if "w_in" in absent else 6
    fixed = {
        "H": H,
        "INPUTS": inner,
        "ACT": act,
        "BATCH": cut.batch,
        "UNITS": cut.units,
        "INNER": tiling.rounded(inner),
    }
    fixed |= {"BLOCK": cut.block, "PRECISION": "ieee"} | dict.fromkeys(absent)
    names = kernel.arg_names
    fixed = {key: value for key, value in fixed.items() if key in names}
    signature = {n: "constexpr" if n in fixed else OTHER.get(n, POINTERS[dtype]) for n in names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if signature[n].startswith("*")}
    source = ASTSource(kernel, signature, {(names.index(key),): value for key, value in fixed.items()}, aligned)
    options = {"num_warps": cut.warps, "num_stages": cut.stages, "enable_fp_fusion": True}
    binary = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    return {**resources(binary.asm["cubin"]), "shared": binary.metadata.shared}


def resources(cubin: bytes) -> dict[str, int]:
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        told = subprocess.run([str(tool), "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", told)
    assert found is not None, told
    return {"registers": int(found[1]), "spilled": int(found[2])}


def in_a_process(cases: list[tuple], folder: Path) -> list[dict[str, int]]:
    # a cache of its own: what an earlier version compiled would prove nothing
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(folder)}
    command = [sys.executable, "-W", "ignore", __file__, json.dumps(cases)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_unit_compiles_without_spilling_and_two_programs_fit(triton_interpreter, tmp_path):
    """An H200's multiprocessor: 65536 registers, 227 KB of shared memory for programs and 1 KB more for each."""
    for case, found in zip(UNIT, in_a_process(UNIT, tmp_path), strict=True):
        assert found["spilled"] == 0, case
        assert 2 * (found["shared"] + 1024) <= 227 * 1024, case
        if case[0] != "tangent":
            assert 2 * 256 * found["registers"] <= 65536, case


def test_other_loops_compile(triton_interpreter, tmp_path):
    for case, found in zip(OTHERS, in_a_process(OTHERS, tmp_path), strict=True):
        assert found["shared"] <= 227 * 1024, case


if __name__ == "__main__":
    print(json.dumps([compiled(tuple(case)) for case in json.loads(sys.argv[1])]))
