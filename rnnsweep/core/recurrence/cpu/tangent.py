"""The tangent recursion of one row after another (MATHS §5).

A row whose recorded deltas are those of the last step's error alone and stay within SAFE uses them as they are (two
products per step); any other row repeats the backward recursion beside the tangent, rescaled by exact powers of two
(three products). The choice looks at that row alone.
"""

from __future__ import annotations

import math

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel
from rnnsweep.core.recurrence.cpu.loops import copy, copy_in, copy_out, fill, pack, padded, times_packed
from rnnsweep.core.recurrence.cpu.memory import item_bytes, load, load_int, number, store, store_int, vector_width
from rnnsweep.core.recurrence.cpu.pointwise import largest, pull, scale

SAFE = 2.0**-50, 2.0**50
"""Largest |delta| of a step for which float32 deltas are used as recorded: entries 2^-76 below it are still normal."""


@kernel
def tangent_rows(zero, job, rows, scratch):
    """Rows [first, last) of `TangentJob`."""
    size, full = item_bytes(zero), padded(zero, job.H)
    square = job.H * full * size
    wt, both = scratch + 128, scratch + 128 + square
    states = both + 2 * square
    H = job.H
    for p in range(rows[0], rows[1]):
        w, s = job.w_rec + p * job.w_row * size, job.step + p * H * H * size
        pack(zero, both, w, (H, H), (1, H), (0, 2 * H))
        pack(zero, both, s, (H, H), (1, H), (H, 2 * H))
        pack(zero, wt, w, (H, H), (1, H), (0, H))
        _recursion(zero, job, p, (wt, both, states, scratch))


@inlined
def _recursion(zero, job, p, places):
    wt, both, states, numbers = places
    size, full = item_bytes(zero), padded(zero, job.H)
    step = job.B * full * size
    own, g, dg, new_d = states, states + step, states + 2 * step, states + 3 * step
    new_g, new_dg, start = states + 4 * step, states + 5 * step, states + 6 * step
    vectors = job.B * full // vector_width(zero)
    leak = number(zero, 1.0)
    if job.leak != 0:
        leak = load(zero, job.leak + p * size)
    store(zero, leak, numbers)
    last = job.delta + (p * job.T + job.T - 1) * step
    horizon = load_int(job.horizon + p * 8)
    as_recorded = job.stored != 0 and _is_safe(zero, job, p, (horizon, numbers + 64))
    copy(zero, own, last, job.B * full)
    fill(zero, new_d, job.B * full)
    fill(zero, dg, job.B * full)
    copy_in(zero, g, job.last + p * job.B * job.H * size, (job.B, job.H), job.H)
    total = 0
    for back in range(1, horizon + 1):
        t = job.T - 1 - back
        now = last - (back - 1) * step
        if not as_recorded:
            now = own
            power = _power(_largest_of(zero, own, (vectors, numbers + 64)))
            if power != 0:
                for at in (own, g, dg, new_d):
                    _times_power(zero, at, -power, (job.B * full,))
            total += power
        carried = 1 if job.leak != 0 else 0
        _start(zero, start, dg, (number(zero, 1.0) - leak, carried * job.B * full, full))
        left = (new_d, full, job.H, now, full, job.H)
        times_packed(zero, job.B, left, both, (start, carried * full, new_dg, full, full))
        copy(zero, dg, new_dg, job.B * full)
        given, stored = _slope_of(zero, job, p, t)
        if not as_recorded:
            _start(zero, start, g, (number(zero, 1.0) - leak, carried * job.B * full, full))
            times_packed(zero, job.B, (own, full, job.H, own, 0, 0), wt, (start, carried * full, new_g, full, full))
            copy(zero, g, new_g, job.B * full)
            pull(zero, (job.code, stored, own, g, given, numbers, vectors))
        pull(zero, (job.code, stored, new_d, dg, given, numbers, vectors))
    if as_recorded:
        copy(zero, own, last - horizon * step, job.B * full)
        power = _power(_largest_of(zero, own, (vectors, numbers + 64)))
        _times_power(zero, own, -power, (job.B * full,))
        _times_power(zero, new_d, -power, (job.B * full,))
        total = power
    copy_out(zero, job.out_delta + p * job.B * job.H * size, own, (job.B, job.H))
    copy_out(zero, job.out_ddelta + p * job.B * job.H * size, new_d, (job.B, job.H))
    store_int(total, job.exponent + p * 8)


# (1 - leak) v, or one padded row of zeros where the cell is not leaky.
@inlined
def _start(zero, target, source, rest):
    factor, count, full = rest
    size = item_bytes(zero)
    if count == 0:
        fill(zero, target, full)
    for i in range(count):
        store(zero, factor * load(zero, source + i * size), target + i * size)


@inlined
def _slope_of(zero, job, p, t):
    step = job.B * padded(zero, job.H) * item_bytes(zero)
    if job.slope != 0:
        return job.slope + (p * job.T + t) * step, 1
    return job.h + (p * (job.T + 1) + t + 1) * step, 0


# Whether every recorded delta from T - horizon to T is well inside the range.
@inlined
def _is_safe(zero, job, p, rest):
    horizon, room = rest
    full = padded(zero, job.H)
    step = job.B * full * item_bytes(zero)
    for back in range(horizon + 1):
        at = job.delta + (p * job.T + job.T - 1 - back) * step
        size = _largest_of(zero, at, (job.B * full // vector_width(zero), room))
        if not (SAFE[0] <= size <= SAFE[1]):
            return False
    return True


# max |x|; NaN is ignored.
@inlined
def _largest_of(zero, at, rest):
    vectors, room = rest
    largest(zero, (room, at, vectors))
    top = zero
    for lane in range(vector_width(zero)):
        top = max(top, load(zero, room + lane * item_bytes(zero)))
    return float(top)


# e with size = m 2^e, 1/2 <= m < 1; 0 for 0 and inf.
@inlined
def _power(size):
    if not math.isfinite(size):
        return 0
    return math.frexp(size)[1]


# x *= 2^power in two factors, so that neither over- nor underflows by itself.
@inlined
def _times_power(zero, at, power, shape):
    size = item_bytes(zero)
    half = power // 2
    first, second = math.ldexp(1.0, half), math.ldexp(1.0, power - half)
    for i in range(shape[0]):
        store(zero, load(zero, at + i * size) * first * second, at + i * size)
