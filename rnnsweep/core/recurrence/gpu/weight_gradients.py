"""Gradients of a loop's weights: sums over all steps and samples of [states, inputs, 1] times the errors of x."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from jaxtyping import Bool, Float
from torch import Tensor

from rnnsweep.core.recurrence.gpu import compiling, layout
from rnnsweep.core.recurrence.gpu.layout import SHARED_BYTES
from rnnsweep.core.recurrence.gpu.source import program

_INNER = 32
_STAGES = 3
_MOST_ROWS = 16
_MOST_COLUMNS = 13
_MOST_PARTS = 2
_MOST_THREADS = 256


@dataclass(frozen=True)
class WantedWeights:
    """Of which weights: the first R entries of the states, the first N of the errors, and the bias."""

    R: int
    N: int
    bias: bool = False


@dataclass(frozen=True)
class Weighted:
    """Sums in which each sample has a weight.

    Attributes:
        weights: of the samples. rows: that are summed at all; the others' sums are 0.
    """

    weights: Float[Tensor, "P T B"]
    rows: Bool[Tensor, " P"]


@dataclass(frozen=True)
class SizedGradients:
    """A kernel's source and what it is launched with: tiles of columns and of rows, threads, bytes of shared memory."""

    source: str
    grid: tuple[int, int]
    threads: int
    shared: int


def weight_gradients(
    states: Float[Tensor, "P T1 B S"],
    inputs: Float[Tensor, "P T B I"] | None,
    errors: Float[Tensor, "P T B X"],
    wanted: WantedWeights,
    weighted: Weighted | None = None,
) -> tuple[Float[Tensor, "P R N"], Float[Tensor, "P I N"] | None, Float[Tensor, "P N"] | None]:
    """(Of w_rec, of w_in where inputs are given, of the bias where it is wanted).

    Numerics:
        Sums in the order of the samples; of few weights every second one by itself. Tiles, which are smaller where rows
        are few, change no sum.
    """
    P, T, B, X = errors.shape
    I, R, N = 0 if inputs is None else inputs.shape[-1], wanted.R, wanted.N  # noqa: E741
    left, right = (R, states.shape[-1]), (N, X)
    tiles = -(-layout.MULTIPROCESSORS // P)
    sized = sized_for(left, I, right, errors.element_size(), tiles, bias=wanted.bias, weighted=weighted is not None)
    dw_rec = errors.new_empty(P, R, N)
    dw_in, dbias = None if inputs is None else errors.new_empty(P, I, N), None
    if wanted.bias:
        dbias = errors.new_empty(P, N)
    weights, rows = (None, None) if weighted is None else (weighted.weights, weighted.rows)
    tensors = (states, inputs, errors, weights, rows, dw_rec, dw_in, dbias)
    launch = compiling.kernel("weight_gradients", sized.source, errors.device)
    across, deep = sized.grid
    launch((P * across, deep), sized.threads, sized.shared, (*map(compiling.address, tensors), T * B, states.stride(0)))
    return dw_rec, dw_in, dbias


@lru_cache(maxsize=256)
def sized_for(  # noqa: PLR0913
    left: tuple[int, int],
    I: int,  # noqa: E741
    right: tuple[int, int],
    itemsize: int,
    tiles: int = 1,
    *,
    bias: bool,
    weighted: bool = False,
) -> SizedGradients:
    """The kernel for such sizes: `left` (R, S), `right` (N, X), see `weight_gradients`; in so many tiles if it can."""
    (R, S), (N, X) = left, right
    rows, columns = -(-(R + I + int(bias)) // 8), -(-N // 8)
    parts = max(1, min(_MOST_PARTS, _MOST_THREADS // (rows * columns)))
    deep, across = -(-rows // _MOST_ROWS), -(-columns // _MOST_COLUMNS)
    across = max(across, min(math.isqrt(tiles), columns))
    deep = max(deep, min(-(-tiles // across), rows))
    row_groups, column_groups = -(-rows // deep), -(-columns // across)
    groups = row_groups * column_groups
    threads = -(-groups * parts // 32) * 32
    stage = _INNER * (8 * (row_groups + column_groups) + int(weighted))
    shared = itemsize * max(_STAGES * stage, (parts - 1) * 8 * groups)
    # Sums take half of a thread's registers; of float64 they take them all.
    programs = max(1, min(SHARED_BYTES // (shared + 1024), 512 * 4 // itemsize // threads))
    wide = (R % 4 == S % 4 == 0, N % 4 == X % 4 == 0) if itemsize == 4 else (R % 2 == S % 2 == 0, N % 2 == X % 2 == 0)
    lane = 16 // itemsize
    constants = {
        "R": R, "LEFT": S, "I": I, "BIASED": int(bias), "N": N, "RIGHT": X, "ROW_GROUPS": row_groups,
        "COLUMN_GROUPS": column_groups, "PARTS": parts, "THREADS": threads, "INNER": _INNER, "STAGES": _STAGES,
        "LEFT_WIDE": lane if wide[0] else 1, "RIGHT_WIDE": lane if wide[1] else 1, "PROGRAMS": programs,
        "WEIGHTED": int(weighted), "ACROSS": across,
    }  # fmt: skip
    return SizedGradients(program("weight_gradients", itemsize, constants), (across, deep), threads, shared)
