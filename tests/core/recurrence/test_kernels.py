"""Memory maps of the kernels are drawn true, and their arguments are given by name."""

from __future__ import annotations

import ast
import importlib
import math
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from numba.core.errors import TypingError

from rnnsweep.core.recurrence.cpu import compiling
from rnnsweep.core.recurrence.cpu.compiling import part
from rnnsweep.core.recurrence.cpu.emit.sums import Reduction, RowSquares
from rnnsweep.core.recurrence.cpu.emit.vectors import Multiple, scale
from rnnsweep.core.recurrence.cpu.engine.dispatch import width_of

KERNELS = "rnnsweep.core.recurrence.cpu.kernels"
FOLDER = Path(compiling.__file__).parent
JOB = SimpleNamespace(
    T=9, B=5, H=7, I=3, K=6, M=7, N=7, G=7, S=14, X=21, A=14, D=7, R=13, chunk=4, w_in=1, dw_in=1, each=1, kind=0,
    term=SimpleNamespace(kind=1),
)  # fmt: skip
MAPS = {
    "matrices": ("Outer", "Matmul"),
    "inverses": ("Inverse", "CayleyBack"),
    "forward": ("Forward",),
    "backward": ("Backward",),
    "beside": ("Term",),
    "drive_filters": ("Filter", "FilterBack"),
    "tangent": ("Tangent",),
    "gated_forward": ("GatedForward",),
    "gated_backward": ("GatedBackward",),
    "cell_forward": ("CellForward",),
    "cell_backward": ("CellBackward",),
}
LINE = re.compile(r"^ {4}(\w+(?:, \w+)*) +\[([^\]]+)\]", re.MULTILINE)


def widths(module: str, size: int) -> list[int]:
    dtype = torch.float32 if size == 4 else torch.float64
    if module == "gated_forward":
        return [width_of(4 * JOB.H, dtype)]
    if module == "gated_backward":
        return [width_of(columns, dtype) for columns in (JOB.H, 4 * JOB.H, 4 * JOB.H)]
    if module == "cell_forward":
        return [width_of(columns, dtype) for columns in (JOB.A, JOB.X - JOB.A, JOB.N)]
    if module == "cell_backward":
        return [width_of(columns, dtype) for columns in (JOB.S, JOB.A, JOB.D, JOB.R, JOB.N)]
    return [width_of(JOB.H, dtype)]


def drawn_bytes(text: str, module: str, size: int) -> int:
    """Bytes of a block as its line in the docstring draws them, such as `2 H, W` or `64 bytes`."""
    if text.endswith(" bytes"):
        return math.prod(int(vars(JOB).get(factor, factor)) for factor in text.split()[:-1])
    dtype = torch.float32 if size == 4 else torch.float64
    of_cell = module.startswith("cell")
    A = JOB.A if of_cell else 4 * JOB.H
    named = (("A", A), ("4 H", 4 * JOB.H), ("X - A", JOB.X - JOB.A))
    padded = {f"padded {name}": width_of(n, dtype) for name, n in named}
    padded |= {f"padded {name}": width_of(getattr(JOB, name), dtype) for name in "SXDRN"}
    W = padded["padded A"] + padded["padded X - A"] if of_cell else widths(module, size)[0]
    sizes = {**vars(JOB), "W": W, "A": A, "BLOCK": 96, "SIDE": 16}
    sizes["V"] = width_of(JOB.N, dtype)

    def count(factor: str) -> int:
        if factor in padded:
            return padded[factor]
        return sum(math.prod(int(sizes.get(n, n)) for n in term.split()) for term in factor.split(" + "))

    return math.prod(count(factor) for factor in text.split(", ")) * size


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in MAPS.items() for name in names])
def test_the_drawn_map_is_the_one_in_force(module: str, name: str, size: int) -> None:
    """Blocks follow each other without a gap or an overlap, as long as drawn, from the start to `end`."""
    kernels = importlib.import_module(f"{KERNELS}.{module}")
    kind = getattr(kernels, f"{name}Scratch")
    lay = getattr(kernels, re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() + "_scratch")
    here = lay(1024, size, *widths(module, size), JOB)
    place, named = 1024, []
    for names, shape in LINE.findall(kind.__doc__):
        first, *others = names.split(", ")
        assert getattr(here, first) == place, first
        for index, other in enumerate(others, 1):
            assert getattr(here, other) == place + index * size, other
        place += drawn_bytes(shape, module, size)
        named += [first, *others]
    if name == "Backward":
        assert here.room.sums == place
        named, place = [*named, "room"], here.room.end
    assert (*named, "end") == kind._fields
    assert here.end == place


def trees() -> list[tuple[str, ast.Module]]:
    return [(path.name, ast.parse(path.read_text())) for path in sorted((FOLDER / "kernels").glob("*.py"))]


def parameters(tree: ast.Module) -> dict[str, list[str]]:
    """Names of the parameters of a module's functions."""
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return {function.name: [argument.arg for argument in function.args.args] for function in functions}


def named_tuples() -> set[str]:
    """Names of the named tuples that kernels and intrinsics take."""
    names = set()
    for path in (*(FOLDER / "kernels").glob("*.py"), *(FOLDER / "emit").glob("*.py")):
        classes = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef))
        names |= {node.name for node in classes if any(getattr(base, "id", "") == "NamedTuple" for base in node.bases)}
    return names


def by_position(call: ast.Call, parameters: list[str]) -> list[str]:
    """Parameters that get something by position which is not called as they are."""
    given = [argument.id if isinstance(argument, ast.Name) else "" for argument in call.args]
    return [name for own, name in zip(given, parameters, strict=False) if own != name]


def test_named_tuples_and_pieces_get_their_arguments_by_name() -> None:
    """Addresses and sizes are all whole numbers: by position a swapped pair would be silent.

    By position goes what has the name of its parameter, and one thing beside it.
    """
    tuples, shared, checked = named_tuples(), {}, 0
    for _, tree in trees():
        shared |= {name: given for name, given in parameters(tree).items() if not name.startswith("_")}
    for file, tree in trees():
        pieces = shared | parameters(tree)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            name = getattr(call.func, "id", "")
            checked += name in tuples or name in pieces
            assert name not in tuples or not call.args, f"{file}:{call.lineno}: {name} by position"
            loose = by_position(call, pieces.get(name, []))
            assert len(loose) <= 1, f"{file}:{call.lineno}: {name}: {loose} by position"
    assert checked > 150, "the test looks at nothing"


def test_an_intrinsic_refuses_another_tuple_when_its_kernel_compiles() -> None:
    @part
    def swapped(zero: Any, at: int) -> None:
        scale(zero, RowSquares(out=at, x=at, rows=1, vectors=1))

    with pytest.raises(TypingError, match="takes Multiple"):
        swapped(1.0, 0)
    assert len(Multiple._fields) == len(RowSquares._fields), "else the length alone would tell"
    assert Multiple._fields[0] == Reduction._fields[0]


def test_every_source_of_compiled_code_is_in_the_cache_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {os.path.relpath(path, FOLDER) for path in compiling.sources()}
    assert "../step_formulas.py" in names, "kernels are made of the cells' formulas"
    assert {"host.py", "compiling.py", "emit/vector.py", "kernels/backward.py"} <= names
    assert not any(name.startswith("engine/") for name in names)
    compiled = re.compile(r"^@(?:kernel|part|inlined|intrinsic)\b", re.MULTILINE)
    for path in FOLDER.rglob("*.py"):
        if compiled.search(path.read_text()):
            assert path in compiling.sources(), path
    before = compiling._sources_checksum()
    edited = FOLDER / "emit" / "formulas.py"
    true = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: true(path) + (b"#" if path == edited else b""))
    assert compiling._sources_checksum() != before
