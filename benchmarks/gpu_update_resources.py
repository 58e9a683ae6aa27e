"""What the kernels around the loops need on sm_90, compiled without one: ``python benchmarks/gpu_update_resources.py``.

Figures as those of `gpu_resources.py`, of the kernels of `core.gpu`: sequences, read-out, flat gradients, and the step
of each optimiser, whose kernel is compiled from its formula. --write makes docs/results/gpu_update_resources.md;
--cases takes cases as JSON, lists of arguments of `figures`, and prints their figures as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import triton
from gpu_resources import POINTERS, TARGET, programs, row_of, said_of
from triton.compiler import ASTSource

from rnnsweep.core.gpu import gathering, read_outs, sequences, steps, symbols
from rnnsweep.core.gpu.formulas import kernel_of
from rnnsweep.core.losses import FUSED
from rnnsweep.core.optimizers.adagrad import Adagrad
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.optimizers.base import EntrywiseOptimizer
from rnnsweep.core.optimizers.rmsprop import RmsProp
from rnnsweep.core.optimizers.sgd import Sgd

PAGE = Path(__file__).resolve().parents[1] / "docs/results/gpu_update_resources.md"
OPTIMIZERS: dict[str, EntrywiseOptimizer] = {
    "sgd": Sgd(),
    "nesterov": Sgd(nesterov=True),
    "adam": Adam(),
    "rmsprop": RmsProp(),
    "rmsprop_inside": RmsProp(epsilon_inside=True),
    "adagrad": Adagrad(),
}
ENTRIES, BATCH, HIDDEN = 11136, 10, 100
"""Of a row of the unit: entries of its parameters, sequences, hidden units."""
WHOLE = (
    "keys",
    "ids",
    "batch_ids",
    "table",
    "lengths",
    "positions",
    "classes",
    "step",
    "taken",
    "until",
    "diverged_at",
)
BYTES = ("status", "seen", "admitted")
TALLY = ("losses", "lost", "norms", "normed", "bad", "share", "shared", "clipped", "limited")
NUMBERS = (
    "of_length", "of_more", "of_place", "of_symbol", "of_filling", "low", "longest", "sequences", "T", "B", "N",
    "M", "own_row", "own_step", "own_item", "entries", "width", "span", "kinds", "lead", "h_row", "w_row", "bias_row",
)  # fmt: skip
TOGETHER = {"SEQUENCES": sequences._ACROSS, "BLOCKS": sequences._BLOCKS}


def compiled(kernel: Any, dtype: str, fixed: dict[str, Any], warps: int, given: dict[str, Any] | None = None) -> Any:
    """Figures of a kernel; `given`: types of arguments that its names do not tell."""
    names, types = kernel.arg_names, given or {}
    # what a launch finds out by itself: which arguments are known when it compiles, by their annotations
    if {one.name for one in kernel.params if one.is_constexpr} != {one for one in fixed if one.isupper()}:
        raise RuntimeError(f"{kernel.__name__} is annotated otherwise than it is launched: {fixed}")
    signature = {name: "constexpr" if name in fixed else types.get(name) or type_of(name, dtype) for name in names}
    source = ASTSource(
        kernel, signature, {(names.index(name),): value for name, value in fixed.items()}, aligned(signature)
    )
    told = io.StringIO()
    # A cache of its own: what was compiled before is not assembled again, and the assembler would say nothing.
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(triton.knobs.cache, "dir", folder),
        mock.patch.object(triton.knobs.nvidia, "dump_ptxas_log", True),
        contextlib.redirect_stdout(told),
    ):
        binary = triton.compile(source, target=TARGET, options={"num_warps": warps, "enable_fp_fusion": False})
    found = {**said_of(told.getvalue()), "shared": binary.metadata.shared, "warps": warps}
    return found | {"programs": programs(found)}


def type_of(name: str, dtype: str) -> str:
    kinds = {**dict.fromkeys(WHOLE, "*i64"), **dict.fromkeys(BYTES, "*i8"), **dict.fromkeys(TALLY, "*fp64")}
    return (kinds | dict.fromkeys(NUMBERS, "i32")).get(name, POINTERS[dtype])


def aligned(signature: dict[str, Any]) -> dict[tuple[int, ...], list[list[Any]]]:
    """What Triton finds out about arguments: memory begins at multiples of 16, and rows are as long."""
    places: list[tuple[int, ...]] = []
    for place, (name, kind) in enumerate(signature.items()):
        if isinstance(kind, tuple):
            places += [(place, inner) for inner, one in enumerate(kind) if one.startswith("*")]
        elif kind.startswith("*") or name == "N":
            places.append((place,))
    return {place: [["tt.divisibility", 16]] for place in places}


def step(dtype: str, optimizer: str, entries: int = ENTRIES, decays: bool = False) -> dict[str, int]:
    unit, pointer = OPTIMIZERS[optimizer], POINTERS[dtype]
    block, warps = steps.cut_of(entries, 4 if dtype == "float32" else 8)
    fixed = {"DIVERGES": False, "BLOCK": block} | ({} if decays else {"rate": None, "weight": None, "admitted": None})
    many = {"slots": (pointer,) * len(unit.slots), "own": (pointer,) * len(unit.formula.hypers)}
    kernel = kernel_of(steps.step_kernel, steps._moved, unit.formula.step)
    return compiled(kernel, dtype, fixed, warps, many)


def propose(dtype: str, optimizer: str, entries: int = ENTRIES) -> dict[str, int]:
    unit, pointer = OPTIMIZERS[optimizer], POINTERS[dtype]
    block, warps = steps.cut_of(entries, 4 if dtype == "float32" else 8)
    many = {"slots": (pointer,) * len(unit.slots), "own": (pointer,) * len(unit.formula.hypers)}
    kernel = kernel_of(steps.propose_kernel, steps._moved, unit.formula.step)
    return compiled(kernel, dtype, {"BLOCK": block, "rate": None, "weight": None}, warps, many)


def gather(dtype: str, parts: int) -> dict[str, int]:
    many = {"parts": (POINTERS[dtype],) * parts, "sizes": ("i32",) * parts}
    many |= dict.fromkeys(("begins", "firsts"), ("i32",) * (parts + 1))
    return compiled(gathering.gather_kernel, dtype, {"BLOCK": gathering.BLOCK}, gathering.WARPS, many)


def read_out(dtype: str, loss: str, H: int, O: int) -> dict[str, int]:  # noqa: E741
    warps = read_outs.warps_of(BATCH, H, O, 4 if dtype == "float32" else 8)
    sizes = {"H": H, "O": O, "LOSS": loss, **read_outs.sizes_of(BATCH, H, O)}
    targets = {"targets": "*i64"} if loss == "classes" else {}
    return compiled(read_outs.read_out_kernel, dtype, sizes, warps, targets)


def score(dtype: str, loss: str, O: int) -> dict[str, int]:  # noqa: E741
    sizes = {"O": O, "LOSS": loss, **read_outs.score_sizes(O, 4 if dtype == "float32" else 8)}
    targets = {"targets": "*i64"} if loss == "classes" else {}
    return compiled(read_outs.score_kernel, dtype, sizes, read_outs.SCORE_WARPS, targets)


def place(dtype: str, prolonged: bool) -> dict[str, int]:
    sizes = {"M": 2, "PROLONGED": prolonged, "SEQUENCES": sequences._TOGETHER}
    return compiled(sequences.place_kernel, dtype, sizes, sequences.WARPS)


def order(dtype: str, bits: int, tokens: bool) -> dict[str, int]:
    sizes = {"M": bits, "KINDS": 4, "SHIFT": 30, "WIDTH": 8, "TOKENS": tokens, **TOGETHER}
    return compiled(sequences.order_kernel, dtype, sizes, sequences.WARPS, {"inputs": "*i64"} if tokens else None)


def marked(dtype: str, signed: bool) -> dict[str, int]:
    return compiled(sequences.marked_kernel, dtype, {"M": 2, "SIGNED": signed, **TOGETHER}, sequences.WARPS)


def hot(dtype: str, width: int) -> dict[str, int]:
    given = {"codes": "*i64", "own": "*i8"}
    return compiled(symbols.hot_kernel, dtype, symbols.sizes_of(width), symbols.WARPS, given)


def recall(dtype: str, kinds: int, tokens: bool) -> dict[str, int]:
    fixed = {"TOKENS": tokens, **symbols.sizes_of(1 if tokens else kinds + 2)}
    given = {"pattern": "*i64", "targets": "*i64"} | ({"inputs": "*i64"} if tokens else {})
    return compiled(symbols.recall_kernel, dtype, fixed, symbols.WARPS, given)


KERNELS = {
    kernel.__name__: kernel for kernel in (step, propose, gather, read_out, score, place, order, marked, hot, recall)
}
CASES: list[tuple[Any, ...]] = [
    *(("step", dtype, name) for name in OPTIMIZERS for dtype in ("float32", "float64")),
    ("step", "float32", "sgd", ENTRIES, True),
    ("step", "float32", "adam", 200),
    *(("propose", dtype, name) for name in ("sgd", "adam") for dtype in ("float32", "float64")),
    *(("gather", dtype, 6) for dtype in ("float32", "float64")),
    *(("read_out", "float32", loss, HIDDEN, 4) for loss in FUSED.values()),
    ("read_out", "float64", "classes", HIDDEN, 4),
    ("read_out", "float32", "classes", 256, 10),
    *(("score", dtype, "classes", 9) for dtype in ("float32", "float64")),
    ("score", "float32", "classes", 1000),
    ("score", "float32", "binary", 88),
    ("score", "float32", "squared", 1),
    ("place", "int64", True),
    ("order", "float32", 2, False),
    ("order", "float32", 2, True),
    ("order", "float64", 3, False),
    ("marked", "float32", True),
    ("marked", "float64", False),
    ("hot", "float32", 6),
    ("hot", "float32", 1000),
    ("recall", "float32", 8, False),
    ("recall", "int64", 8, True),
]


def figures(name: str, *arguments: Any) -> dict[str, int]:
    return KERNELS[name](*arguments)


def table() -> list[str]:
    lines = ["| kernel | type | of | registers | spilled, bytes | shared, KB | warps | programs |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name, dtype, *more in CASES:
        lines.append(row_of([name, dtype, ", ".join(map(str, more))], figures(name, dtype, *more)))
        print(lines[-1], flush=True)
    return lines


def write(lines: list[str]) -> None:
    text = [
        "# GPU resources of an update's other kernels",
        "",
        "Made by `python benchmarks/gpu_update_resources.py --write`: as [GPU resources](gpu_resources.md), of kernels",
        f"that make sequences, read out, and take the step (`core.gpu`), by triton {triton.__version__}.",
        f"B = {BATCH}; *of*: the optimiser (rows of {ENTRIES} entries, or so many; whether it decays); number of",
        "parts; loss, units, outputs; whether lengths are prolonged; symbols, and whether as codes; whether signed.",
        "",
        *lines,
    ]
    PAGE.write_text("\n".join(text) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/results/gpu_update_resources.md")
    parser.add_argument("--cases", type=json.loads, help="compile these only")
    options = parser.parse_args()
    if options.cases is not None:
        print(json.dumps([figures(*case) for case in options.cases]))
        return
    lines = table()
    if options.write:
        write(lines)


if __name__ == "__main__":
    main()
