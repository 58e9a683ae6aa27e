"""The forward kernel: all steps of one row's batch tile in one program."""

from __future__ import annotations

import triton
import triton.language as tl

from rnnsweep.core.recurrence.gpu.memory import passed, put, spread, taken
from rnnsweep.core.recurrence.gpu.pointwise import slope, value
from rnnsweep.core.recurrence.gpu.products import hold, matrix, through


@triton.jit
def _input_at(inputs, t, b, B, INPUTS: tl.constexpr, INNER: tl.constexpr):
    i = tl.arange(0, INNER)
    inside = (b < B)[:, None] & (i < INPUTS)[None, :]
    return tl.load(inputs + t * B * INPUTS + b[:, None] * INPUTS + i[None, :], mask=inside, other=0.0)


@triton.jit
def _hold_input(w_in, row, like, INPUTS: tl.constexpr, H: tl.constexpr, INNER: tl.constexpr, UNITS: tl.constexpr):  # noqa: PLR0913
    if w_in is not None:
        return matrix(w_in + row * INPUTS * H, INPUTS, H, INNER, UNITS)
    else:
        return tl.zeros((INNER, UNITS), like.dtype.element_ty)


@triton.jit
def _driven(a, u, w_in, held_in, PRECISION: tl.constexpr):
    if w_in is not None:
        return tl.dot(u, held_in, a, input_precision=PRECISION, out_dtype=a.dtype)
    else:
        return a + u


@triton.jit
def _wait(h, slopes, base, state, first, size, at, own):  # noqa: PLR0913
    """Steps before the row's own start: the initial state again, slope 0."""
    tl.store(h + at, state, mask=own)
    for t in range(0, first):
        tl.store(h + (t + 1) * size + at, state, mask=own)
        put(slopes, base + t * size, at, tl.zeros_like(state), own)


@triton.jit
def _put_slope(slopes, offset, at, own, a, y, shift, ACT: tl.constexpr):  # noqa: PLR0913
    if slopes is not None:
        tl.store(slopes + offset + at, slope(a, y, shift, ACT), mask=own)


@triton.jit(do_not_specialize=["T", "B"])
def forward_kernel(  # noqa: PLR0913
    inputs, w_rec, w_in, bias, act_bias, h0, leak, lengths, h, slopes, T, B,
    H: tl.constexpr, INPUTS: tl.constexpr, ACT: tl.constexpr, BATCH: tl.constexpr, UNITS: tl.constexpr,
    INNER: tl.constexpr, BLOCK: tl.constexpr, PRECISION: tl.constexpr, EACH: tl.constexpr,
):  # fmt: skip
    """Writes `h` [P, T + 1, B, H] and, where given, `slopes` [P, T, B, H]; program (row, batch tile).

    Absent tensors are None; without `w_in` the inputs are pre-activations (then INPUTS = H, INNER = UNITS). The next
    input is asked for before the product of this step, which hides its way from memory. Steps before a sequence's
    own start repeat h_0 and have slope 0.

    Numerics:
        Padded units and batch places are put back to zero after every step, so that 0 * inf of a padded place never
        meets a real one.
    """
    row = tl.program_id(0).to(tl.int64)
    b, n = tl.program_id(1) * BATCH + tl.arange(0, BATCH), tl.arange(0, UNITS)
    own = (b < B)[:, None] & (n < H)[None, :]
    at, size = b[:, None] * H + n[None, :], B * H
    h += row * (T + 1) * size
    inputs += row * T * B * INPUTS
    base = row * T * size
    nothing = tl.zeros((BATCH, UNITS), h.dtype.element_ty)
    state = tl.where(own, nothing + spread(h0, row, n, h, H), 0.0)
    if EACH:  # else no register is spent on it
        own_steps = tl.load(lengths + row * B + b, mask=b < B, other=1).to(tl.int32)
        begins, first = T - own_steps, T - tl.max(own_steps, 0)
    else:
        begins, first = b, T - tl.load(lengths + row).to(tl.int32)
    _wait(h, slopes, base, state, first, size, at, own)
    drive, shift = nothing + spread(bias, row, n, h, H), spread(act_bias, row, n, h, H)
    held = hold(w_rec + row * H * H, H, UNITS, BLOCK)
    held_in = _hold_input(w_in, row, h, INPUTS, H, INNER, UNITS)
    u = _input_at(inputs, first, b, B, INPUTS, INNER)
    for t in range(first, T):
        a = _driven(drive, u, w_in, held_in, PRECISION)
        u = _input_at(inputs, tl.minimum(t + 1, T - 1), b, B, INPUTS, INNER)
        a = through(a, state, held, h + t * size, b, B, H, BLOCK, PRECISION)
        y = value(a, shift, ACT)
        _put_slope(slopes, base + t * size, at, own, a, y, shift, ACT)
        new = tl.where(own, passed(state, leak, row) + taken(y, leak, row), 0.0)
        if EACH:
            idle = own & (t < begins)[:, None]
            put(slopes, base + t * size, at, tl.zeros_like(new), idle)
            new = tl.where(idle, state, new)
        state = new
        tl.store(h + (t + 1) * size + at, state, mask=own)
