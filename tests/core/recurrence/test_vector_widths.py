"""Elementwise loops in full vectors and in half ones: the same bits, whatever is left at the end of a row."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from rnnsweep.core.recurrence.cpu import host
from rnnsweep.core.recurrence.cpu.emit import formulas
from rnnsweep.core.recurrence.cpu.emit.cell_steps import CellPull, CellStep, cell_pull, cell_step
from rnnsweep.core.recurrence.cpu.emit.gates import GruStep, LstmPull, LstmStep, gru_step, lstm_pull, lstm_step
from rnnsweep.core.recurrence.cpu.emit.recursions import FilterStep, filter_step
from rnnsweep.core.recurrence.cpu.emit.vectors import (
    LEAKY,
    PLAIN,
    SLOPE,
    MatrixActivation,
    PullBack,
    Sum,
    activate,
    combine,
    pull,
)
from rnnsweep.core.recurrence.known_formulas import FORMULAS

ROOM, WIDE = 4096, 3 * 40
"""Numbers of an array, more than any loop here reaches; numbers of a padded matrix of three rows."""
HIDDEN = (37, 16, 5)
"""H: full vectors and an odd rest, full ones only, less than one."""


@numba.njit
def run_padded(zero: Any, code: int, mode: int, places: Any, units: int) -> None:
    a, b, c, d, factor = places[:5]
    matrix = MatrixActivation(
        code=code, mode=mode, h=a, before=b, slope=c, bias=b, leak=factor, rows=3, vectors=units // 3
    )  # fmt: skip
    activate(zero, matrix)
    stored = 1 if mode != 0 else 0
    pull(zero, PullBack(code=code, stored=stored, delta=d, g=b, source=c if stored else a, leak=factor, count=units))
    combine(zero, Sum(out=b, factor=factor, x=a, y=d, count=units))


@numba.njit
def run_gates(zero: Any, places: Any, H: int) -> None:
    a, b, c, d, e, f, g, h = places
    lstm_step(zero, LstmStep(gates=a, wide=160, before=b, after=c, state=80, kept=d, keep=200, samples=3, H=H))
    lstm_pull(
        zero,
        LstmPull(kept=d, keep=200, before=b, state=80, gh=e, gc=f, plane=80, delta=g, shown=1, samples=3, H=H),
    )
    gru_step(zero, GruStep(gates=a, inner=e, drive=f, wide=160, before=b, after=h, kept=d, keep=200, samples=3, H=H))


@numba.njit
def run_filter(zero: Any, places: Any, adaptive: int, H: int) -> None:
    a, b, c, d, e, f, g, h = places
    step = FilterStep(
        z=a, v=b, m=c, plane=80, drive=d, after=e, kept=f * adaptive, decay=g, beta=h, apart=1, scale=g, samples=3, G=H
    )  # fmt: skip
    filter_step(zero, step)


@numba.njit
def run_cell(zero: Any, code: int, places: Any, begins: int, H: int) -> None:
    a, b, c, d, e, f, g, h = places
    step = CellStep(
        code=code, x=a, wide=400, q=b, plane=80, before=c, after=d, kept=e, own=f, t=1, begins=begins, samples=3, U=H
    )  # fmt: skip
    cell_step(zero, step)
    pulled = CellPull(
        code=code, kept=e, before=c, after=c, g=d, plane=400, dx=a, dq=g, read=h, around=80, own=f, down=b, t=1,
        begins=begins, samples=3, U=H,
    )  # fmt: skip
    cell_pull(zero, pulled)


def fresh(dtype: type, low: float = -2.0) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """Eight arrays, and their addresses."""
    arrays = [np.random.default_rng(n).uniform(low, 0.9, ROOM).astype(dtype) for n in range(8)]
    return arrays, tuple(array.ctypes.data for array in arrays)


def checksum(arrays: list[np.ndarray]) -> int:
    return zlib.crc32(b"".join(array.tobytes() for array in arrays))


def padded_matrices(dtype: type) -> dict[str, int]:
    """Every activation's loops."""
    found = {}
    for code, mode in itertools.product(range(len(formulas.CODES)), (PLAIN, SLOPE, LEAKY)):
        if mode != PLAIN or formulas.CODES[code] in formulas.FROM_OUTPUT:
            arrays, places = fresh(dtype)
            run_padded(dtype(0), code, mode, places, WIDE * np.dtype(dtype).itemsize // host.UNIT_BYTES)
            found[f"{formulas.CODES[code]} {mode} {dtype}"] = checksum(arrays)
    return found


def blocks(dtype: type, H: int) -> dict[str, int]:
    """Gates, filters and every described cell."""
    found, begins = {}, np.array([0, 2, 1])
    arrays, places = fresh(dtype)
    run_gates(dtype(0), places, H)
    found[f"gates {H} {dtype}"] = checksum(arrays)
    for adaptive in (0, 1):
        arrays, places = fresh(dtype, 0.1)
        run_filter(dtype(0), places, adaptive, H)
        found[f"filter {adaptive} {H} {dtype}"] = checksum(arrays)
    for code, one in enumerate(FORMULAS):
        arrays, places = fresh(dtype, 0.1)
        run_cell(dtype(0), code, places, begins.ctypes.data, H)
        found[f"{one.__name__} {H} {dtype}"] = checksum(arrays)
    return found


def ran() -> dict[str, int]:
    """A checksum of every loop's results."""
    found: dict[str, int] = {}
    for dtype in (np.float32, np.float64):
        found |= padded_matrices(dtype)
        for H in HIDDEN:
            found |= blocks(dtype, H)
    return found


@pytest.mark.skipif(host.VECTOR_BYTES != 64, reason="vectors of this CPU are units themselves")
def test_results_are_those_of_half_the_width() -> None:
    code = f"import json; from {__name__} import ran; print(json.dumps(ran()))"
    found = []
    for width in ("64", "32"):
        run = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "RNNSWEEP_VECTOR_BYTES": width}, check=True,
            capture_output=True, text=True, timeout=600, cwd=Path(__file__).parents[3],
        )  # fmt: skip
        found.append(json.loads(run.stdout.splitlines()[-1]))
    assert len(found[0]) > 100
    assert found[0] == found[1]
