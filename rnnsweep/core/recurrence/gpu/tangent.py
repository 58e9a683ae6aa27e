"""The tangent kernel: delta_{T-h} and its change under a step of w_rec, for one row's batch tile."""

from __future__ import annotations

import triton
import triton.language as tl

from rnnsweep.core.recurrence.gpu.memory import passed, slope_at, taken
from rnnsweep.core.recurrence.gpu.pointwise import pullback
from rnnsweep.core.recurrence.gpu.powers import exponent_of, scaled
from rnnsweep.core.recurrence.gpu.products import hold, through


@triton.jit
def _total(total, leak, offset, at, own, like):
    """g_T, which is needed with a leak only."""
    if leak is not None:
        return tl.load(total + offset + at, mask=own, other=0.0)
    else:
        return tl.zeros_like(like)


@triton.jit
def _keep(out, change, at, d, dd, own, BLOCK: tl.constexpr):  # noqa: PLR0913
    """What streamed products read back, between the barriers that `through` and this put around it."""
    if BLOCK != 0:
        tl.debug_barrier()  # the last step's products must have read the pair before it is overwritten
        tl.store(out + at, d, mask=own)
        tl.store(change + at, dd, mask=own)


@triton.jit(do_not_specialize=["T", "B"])
def tangent_kernel(  # noqa: PLR0913
    h, slopes, delta, total, turned, turned_step, leak, horizon, out, change, exponents, T, B,
    H: tl.constexpr, ACT: tl.constexpr, BATCH: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Writes `out` and `change` [P, B, H], both times 2**-`exponents` [P, tiles] (int64).

    `delta` [P, B, H] is delta_T, `total` g_T (used with a leak only), `turned` and `turned_step` the transposed w_rec
    and step. Where the matrices are streamed, `out` and `change` hold the pair between the steps.

    Numerics:
        The pair is rescaled by an exact power of two before every step, so that max|delta| of the tile is in [1/2, 1);
        each tile has an exponent of its own.
    """
    row = tl.program_id(0).to(tl.int64)
    b, n = tl.program_id(1) * BATCH + tl.arange(0, BATCH), tl.arange(0, UNITS)
    own = (b < B)[:, None] & (n < H)[None, :]
    at, size = b[:, None] * H + n[None, :], B * H
    h += row * (T + 1) * size
    base = row * T * size
    out += row * size
    change += row * size
    d = tl.load(delta + row * size + at, mask=own, other=0.0)
    g = _total(total, leak, row * size, at, own, d)
    dd, dg = tl.zeros_like(d), tl.zeros_like(d)
    held, held_step = hold(turned + row * H * H, H, UNITS, BLOCK), hold(turned_step + row * H * H, H, UNITS, BLOCK)
    exponent = tl.zeros((), tl.int32)
    for back in range(1, tl.load(horizon + row).to(tl.int32) + 1):
        slope = slope_at(h, slopes, base, T - 1 - back, size, at, own, ACT)
        power = exponent_of(tl.max(tl.abs(d)))
        exponent += power
        d, dd = scaled(d, -power), scaled(dd, -power)
        g, dg = passed(scaled(g, -power), leak, row), passed(scaled(dg, -power), leak, row)
        _keep(out, change, at, d, dd, own, BLOCK)
        g = through(g, d, held, out, b, B, H, BLOCK, PRECISION)
        dg = through(dg, dd, held, change, b, B, H, BLOCK, PRECISION)
        dg = through(dg, d, held_step, out, b, B, H, BLOCK, PRECISION)
        d = tl.where(own, pullback(slope, taken(g, leak, row), ACT), 0.0)
        dd = tl.where(own, pullback(slope, taken(dg, leak, row), ACT), 0.0)
    tl.debug_barrier()
    tl.store(out + at, d, mask=own)
    tl.store(change + at, dd, mask=own)
    place = row * tl.num_programs(1) + tl.program_id(1)
    tl.store(exponents + place, exponent.to(tl.int64))
