"""Repeated squaring of matrices, each row as often as it needs, and its pull-back: a program per row.

Batched products of torch would square every row as often as any row may need: nobody can count on a device without
waiting for it. Here each program reads its own row's count.

Shapes: P rows · N size of a matrix · S most squarings.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from rnnsweep.core.gpu.powers import exponent_of, scaled

SMALLEST = 16
"""The least that `tl.dot` takes."""


class Cut(NamedTuple):
    """Tiles of a product, powers of two; a function of N and the type only.

    Attributes:
        rows, columns: of a tile of the result. inner: of the sum at once. warps: of 32 threads.
    """

    rows: int
    columns: int
    inner: int
    warps: int

    @classmethod
    def of(cls, N: int, dtype: torch.dtype) -> Cut:
        """For [N, N] matrices of this type."""
        units = max(SMALLEST, 1 << (N - 1).bit_length())
        side = min(max(units // 2, SMALLEST), 256 // dtype.itemsize)
        return cls(side, side, SMALLEST, warps=side * dtype.itemsize // 64)


@triton.jit
def _block(x, i, j, N: tl.constexpr, TURNED: tl.constexpr):
    """x[i, j], or x[j, i] where TURNED; zero beyond the matrix."""
    inside = (i < N)[:, None] & (j < N)[None, :]
    if TURNED:
        return tl.load(x + j[None, :] * N + i[:, None], mask=inside, other=0.0)
    else:
        return tl.load(x + i[:, None] * N + j[None, :], mask=inside, other=0.0)


@triton.jit
def _add_product(  # noqa: PLR0913
    total, left, right, i, j,
    N: tl.constexpr, INNER: tl.constexpr, LEFT_TURNED: tl.constexpr, RIGHT_TURNED: tl.constexpr,
):  # fmt: skip
    """`total` + (left x right)[i, j]."""
    for first in range(0, N, INNER):
        k = first + tl.arange(0, INNER)
        a, b = _block(left, i, k, N, LEFT_TURNED), _block(right, k, j, N, RIGHT_TURNED)
        total = tl.dot(a, b, total, input_precision="ieee", out_dtype=total.dtype)
    return total


@triton.jit
def _copy(x, out, N: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    for top in range(0, N, ROWS):
        i = top + tl.arange(0, ROWS)
        for left in range(0, N, COLUMNS):
            j = left + tl.arange(0, COLUMNS)
            inside = (i < N)[:, None] & (j < N)[None, :]
            at = i[:, None] * N + j[None, :]
            tl.store(out + at, tl.load(x + at, mask=inside, other=0.0), mask=inside)


@triton.jit
def squaring_kernel(  # noqa: PLR0913
    x, counts, powers, out,
    N: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    """Writes `out` = x^(2^count) [P, N, N] and `powers` [S, P, N, N], x^2, x^4, ... as far as the row's count goes."""
    row = tl.program_id(0).to(tl.int64) * N * N
    all_rows = tl.num_programs(0).to(tl.int64) * N * N
    old = x + row
    for done in range(0, tl.load(counts + tl.program_id(0)).to(tl.int32)):
        new = powers + done * all_rows + row
        for top in range(0, N, ROWS):
            i = top + tl.arange(0, ROWS)
            for left in range(0, N, COLUMNS):
                j = left + tl.arange(0, COLUMNS)
                total = tl.zeros((ROWS, COLUMNS), x.dtype.element_ty)
                total = _add_product(total, old, old, i, j, N, INNER, False, False)
                tl.store(new + i[:, None] * N + j[None, :], total, mask=(i < N)[:, None] & (j < N)[None, :])
        tl.debug_barrier()  # the product must be written before other threads read it
        old = new
    _copy(old, out + row, N, ROWS, COLUMNS)


@triton.jit
def squaring_pullback_kernel(  # noqa: PLR0913
    x, counts, powers, gradient, spare, out,
    N: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    """Writes `out` = dC/dx [P, N, N] of `gradient` = dC/d x^(2^count): G <- R^T G + G R^T, the last squaring first.

    `spare` [2, P, N, N] is room.
    """
    row = tl.program_id(0).to(tl.int64) * N * N
    all_rows = tl.num_programs(0).to(tl.int64) * N * N
    old, new, next_ = gradient + row, spare + row, spare + all_rows + row
    count = tl.load(counts + tl.program_id(0)).to(tl.int32)
    for done in range(0, count):
        at = count - 2 - done  # of what was squared: x itself at the first squaring
        squared = powers + tl.maximum(at, 0) * all_rows + row
        if at < 0:
            squared = x + row
        for top in range(0, N, ROWS):
            i = top + tl.arange(0, ROWS)
            for left in range(0, N, COLUMNS):
                j = left + tl.arange(0, COLUMNS)
                total = tl.zeros((ROWS, COLUMNS), x.dtype.element_ty)
                total = _add_product(total, squared, old, i, j, N, INNER, True, False)
                total = _add_product(total, old, squared, i, j, N, INNER, False, True)
                tl.store(new + i[:, None] * N + j[None, :], total, mask=(i < N)[:, None] & (j < N)[None, :])
        tl.debug_barrier()
        old, new, next_ = new, next_, new
    _copy(old, out + row, N, ROWS, COLUMNS)


@triton.jit
def power_kernel(  # noqa: PLR0913
    x, log, spare, out, out_log, DONE: tl.constexpr, UNTIL: tl.constexpr,
    N: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    """Writes `out` = x^(2^(UNTIL - DONE)) [P, N, N] up to a power of two, and `log` with that: `out_log` [P].

    What a product has as its largest entry scales the factors of the next one, exactly. `spare` [2, P, N, N] is room.
    """
    row = tl.program_id(0).to(tl.int64) * N * N
    all_rows = tl.num_programs(0).to(tl.int64) * N * N
    old, new, next_ = x + row, spare + row, spare + all_rows + row
    power = tl.program_id(0) * 0
    total_log = tl.load(log + tl.program_id(0))
    weight = total_log * 0 + 1.0
    for _ in range(0, DONE):
        weight *= 0.5
    for _ in range(DONE, UNTIL):
        largest = total_log * 0
        total_log += power.to(log.dtype.element_ty) * weight
        for top in range(0, N, ROWS):
            i = top + tl.arange(0, ROWS)
            for left in range(0, N, COLUMNS):
                j = left + tl.arange(0, COLUMNS)
                total = tl.zeros((ROWS, COLUMNS), x.dtype.element_ty)
                total = scaled(_add_product(total, old, old, i, j, N, INNER, False, False), -2 * power)
                largest = tl.maximum(largest, tl.max(tl.max(tl.abs(total), 1), 0))
                tl.store(new + i[:, None] * N + j[None, :], total, mask=(i < N)[:, None] & (j < N)[None, :])
        tl.debug_barrier()  # the product must be written before other threads read it
        power = exponent_of(largest)
        weight *= 0.5
        old, new, next_ = new, next_, new
    _copy(old, out + row, N, ROWS, COLUMNS)
    tl.store(out_log + tl.program_id(0), total_log)
