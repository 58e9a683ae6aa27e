"""The product of a state tile with a row's matrix, [batch, units] x [units, units].

Two ways to keep the matrix on chip. *Resident* (BLOCK = 0): it is read once and stays in registers and shared memory
for all steps. *Streamed*: blocks of BLOCK of its rows are read anew at every step, from the L1 or L2 cache; the state,
whose slices cannot be taken out of registers, is read back from where this program has just written it.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def matrix(w, rows: tl.constexpr, columns: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A matrix [rows, columns] without gaps as a tile [ROWS, COLUMNS], zero beyond its edges."""
    k, n = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    inside = (k < rows)[:, None] & (n < columns)[None, :]
    return tl.load(w + k[:, None] * columns + n[None, :], mask=inside, other=0.0)


@triton.jit
def hold(w, H: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr):
    """What `through` wants of the matrix [H, H] at `w`: its tile where it is resident, else the address."""
    if BLOCK == 0:
        return matrix(w, H, H, UNITS, UNITS)
    else:
        return w


@triton.jit
def through(  # noqa: PLR0913
    total, tile, held, source, b, B, H: tl.constexpr, BLOCK: tl.constexpr, PRECISION: tl.constexpr
):
    """`total` + `tile` x matrix; `source`: where the program has written the tile, [B, H]."""
    if BLOCK == 0:
        return tl.dot(tile, held, total, input_precision=PRECISION, out_dtype=total.dtype)
    else:
        tl.debug_barrier()  # the tile must be written before other threads of the program read it back
        n = tl.arange(0, total.shape[1])
        for first in range(0, H, BLOCK):
            k = first + tl.arange(0, BLOCK)
            part = tl.load(source + b[:, None] * H + k[None, :], mask=(b < B)[:, None] & (k < H)[None, :], other=0.0)
            block = tl.load(held + k[:, None] * H + n[None, :], mask=(k < H)[:, None] & (n < H)[None, :], other=0.0)
            total = tl.dot(part, block, total, input_precision=PRECISION, out_dtype=total.dtype)
        return total
