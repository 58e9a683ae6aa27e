"""The backward kernel: backpropagation through all steps of one row's batch tile in one program."""

from __future__ import annotations

import triton
import triton.language as tl

from rnnsweep.core.recurrence.gpu.memory import passed, put, put_sum, slope_at, taken
from rnnsweep.core.recurrence.gpu.pointwise import pullback
from rnnsweep.core.recurrence.gpu.products import hold, through


@triton.jit
def _last(last, steps, row, base, T, size, at, own):  # noqa: PLR0913
    """The direct part of the last step."""
    if steps is not None:
        return tl.load(steps + (base + (T - 1) * size) + at, mask=own, other=0.0)
    else:
        return tl.load(last + row * size + at, mask=own, other=0.0)


@triton.jit
def _direct(steps, offset, at, own, wanted, like):
    """The direct part at an offset; 0 where it is the last step's alone, or not `wanted`."""
    if steps is not None:
        return tl.where(wanted, tl.load(steps + offset + at, mask=own, other=0.0), 0.0)
    else:
        return tl.zeros_like(like)


@triton.jit
def _with_bias_part(total, dact, h, slope, scaled, leak, row, t, size, at, own):  # noqa: PLR0913
    """modReLU: adds leak g sign(f(a)) f'(a), from the states before and after the step."""
    if dact is not None:
        before = tl.load(h + t * size + at, mask=own, other=0.0)
        y = tl.load(h + (t + 1) * size + at, mask=own, other=0.0) - passed(before, leak, row)
        part = slope * scaled
        total += tl.where(own, tl.where(y < 0, -part, tl.where(y > 0, part, y * part)), 0.0)
    return total


@triton.jit(do_not_specialize=["T", "B"])
def backward_kernel(  # noqa: PLR0913
    h, slopes, last, steps, turned, leak, lengths, delta, x, dbias, dact, dh0, T, B,
    H: tl.constexpr, ACT: tl.constexpr, BATCH: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr,
    PRECISION: tl.constexpr, EACH: tl.constexpr,
):  # fmt: skip
    """Writes `delta` and, where given, `x` [P, T, B, H] and the batch sums [P, tiles, H] of bias gradients and of x_1.

    `turned` is w_rec transposed, [P, H, H]: rows of it are read without gaps. The next slope (and direct part) is asked
    for before the product of this step, which hides its way from memory.

    Numerics:
        As the forward kernel: padded places are zero after every step, and sums leave them out.
    """
    row = tl.program_id(0).to(tl.int64)
    b, n = tl.program_id(1) * BATCH + tl.arange(0, BATCH), tl.arange(0, UNITS)
    own = (b < B)[:, None] & (n < H)[None, :]
    at, size = b[:, None] * H + n[None, :], B * H
    h += row * (T + 1) * size
    base = row * T * size
    delta += base
    if EACH:  # else no register is spent on it
        own_steps = tl.load(lengths + row * B + b, mask=b < B, other=1).to(tl.int32)
        begins, first = T - own_steps, T - tl.max(own_steps, 0)
    else:
        begins, first = b, T - tl.load(lengths + row).to(tl.int32)
    held = hold(turned + row * H * H, H, UNITS, BLOCK)
    g = _last(last, steps, row, base, T, size, at, own)
    bias_sum, act_sum = tl.zeros_like(g), tl.zeros_like(g)
    slope = slope_at(h, slopes, base, T - 1, size, at, own, ACT)
    for back in range(0, T - first):
        t = T - 1 - back
        scaled = taken(g, leak, row)
        d = tl.where(own, pullback(slope, scaled, ACT), 0.0)
        if EACH:
            d = tl.where((t >= begins)[:, None], d, 0.0)
        tl.store(delta + t * size + at, d, mask=own)
        bias_sum += d
        act_sum = _with_bias_part(act_sum, dact, h, slope, scaled, leak, row, t, size, at, own)
        before = tl.maximum(t - 1, first)
        slope = slope_at(h, slopes, base, before, size, at, own, ACT)
        direct = _direct(steps, base + before * size, at, own, t > first, g)
        back_to = through(passed(g, leak, row), d, held, delta + t * size, b, B, H, BLOCK, PRECISION)
        back_to = tl.where(own, back_to, 0.0)
        if EACH:
            back_to = tl.where((t >= begins)[:, None], back_to, g)
        g = back_to
        put(x, base + t * size, at, g, own)
        g += direct
    for t in range(0, first):
        tl.store(delta + t * size + at, tl.zeros_like(g), mask=own)
        put(x, base + t * size, at, g, own)
    put_sum(dbias, bias_sum, n, H)
    put_sum(dact, act_sum, n, H)
    put_sum(dh0, g, n, H)
