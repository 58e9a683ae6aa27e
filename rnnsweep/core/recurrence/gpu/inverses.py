"""Inverses of matrices whose symmetric part is positive definite, a program per row: see `cpu.kernels.inverses`.

The matrix lies in memory, where the caches hold it, and goes back and forth between two buffers: a step reads one and
writes the other, so that no thread overwrites what another has still to read.

Shapes: P rows · N size of a matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

SIDE = 16
"""Columns that are eliminated at once: the least that `tl.dot` takes."""
LIMITS = {torch.float32: 64.0, torch.float64: 4096.0}
"""Growth up to which a pivot outside of its diagonal block is not looked for; as `cpu.engine.skew_inverses.LIMITS`."""


class Cut(NamedTuple):
    """Tiles in which a program goes over its matrix, powers of two; a function of N and the type only.

    Attributes:
        rows, columns: of a tile. units: N rounded up. warps: of 32 threads.
    """

    rows: int
    columns: int
    units: int
    warps: int

    @classmethod
    def of(cls, N: int, dtype: torch.dtype) -> Cut:
        """For [N, N] matrices of this type."""
        units = max(SIDE, 1 << (N - 1).bit_length())
        # Two tiles across at least: a loop of one turn is taken apart, and what is then kept for it spills registers.
        # The rest is what compiling for sm_90 found not to spill, see docs/results/gpu_resources.md.
        columns = min(max(units // 2, SIDE), 32 if units <= 128 and dtype == torch.float32 else 64)
        rows = min(units, 256 // dtype.itemsize)
        return cls(rows, columns, units, warps=4 if units > SIDE else 1)


@triton.jit
def _block_inverse(d, SIDE: tl.constexpr):
    """d^-1 of [SIDE, SIDE], with partial pivoting.

    Rows stay where they are. `places` says which row each column found its pivot in: Q[k, r_k] = 1. What elimination
    leaves, in place, is M with d^-1 = Q M Q.
    """
    n = tl.arange(0, SIDE)
    row_of, column_of = n[:, None], n[None, :]
    used = n < 0
    places = tl.zeros((SIDE, SIDE), d.dtype)
    for k in range(0, SIDE):
        column = tl.sum(tl.where(column_of == k, d, 0.0), 1)
        r = tl.argmax(tl.where(used, -1.0, tl.abs(column)), 0)
        row = tl.sum(tl.where(row_of == r, d, 0.0), 0)
        row = tl.where(n == k, 1.0, row) / tl.sum(tl.where(n == k, row, 0.0), 0)
        rest = tl.where(column_of == k, 0.0, d) - column[:, None] * row[None, :]
        d = tl.where(row_of == r, row[None, :], rest)
        used = used | (n == r)
        places = tl.where((row_of == k) & (column_of == r), 1.0, places)
    half = tl.dot(places, d, input_precision="ieee", out_dtype=d.dtype)
    return tl.dot(half, places, input_precision="ieee", out_dtype=d.dtype)


@triton.jit
def _diagonal_block(x, block, N: tl.constexpr):
    """A block on the diagonal, with the identity beyond the matrix."""
    inside = (block < N)[:, None] & (block < N)[None, :]
    d = tl.load(x + block[:, None] * N + block[None, :], mask=inside, other=0.0)
    same = block[:, None] == block[None, :]
    return tl.where(same & (block >= N)[:, None], 1.0, d), same


@triton.jit
def _pivot_rows(old, new, block, first, inverse, N: tl.constexpr, COLUMNS: tl.constexpr):  # noqa: PLR0913
    """The block's rows: d^-1 times what they were, and d^-1 itself in its own columns."""
    for left in range(0, N, COLUMNS):
        j = left + tl.arange(0, COLUMNS)
        at = block[:, None] * N + j[None, :]
        inside = (block < N)[:, None] & (j < N)[None, :]
        rows = tl.load(old + at, mask=inside, other=0.0)
        own = (j >= first) & (j < first + block.shape[0])
        rows = tl.where(own[None, :], (block[:, None] == j[None, :]).to(rows.dtype), rows)
        made = tl.dot(inverse, rows, input_precision="ieee", out_dtype=rows.dtype)
        tl.store(new + at, made, mask=inside)


@triton.jit
def _other_rows(old, new, block, first, N: tl.constexpr, SIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # noqa: PLR0913
    """All other rows: minus their share of the pivot rows, which stand in `new`."""
    for top in range(0, N, ROWS):
        i = top + tl.arange(0, ROWS)
        some = (i < N)[:, None]
        factor = tl.load(old + i[:, None] * N + block[None, :], mask=some & (block < N)[None, :], other=0.0)
        others = some & ((i < first) | (i >= first + SIDE))[:, None]
        for left in range(0, N, COLUMNS):
            j = left + tl.arange(0, COLUMNS)
            at = i[:, None] * N + j[None, :]
            # In the columns of the block the inverse takes the place of zeros.
            kept = ((j < first) | (j >= first + SIDE)) & (j < N)
            rest = tl.load(old + at, mask=some & kept[None, :], other=0.0)
            inside = (block < N)[:, None] & (j < N)[None, :]
            pivots = tl.load(new + block[:, None] * N + j[None, :], mask=inside, other=0.0)
            made = tl.dot(-factor, pivots, rest, input_precision="ieee", out_dtype=rest.dtype)
            tl.store(new + at, made, mask=others & (j < N)[None, :])


@triton.jit
def inverse_kernel(  # noqa: PLR0913
    x, out, spare, grown,
    N: tl.constexpr, LIMIT: tl.constexpr, SIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Writes `out` = x^-1 [P, N, N] and `grown` [P], how many entries of the diagonal were not within LIMIT.

    Gauss-Jordan elimination by blocks of SIDE columns, each by its block on the diagonal; `spare` [P, N, N] is room.
    """
    row = tl.program_id(0).to(tl.int64)
    old = x + row * N * N
    # The result must end in `out`, after as many steps as there are blocks.
    if tl.cdiv(N, SIDE) % 2 == 1:
        new, next_ = out + row * N * N, spare + row * N * N
    else:
        new, next_ = spare + row * N * N, out + row * N * N
    beyond = 0
    for first in range(0, N, SIDE):
        block = first + tl.arange(0, SIDE)
        d, same = _diagonal_block(old, block, N)
        # Counted such that NaN counts.
        beyond += tl.sum(tl.where(same & (tl.abs(d) > LIMIT) | (d != d), 1, 0))
        _pivot_rows(old, new, block, first, _block_inverse(d, SIDE), N, COLUMNS)
        tl.debug_barrier()  # other threads read the pivot rows
        _other_rows(old, new, block, first, N, SIDE, ROWS, COLUMNS)
        tl.debug_barrier()
        old, new, next_ = new, next_, new
    tl.store(grown + row, beyond)


@triton.jit
def _eliminate(old, new, k, r, pivot, N: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # noqa: PLR0913
    """Column k by the pivot in row r: from `old` to `new`."""
    for top in range(0, N, ROWS):
        i = top + tl.arange(0, ROWS)
        factor = tl.load(old + i * N + k, mask=i < N, other=0.0)
        for left in range(0, N, COLUMNS):
            j = left + tl.arange(0, COLUMNS)
            inside = (i < N)[:, None] & (j < N)[None, :]
            row = tl.load(old + r * N + j, mask=j < N, other=0.0)
            row = tl.where(j == k, 1.0, row) / pivot
            at = i[:, None] * N + j[None, :]
            rest = tl.load(old + at, mask=inside & (j != k)[None, :], other=0.0)
            made = tl.where((i == r)[:, None], row[None, :], rest - factor[:, None] * row[None, :])
            tl.store(new + at, made, mask=inside)


@triton.jit
def _to_places(m, out, places, fine, N: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # noqa: PLR0913
    """out[k, r_j] = m[r_k, j]: as `_block_inverse` does; NaN where no pivot was found."""
    for top in range(0, N, ROWS):
        i = top + tl.arange(0, ROWS)
        from_row = tl.load(places + i, mask=(i < N) & fine, other=0)
        for left in range(0, N, COLUMNS):
            j = left + tl.arange(0, COLUMNS)
            inside = (i < N)[:, None] & (j < N)[None, :]
            found = tl.load(m + from_row[:, None] * N + j[None, :], mask=inside & fine, other=float("nan"))
            to_column = tl.where(fine, tl.load(places + j, mask=(j < N) & fine, other=0), j)
            tl.store(out + i[:, None] * N + to_column[None, :], found, mask=inside)


@triton.jit
def pivoted_kernel(  # noqa: PLR0913
    x, out, spare, places, grown,
    N: tl.constexpr, UNITS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Writes `out` = x^-1 [P, N, N] of the rows that have `grown`: column by column, with partial pivoting.

    `spare` [2, P, N, N] and `places` [P, N] are room. A matrix that is singular or not finite gives NaN.
    """
    row = tl.program_id(0).to(tl.int64)
    if tl.load(grown + row) > 0:
        n = tl.arange(0, UNITS)
        used = n >= N
        old, new = x + row * N * N, spare + row * N * N
        next_ = new + tl.num_programs(0).to(tl.int64) * N * N
        places += row * N
        k = 0
        end = N
        while k < end:
            column = tl.load(old + n * N + k, mask=n < N, other=0.0)
            r = tl.argmax(tl.where(used, -1.0, tl.abs(column)), 0)
            pivot = tl.load(old + r * N + k)
            total = tl.sum(tl.abs(column), 0)
            if (total - total == 0) & (pivot != 0):
                _eliminate(old, new, k, r, pivot, N, ROWS, COLUMNS)
                tl.store(places + k, r)
                k += 1
            else:
                end = -1
            tl.debug_barrier()
            used = used | (n == r)
            old, new, next_ = new, next_, new
        _to_places(old, out + row * N * N, places, end > 0, N, ROWS, COLUMNS)
