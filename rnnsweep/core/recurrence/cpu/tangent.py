"""The tangent recursion of one row after another (docs/maths.md#sampling).

Where the recorded deltas are those of the last step's error alone (a last-step loss, no leak), a step uses the recorded
delta as long as its size is within SAFE: two products per step. Otherwise, and from the first step on that is not, the
delta is carried on beside its tangent: three products. Either way both are rescaled by exact powers of two.
The choice looks at one row alone.
"""

from __future__ import annotations

import math

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, part
from rnnsweep.core.recurrence.cpu.loops import copy, copy_in, copy_out, fill, pack, padded, times_packed
from rnnsweep.core.recurrence.cpu.memory import item_bytes, load, load_int, number, store, store_int, vector_width
from rnnsweep.core.recurrence.cpu.pointwise import largest, pull, scale

SAFE = 2.0**-80, 2.0**80
"""Largest |delta| of a step for which deltas are used as recorded: float32 entries 2^-46 below it are still normal."""
SLACK = 16
"""Binary orders of magnitude that max|delta| may be away from 1 before the pair is rescaled."""


@kernel
def tangent_rows(zero, job, rows, scratch):
    """Rows [first, last) of `TangentJob`."""
    size, full = item_bytes(zero), padded(zero, job.H)
    H = job.H
    both = scratch + 128  # the first 128 bytes: leak, 1 - leak, a power of two, and one vector
    wt = both + 2 * H * full * size
    states = wt + H * full * size
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
    count = job.B * full
    step = count * size
    own, g, new, dg = states, states + step, states + 2 * step, states + 3 * step
    start = states + 4 * step
    last = job.delta + (p * job.T + job.T - 1) * step
    _begin(zero, job, p, (last, own, g, new, numbers))
    fill(zero, start, count)
    recorded, total = job.stored != 0, 0
    for back in range(1, load_int(job.horizon + p * 8) + 1):
        power = _power(_largest_of(zero, own, (count, numbers)))
        if abs(power) > SLACK:
            total += power
            for at in (own, g, new, dg):
                _times_power(zero, at, at, (-power, count, numbers))
        t = job.T - 1 - back
        given, stored = _slope_of(zero, job, p, t)
        beside = _carry(zero, job, (start, dg, full, numbers))
        left = (new, full, job.H, own, full, job.H)
        times_packed(zero, job.B, left, both, (start, beside, dg, full, full))
        recorded = recorded and _is_safe(_largest_of(zero, last - back * step, (count, numbers)))
        if recorded:
            _times_power(zero, own, last - back * step, (-total, count, numbers))
        else:
            beside = _carry(zero, job, (start, g, full, numbers))
            times_packed(zero, job.B, (own, full, job.H, own, 0, 0), wt, (start, beside, g, full, full))
            pull(zero, (job.code, stored, own, g, given, numbers, count // vector_width(zero)))
        pull(zero, (job.code, stored, new, dg, given, numbers, count // vector_width(zero)))
    copy_out(zero, job.out_delta + p * job.B * job.H * size, own, (job.B, job.H))
    copy_out(zero, job.out_ddelta + p * job.B * job.H * size, new, (job.B, job.H))
    store_int(total, job.exponent + p * 8)


# The last step's delta and g, no tangents yet, and the leak with its complement.
@inlined
def _begin(zero, job, p, places):
    last, own, g, new, numbers = places
    size, count = item_bytes(zero), job.B * padded(zero, job.H)
    leak = number(zero, 1.0)
    if job.leak != 0:
        leak = load(zero, job.leak + p * size)
    store(zero, leak, numbers)
    store(zero, number(zero, 1.0) - leak, numbers + size)
    copy(zero, own, last, count)
    copy_in(zero, g, job.last + p * job.B * job.H * size, (job.B, job.H), job.H)
    fill(zero, new, 2 * count)


# Leaky cells: start = (1 - leak) v; gives the row stride of start (0: one row of zeros for all).
@inlined
def _carry(zero, job, places):
    start, source, full, numbers = places
    if job.leak == 0:
        return 0
    scale(zero, (start, numbers + item_bytes(zero), source, job.B * full // vector_width(zero)))
    return full


@inlined
def _slope_of(zero, job, p, t):
    step = job.B * padded(zero, job.H) * item_bytes(zero)
    if job.slope != 0:
        return job.slope + (p * job.T + t) * step, 1
    return job.h + (p * (job.T + 1) + t + 1) * step, 0


@inlined
def _is_safe(size):
    return SAFE[0] <= size <= SAFE[1]


# max |x|; NaN is ignored.
@part
def _largest_of(zero, at, rest):
    count, numbers = rest
    room = numbers + 64
    largest(zero, (room, at, count // vector_width(zero)))
    top = zero
    for lane in range(vector_width(zero)):
        top = max(top, load(zero, room + lane * item_bytes(zero)))
    return float(top)


# e with size = m 2^e, 1/2 <= m < 1; 0 for 0 and inf.
@part
def _power(size):
    if not math.isfinite(size):
        return 0
    return math.frexp(size)[1]


# target = x 2^power in steps that are themselves in range, so that only a result can over- or underflow.
@part
def _times_power(zero, target, source, rest):
    power, count, numbers = rest
    factor, vectors = numbers + 2 * item_bytes(zero), count // vector_width(zero)
    while True:
        now = max(-100, min(100, power))
        store(zero, math.ldexp(1.0, now), factor)
        scale(zero, (target, factor, source, vectors))
        power -= now
        source = target
        if power == 0:
            return
