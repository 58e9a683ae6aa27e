"""What Triton's kernels need of an H100 or H200 (sm_90), compiled without one: ``python benchmarks/gpu_resources.py``.

Registers per thread, bytes spilled per thread, shared memory per program, and how many programs a multiprocessor holds
with them, for the loops at B = 10 and several H, types and products, for the maps of recurrent weights, and for the
kernel of random numbers. The compiler of the triton wheel makes them; nothing runs. --write makes
docs/results/gpu_resources.md; --cases takes cases as JSON, lists of arguments of `loop`, `weight_map` or
`random_numbers`, and prints their figures as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from rnnsweep.core import rng_gpu
from rnnsweep.core.recurrence.gpu import backward, forward, inverses, squarings, tangent
from rnnsweep.core.recurrence.gpu.tiling import Tiling, rounded

PAGE = Path(__file__).resolve().parents[1] / "docs/results/gpu_resources.md"
TARGET = GPUTarget("cuda", 90, 32)
POINTERS = {"float32": "*fp32", "float64": "*fp64", "int64": "*i64"}
WHOLE = ("lengths", "horizon", "exponents", "keys", "ids", "low", "high", "counts")
"""Tensors of int64, whatever the type of the others."""
HALF = ("grown", "places")
"""Tensors of int32."""
LOOPS = {
    "forward": (forward.forward_kernel, ("act_bias", "h0", "leak", "slopes")),
    "backward": (backward.backward_kernel, ("slopes", "steps", "leak", "dact", "dh0")),
    "tangent": (tangent.tangent_kernel, ("slopes", "total", "leak")),
}
"""Kernel of each loop, and what is absent for an SRN of tanh, loss at the end, with the trace that Omega reads."""
MAPS = {
    "inverse": inverses.inverse_kernel,
    "pivoted": inverses.pivoted_kernel,
    "squaring": squarings.squaring_kernel,
    "squaring_pullback": squarings.squaring_pullback_kernel,
    "power": squarings.power_kernel,
}
"""Kernels of the maps of recurrent weights."""
WIDTHS = (32, 64, 100, 128, 256)
MAP_WIDTHS = (20, 40, 64, 100, 128, 200, 256)
WAYS = (("float32", "ieee"), ("float32", "tf32x3"), ("float64", "ieee"))
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


def loop(  # noqa: PLR0913
    name: str, act: str, B: int, H: int, dtype: str, absent: tuple[str, ...] | None = None, precision: str = "ieee"
) -> dict[str, int]:
    """A loop's kernel, cut as the engine cuts it."""
    kernel, usual = LOOPS[name]
    absent = usual if absent is None else tuple(absent)
    cut = Tiling.of(B, H, getattr(torch, dtype), matrices=2 if name == "tangent" else 1)
    inner = H if "w_in" in absent else INPUTS
    sizes = {"H": H, "INPUTS": inner, "ACT": act, "INNER": rounded(inner), "PRECISION": precision}
    sizes |= {"BATCH": cut.batch, "UNITS": cut.units, "BLOCK": cut.block}
    return compiled(kernel, dtype, sizes | dict.fromkeys(absent), cut.warps, cut.stages)


def weight_map(name: str, dtype: str, N: int) -> dict[str, int]:
    """A kernel of the maps, for [N, N] matrices."""
    sizes: dict[str, Any] = {"N": N, "SIDE": inverses.SIDE, "DONE": 0, "UNTIL": 34}
    of_type = getattr(torch, dtype)
    cut: Any = inverses.Cut.of(N, of_type) if name in ("inverse", "pivoted") else squarings.Cut.of(N, of_type)
    sizes |= {key.upper(): value for key, value in cut._asdict().items()} | {"LIMIT": inverses.LIMITS[of_type]}
    return compiled(MAPS[name], dtype, sizes, cut.warps)


def random_numbers(what: str, dtype: str, n: int, bounds: bool = False) -> dict[str, int]:
    """The kernel of random numbers, for n words per sequence; `bounds` that are tensors."""
    tall, across = rng_gpu.tile_of(n)
    fixed: dict[str, Any] = {"MAP": what, "SEQUENCES": tall, "BLOCKS": across}
    return compiled(
        rng_gpu.philox_kernel, dtype, fixed | ({} if bounds else {"low": None, "high": None}), rng_gpu.WARPS
    )


def row_of(cells: list[object], found: dict[str, int]) -> str:
    figures = [found["registers"], found["spilled"], f"{found['shared'] / 1024:.1f}", found["warps"], found["programs"]]
    return "| " + " | ".join(map(str, [*cells, *figures])) + " |"


def table_of_loops() -> list[str]:
    lines = ["| loop | type | products | H | registers | spilled, bytes | shared, KB | warps | programs |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for name in LOOPS:
        for dtype, precision in WAYS:
            for H in WIDTHS:
                lines.append(row_of([name, dtype, precision, H], loop(name, "tanh", BATCH, H, dtype, None, precision)))
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
    """Which loops spill, and what the engine's own (float32, ieee) leave room for; from the lines of the table."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in loops[2:]]
    spill = [f"{', '.join(row[:3])}, H = {row[3]}: {row[5]} bytes" for row in rows if row[5] != "0"]
    fewest = min(int(row[-1]) for row in rows if row[1:3] == ["float32", "ieee"] and int(row[3]) <= 128)
    return [
        f"Of {len(rows)} loops {len(spill)} spill: {'; '.join(spill) or 'none'}.",
        "(Programs of 16 warps, H = 256, have 128 registers per thread at most.)",
        f"Up to H = 128 a multiprocessor holds at least {fewest} programs of each loop of the engine in float32.",
    ]


def write(loops: list[str], maps: list[str], numbers: list[str]) -> None:
    text = [
        "# GPU resources",
        "",
        "Made by `python benchmarks/gpu_resources.py --write`. Every Triton kernel, compiled for sm_90 (H100, H200) by",
        f"triton {triton.__version__} without a GPU: what the assembler says, not a timing. *Spilled* are bytes per",
        "thread that do not fit its registers; *programs* is how many a multiprocessor holds at once (65536 registers,",
        "227 KB of shared memory, 64 warps). `ieee` products are the engine's; `tf32x3` is there to be timed.",
        "",
        "## Loops",
        "",
        f"SRN of tanh, loss at the last step, {INPUTS} inputs, B = {BATCH}; H is padded to a power of two.",
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
        "## Random numbers",
        "",
        "One launch for each call of `Draws`; words of 2 (positions, symbols) and 100 steps (values) per sequence.",
        "",
        *numbers,
    ]
    PAGE.write_text("\n".join(text) + "\n", encoding="utf-8")


def of_case(case: list[Any]) -> dict[str, int]:
    """Figures of the arguments of `loop`, `weight_map` or `random_numbers`."""
    if case[0] in LOOPS:
        return loop(*case)
    return weight_map(*case) if case[0] in MAPS else random_numbers(*case)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/results/gpu_resources.md")
    parser.add_argument("--cases", type=json.loads, help="compile these only")
    options = parser.parse_args()
    if options.cases is not None:
        print(json.dumps([of_case(case) for case in options.cases]))
        return
    loops, maps, numbers = table_of_loops(), table_of_maps(), table_of_random_numbers()
    if options.write:
        write(loops, maps, numbers)


if __name__ == "__main__":
    main()
