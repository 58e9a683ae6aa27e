"""What a GPU's kernels need of an H100 or H200 (sm_90), compiled without one: ``python benchmarks/gpu_resources.py``.

Registers per thread, bytes spilled per thread, shared memory per program, and how many programs a multiprocessor holds
with them. Triton's kernels (maps, filters, random numbers) are compiled by the triton wheel; loops and gradients of
weights, in CUDA C++, by nvcc where there is one. Nothing runs. --write makes docs/results/gpu_resources.md; --cases
takes cases as JSON, lists of arguments of the functions in `KINDS`, and prints their figures as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from rnnsweep.app.studies.bench import bench_config
from rnnsweep.core.activations import ACTIVATIONS
from rnnsweep.core.build import build_units
from rnnsweep.core.gpu import random_numbers as philox
from rnnsweep.core.recurrence.base import StepRule
from rnnsweep.core.recurrence.diagonal import OwnUnitsReluCell, PairedCell
from rnnsweep.core.recurrence.gated_cells import GruCell, LstmCell
from rnnsweep.core.recurrence.gpu import (
    filter_kernels,
    filters,
    inverses,
    judging,
    loops,
    norm_ratio,
    squarings,
    weight_gradients,
)
from rnnsweep.core.recurrence.gpu.description import Description
from rnnsweep.core.recurrence.gpu.layout import items_of

PAGE = Path(__file__).resolve().parents[1] / "docs/results/gpu_resources.md"
TARGET = GPUTarget("cuda", 90, 32)
POINTERS = {"float32": "*fp32", "float64": "*fp64", "int64": "*i64"}
WHOLE = ("lengths", "horizon", "exponents", "keys", "ids", "low", "high", "counts")
"""Tensors of int64, whatever the type of the others."""
HALF = ("grown", "places")
"""Tensors of int32."""
FILTERS = {
    "filter": filter_kernels.filter_kernel,
    "filter_back": filter_kernels.filter_back_kernel,
    "filter_sums": filter_kernels.filter_sums_kernel,
}
"""Kernels of filters over time, which run before and after a loop."""
MAPS = {
    "inverse": inverses.inverse_kernel,
    "pivoted": inverses.pivoted_kernel,
    "squaring": squarings.squaring_kernel,
    "squaring_pullback": squarings.squaring_pullback_kernel,
    "power": squarings.power_kernel,
}
"""Kernels of the maps of recurrent weights."""
OTHERS = (
    "slstm", "cornn", "lipschitz", "antisymmetric", "lem", "mingru", "min_lstm", "unicornn", "linoss", "scurnn", "sbo",
)  # fmt: skip
"""Families with cells of their own that have fused loops, at one width."""
DIAGONAL = {"lru": PairedCell, "indrnn": OwnUnitsReluCell}
"""Families whose recurrent matrix is diagonals, likewise."""
WIDTHS = (32, 64, 100, 128, 256)
MAP_WIDTHS = (20, 40, 64, 100, 128, 200, 256)
BATCH, INPUTS = 10, 6
REGISTERS, SHARED, WARPS, PROGRAMS = 65536, 227 * 1024, 64, 32
"""Of a multiprocessor of sm_90; a program takes 1 KB of shared memory more than it asks for."""


def compiled(kernel: Any, dtype: str, fixed: dict[str, Any], warps: int, stages: int = 1) -> dict[str, int]:
    """Registers and spilled bytes per thread, bytes of shared memory, warps and programs per multiprocessor."""
    names = kernel.arg_names
    fixed = {key: value for key, value in fixed.items() if key in names}
    signature = {name: "constexpr" if name in fixed else _type_of(name, dtype) for name in names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if signature[name].startswith("*")}
    source = ASTSource(kernel, signature, {(names.index(key),): value for key, value in fixed.items()}, aligned)
    options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}
    told = io.StringIO()
    # A cache of its own: what was compiled before is not assembled again, and the assembler would say nothing.
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(triton.knobs.cache, "dir", folder),
        mock.patch.object(triton.knobs.nvidia, "dump_ptxas_log", True),
        contextlib.redirect_stdout(told),
    ):
        binary = triton.compile(source, target=TARGET, options=options)
    found = {**said_of(told.getvalue()), "shared": binary.metadata.shared, "warps": warps}
    return found | {"programs": programs(found)}


def _type_of(name: str, dtype: str) -> str:
    if name in WHOLE:
        return "*i64"
    if name in HALF:
        return "*i32"
    # scalars: sizes and steps, and the stream, whose domain is in its top bits
    scalar = {"stream": "i64"} | dict.fromkeys(("T", "B", "n", "sequences", "low_number", "high_number"), "i32")
    return "i32" if name.endswith(("_row", "_item", "_place")) else scalar.get(name, POINTERS[dtype])


def said_of(told: str) -> dict[str, int]:
    """What the assembler said of a kernel: registers, spilled bytes and stack, per thread."""
    spilled = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", told)
    used = re.search(r"Used (\d+) registers", told)
    if spilled is None or used is None:
        raise RuntimeError(f"the assembler has not said what it used: {told}")
    return {"registers": int(used[1]), "spilled": int(spilled[2]), "stack": int(spilled[1])}


def programs(found: dict[str, int]) -> int:
    """How many programs of a kernel a multiprocessor holds."""
    # registers are given to warps in portions of 256: eight per thread
    registers = -(-found["registers"] // 8) * 8 * 32 * found["warps"]
    return min(REGISTERS // registers, SHARED // (found["shared"] + 1024), WARPS // found["warps"], PROGRAMS)


def described(cell: str, H: int) -> Description:
    """A cell of so many units: ``lstm``, ``gru``, an activation of the simple cell, or that of a family."""
    if cell in ("lstm", "gru"):
        return Description.of((LstmCell if cell == "lstm" else GruCell)(H))
    if cell in DIAGONAL:
        return Description.of(DIAGONAL[cell](H))
    if cell in OTHERS:
        own = build_units(bench_config([f"family={cell}", f"family.hidden={H}"])).family.cell
        assert own is not None
        return Description.of(own)
    return Description.simple(ACTIVATIONS[cell], H, leaky=False)


def loop(name: str, cell: str, B: int, H: int, dtype: str) -> dict[str, int]:
    """A loop, or the gradients of its weights, cut as the engine cuts it; needs nvcc."""
    size, description = getattr(torch, dtype).itemsize, described(cell, H)
    fused = INPUTS if description.additive else 0
    if name == "forward":
        sized = loops.forward_sized(description, size, items_of(B), fused, biased=fused > 0)
    elif name == "backward":
        sized = loops.backward_sized(description, size, items_of(B))
    elif name == "tangent":
        sized = loops.tangent_sized(description, size, B, known=not description.paired)
    elif name == "weighted_gradients":
        sized = weight_gradients.sized_for((H, H), 0, (H, H), size, bias=False, weighted=True)
    else:
        made = description.product * H
        sized = weight_gradients.sized_for((H, H), INPUTS, (made, made), size, bias=True)
    return assembled(sized.source, sized.threads, sized.shared)


def beside(name: str, dtype: str, H: int) -> dict[str, int]:
    """What `omega` and `sampling` add to an update besides loops: norms of its errors, and the verdict on its step."""
    size = getattr(torch, dtype).itemsize
    if name == "norm_ratio":
        source = norm_ratio.source_of(H, size, squared=True, mean=True, steps=False)
        return assembled(source, norm_ratio.THREADS, norm_ratio.SHARED)
    rule = StepRule(upwards=True, relative=True, mean_of_logs=True)
    return assembled(judging.source_of(H, size, rule), judging.THREADS, judging.SHARED)


def assembled(source: str, threads: int, shared: int) -> dict[str, int]:
    """What nvcc's assembler says of a source."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "loops.cu").write_text(source)
        command = [
            "nvcc",
            "-arch=sm_90",
            "-std=c++17",
            "-fmad=false",
            "-Xptxas",
            "-v",
            "-cubin",
            "-o",
            "loops.cubin",
            "loops.cu",
        ]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found = {**said_of(done.stderr), "shared": shared, "warps": threads // 32}
    return found | {"programs": programs(found)}


def drive_filter(
    name: str, dtype: str, G: int, inputs: int, adaptive: bool = False, absent: list[str] | None = None
) -> dict[str, int]:
    """A kernel of filters, cut as the engine cuts it; with bias, and with what is added unfiltered."""
    kernel, kind, fused = FILTERS[name], getattr(torch, dtype), inputs <= 32
    away = {*(absent or ()), *(() if adaptive else ("beta", "kept"))}
    if not fused:  # products outside make and take what the kernel does not
        away |= {"filter": {"w_in"}, "filter_back": {"inputs"}, "filter_sums": {"w_in"}}[name]
    sizes = {"G": G, "INPUTS": inputs if fused else 0, "INNER": filters.inner_of(inputs), "BIAS": 1, "AFTER": 1}
    sizes |= {"LINES": sizes["INPUTS"] + 2, "BLOCK": filters.entries_per_program(G, kind), "EACH": True}
    sizes |= {"STAGES": filters.STAGES, "ITEMS": filters.ITEMS}
    return compiled(kernel, dtype, sizes | dict.fromkeys(away), filters.WARPS)


def weight_map(name: str, dtype: str, N: int) -> dict[str, int]:
    """A kernel of the maps, for [N, N] matrices."""
    sizes: dict[str, Any] = {"N": N, "SIDE": inverses.SIDE, "DONE": 0, "UNTIL": 34}
    of_type = getattr(torch, dtype)
    cut: Any = inverses.Cut.of(N, of_type) if name in ("inverse", "pivoted") else squarings.Cut.of(N, of_type)
    sizes |= {key.upper(): value for key, value in cut._asdict().items()} | {"LIMIT": inverses.LIMITS[of_type]}
    return compiled(MAPS[name], dtype, sizes, cut.warps)


def random_numbers(what: str, dtype: str, n: int, bounds: bool = False) -> dict[str, int]:
    """The kernel of random numbers, for n words per sequence; `bounds` that are tensors."""
    tall, across = philox.tile_of(n)
    fixed: dict[str, Any] = {"MAP": what, "SEQUENCES": tall, "BLOCKS": across}
    return compiled(philox.philox_kernel, dtype, fixed | ({} if bounds else {"low": None, "high": None}), philox.WARPS)


def row_of(cells: list[object], found: dict[str, int]) -> str:
    figures = [found["registers"], found["spilled"], f"{found['shared'] / 1024:.1f}", found["warps"], found["programs"]]
    return "| " + " | ".join(map(str, [*cells, *figures])) + " |"


def table_of_loops() -> list[str]:
    lines = ["| loop | cell | type | H | registers | spilled, bytes | shared, KB | warps | programs |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for name, cell, dtype in itertools.product(LOOPS, ("tanh", "lstm", "gru"), ("float32", "float64")):
        if name in ("tangent", "weighted_gradients") and cell != "tanh":
            continue
        for H in WIDTHS:
            lines.append(row_of([name, cell, dtype, H], loop(name, cell, BATCH, H, dtype)))
            print(lines[-1], flush=True)
    for cell, name, dtype in itertools.product((*OTHERS, *DIAGONAL), ("forward", "backward"), ("float32", "float64")):
        lines.append(row_of([name, cell, dtype, 100], loop(name, cell, BATCH, 100, dtype)))
        print(lines[-1], flush=True)
    for name, dtype in itertools.product(BESIDE, ("float32", "float64")):
        lines.append(row_of([name, "any", dtype, 100], beside(name, dtype, 100)))
        print(lines[-1], flush=True)
    return lines


def table_of_filters() -> list[str]:
    lines = ["| kernel | kind | type | inputs | G | registers | spilled, bytes | shared, KB | warps | programs |"]
    lines.append("|---|---|---|---|---|---|---|---|---|---|")
    for name in FILTERS:
        for kind in ("either",) if name == "filter_sums" else ("momentum", "adaptive"):
            for dtype, inputs in itertools.product(("float32", "float64"), (INPUTS, 32, 64)):
                found = drive_filter(name, dtype, 100, inputs, kind == "adaptive")
                lines.append(row_of([name, kind, dtype, inputs, 100], found))
                print(lines[-1], flush=True)
    return lines


def table_of_maps() -> list[str]:
    lines = ["| map | type | N | registers | spilled, bytes | shared, KB | warps | programs |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name in MAPS:
        # The power that eigenvalues are found by is taken in float64 alone.
        for dtype in ("float64",) if name == "power" else ("float32", "float64"):
            for N in MAP_WIDTHS:
                lines.append(row_of([name, dtype, N], weight_map(name, dtype, N)))
                print(lines[-1], flush=True)
    return lines


def table_of_random_numbers() -> list[str]:
    lines = ["| numbers | type | per sequence | registers | spilled, bytes | shared, KB | warps | programs |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for what, dtype, bounds in (
        ("words", "int64", False), ("integers", "int64", False), ("integers, bounds of rows", "int64", True),
        ("uniforms", "float32", False), ("uniforms", "float64", False),
    ):  # fmt: skip
        for n in (2, 100):
            found = random_numbers(what.partition(",")[0], dtype, n, bounds)
            lines.append(row_of([what, dtype, n], found))
            print(lines[-1], flush=True)
    return lines


def notes_on(loops: list[str]) -> list[str]:
    """Which loops of float32 spill; from the lines of the table."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in loops[2:]]
    single = [row for row in rows if row[2] == "float32"]
    spill = [f"{row[0]} of {row[1]}, H = {row[3]}: {row[5]} bytes" for row in single if row[5] != "0"]
    return [f"Of {len(single)} in float32 {len(spill)} spill: {'; '.join(spill) or 'none'}."]


def write(loops: list[str], maps: list[str], over_time: list[str], numbers: list[str]) -> None:
    text = [
        "# GPU resources",
        "",
        "Made by `python benchmarks/gpu_resources.py --write`. Every kernel, compiled for sm_90 (H100, H200) without a",
        f"GPU, by triton {triton.__version__} or nvcc: what the assembler says, not a timing. *Spilled* are bytes per",
        "thread that do not fit its registers; *programs* is how many a multiprocessor holds at once (65536 registers,",
        "227 KB of shared memory, 64 warps).",
        "",
        "## Loops",
        "",
        f"CUDA C++, made of a cell's formulas: {INPUTS} inputs, B = {BATCH}.",
        *notes_on(loops),
        "",
        *loops,
        "",
        "## Maps of recurrent weights",
        "",
        "A program per row: inverses and squarings of [N, N], see docs/decisions/0042-maps-on-a-gpu.md.",
        "",
        *maps,
        "",
        "## Filters",
        "",
        "Filters over time of an input path: with a bias, something added unfiltered, and lengths of every sequence.",
        "With more than 32 inputs the products with w_in are cuBLAS's.",
        "",
        *over_time,
        "",
        "## Random numbers",
        "",
        "One launch for each call of `Draws`; words of 2 (positions, symbols) and 100 steps (values) per sequence.",
        "",
        *numbers,
    ]
    PAGE.write_text("\n".join(text) + "\n", encoding="utf-8")


LOOPS = ("forward", "backward", "tangent", "weight_gradients", "weighted_gradients")
BESIDE = ("norm_ratio", "judge")
KINDS = {
    **dict.fromkeys(LOOPS, loop),
    **dict.fromkeys(BESIDE, beside),
    **dict.fromkeys(MAPS, weight_map),
    **dict.fromkeys(FILTERS, drive_filter),
}
"""What makes a case, by its first argument; others are random numbers."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/results/gpu_resources.md")
    parser.add_argument("--cases", type=json.loads, help="compile these only")
    options = parser.parse_args()
    if options.cases is not None:
        print(json.dumps([KINDS.get(case[0], random_numbers)(*case) for case in options.cases]))
        return
    if shutil.which("nvcc") is None:
        parser.error("nvcc is not on the PATH: it compiles the loops (a CUDA toolkit has it)")
    tables = (table_of_loops(), table_of_maps(), table_of_filters(), table_of_random_numbers())
    if options.write:
        write(*tables)


if __name__ == "__main__":
    main()
