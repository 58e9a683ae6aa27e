"""The tangent recursion of one row after another (docs/maths.md#sampling).

Where the recorded deltas are those of the last step's error alone (a last-step loss, no leak), a step uses the recorded
delta as long as its size is within SAFE: two products per step. Otherwise, and from the first step on that is not, the
delta is carried on beside its tangent: three products. Either way both are rescaled by exact powers of two.
The choice looks at one row alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map, part
from rnnsweep.core.recurrence.cpu.emit.products import Product
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.sums import Reduction, largest
from rnnsweep.core.recurrence.cpu.emit.vectors import (
    Multiple,
    PullBack,
    item_bytes,
    load,
    load_int,
    number,
    pull,
    scale,
    store,
    store_int,
    vector_width,
)
from rnnsweep.core.recurrence.cpu.kernels.matrices import copy, copy_in, copy_out, fill, pack, padded, times_packed

SAFE = 2.0**-80, 2.0**80
"""Largest |delta| of a step for which deltas are used as recorded: float32 entries 2^-46 below it are still normal."""
SLACK = 16
"""Binary orders of magnitude that max|delta| may be away from 1 before the pair is rescaled."""


class TangentJob(NamedTuple):
    """Arguments of `tangent_rows`: addresses (0 = absent) of arrays as in `Trace` and `Tangent`, and sizes.

    Attributes:
        T, B, H, code, w_row: as in `ForwardJob`.
        step: candidate change of w_rec. horizon: int64 [P], 0 <= horizon < T.
        h, slope, delta: padded to W entries per sample. last: direct part of the last step.
        stored: whether earlier deltas are those of the last step's error alone.
        out_delta, out_ddelta: without gaps. exponent: int64 [P].
    """

    T: int
    B: int
    H: int
    code: int
    w_rec: int
    w_row: int
    step: int
    leak: int
    horizon: int
    h: int
    slope: int
    delta: int
    last: int
    stored: int
    out_delta: int
    out_ddelta: int
    exponent: int


class TangentScratch(NamedTuple):
    """One thread's memory in `tangent_rows`; W = padded H.

    leak, passed, power  [64 bytes]   numbers: leak, 1 - leak, a power of two
    lanes                [64 bytes]   one vector
    both                 [2 H, W]     w_rec over step, both transposed, in column panels: one product reads both
    w_rec                [H, W]       w_rec transposed, in column panels
    delta                [B, W]
    g                    [B, W]
    ddelta               [B, W]       cleared at once with `dg`
    dg                   [B, W]
    start                [B, W]       what products begin with: zeros, or (1 - leak) g
    """

    leak: int
    passed: int
    power: int
    lanes: int
    both: int
    w_rec: int
    delta: int
    g: int
    ddelta: int
    dg: int
    start: int
    end: int


@memory_map
def tangent_scratch(start, size, width, job):
    """The map of `TangentScratch` from `start` on; `end` - `start` is its size in bytes."""
    # Two cache lines of numbers first: the factors, and one vector for the search of the largest entry.
    both = start + 128
    w_rec = both + 2 * job.H * width * size
    step = job.B * width * size
    delta = w_rec + job.H * width * size
    g = delta + step
    ddelta = g + step
    dg = ddelta + step
    return TangentScratch(
        leak=start, passed=start + size, power=start + 2 * size, lanes=start + 64, both=both, w_rec=w_rec,
        delta=delta, g=g, ddelta=ddelta, dg=dg, start=dg + step, end=dg + 2 * step,
    )  # fmt: skip


@kernel
def tangent_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `TangentJob`."""
    mode = flush_subnormals()
    size, H = item_bytes(zero), job.H
    here = tangent_scratch(scratch, size=size, width=padded(zero, H), job=job)
    # Packed per row, used at up to T steps: the price of a transposition is paid once.
    for p in range(first, last):
        w_rec, step = job.w_rec + p * job.w_row * size, job.step + p * H * H * size
        pack(
            zero, target=here.both, source=w_rec, inner=H, columns=H, inner_step=1, column_step=H, first=0, total=2 * H
        )
        pack(zero, target=here.both, source=step, inner=H, columns=H, inner_step=1, column_step=H, first=H, total=2 * H)
        pack(zero, target=here.w_rec, source=w_rec, inner=H, columns=H, inner_step=1, column_step=H, first=0, total=H)
        _recursion(zero, job, p, here)
    restore_mode(mode)


@inlined
def _recursion(zero, job, p, here):
    """From the last step back to the row's horizon."""
    size, full = item_bytes(zero), padded(zero, job.H)
    count = job.B * full
    step, units = count * size, full // vector_width(zero)
    last = job.delta + (p * job.T + job.T - 1) * step
    _begin(zero, job, p, last, here)
    fill(zero, target=here.start, count=count)
    # `total` is the power of two taken out so far: true delta = delta * 2**total.
    recorded, total = job.stored != 0, 0
    for back in range(1, load_int(job.horizon + p * 8) + 1):
        power = _power(_largest_of(zero, at=here.delta, count=count, lanes=here.lanes))
        if abs(power) > SLACK:  # rarely: powers of two are exact, so when they are taken out does not matter
            total += power
            for at in (here.delta, here.g, here.ddelta, here.dg):
                _times_power(zero, target=at, source=at, power=-power, count=count, factor=here.power)
        t = job.T - 1 - back
        source, stored = _slope_of(zero, job, p, t)
        ldstart = _carry(zero, job, here.dg, here)
        # d(delta W^T) = ddelta W^T + delta dW^T: both halves of `both` at once.
        new_dg = Product(
            a1=here.ddelta, lda1=full, k1=job.H, a2=here.delta, lda2=full, k2=job.H, b=here.both, ldb=0,
            start=here.start, ldstart=ldstart, c=here.dg, ldc=full, units=units,
        )  # fmt: skip
        times_packed(zero, rows=job.B, whole=new_dg)
        # Once a recorded delta is not safe the own one is carried on to the end: it cannot join in again.
        recorded = recorded and _is_safe(_largest_of(zero, at=last - back * step, count=count, lanes=here.lanes))
        if recorded:
            # The record is not scaled; this brings its delta to the power that its tangent has.
            _times_power(
                zero, target=here.delta, source=last - back * step, power=-total, count=count, factor=here.power
            )
        else:
            ldstart = _carry(zero, job, here.g, here)
            new_g = Product(
                a1=here.delta, lda1=full, k1=job.H, a2=here.delta, lda2=0, k2=0, b=here.w_rec, ldb=0,
                start=here.start, ldstart=ldstart, c=here.g, ldc=full, units=units,
            )  # fmt: skip
            times_packed(zero, rows=job.B, whole=new_g)
            _pull_back(zero, job, here, delta=here.delta, g=here.g, source=source, stored=stored)
        _pull_back(zero, job, here, delta=here.ddelta, g=here.dg, source=source, stored=stored)
    out = p * job.B * job.H * size
    copy_out(zero, target=job.out_delta + out, source=here.delta, rows=job.B, columns=job.H)
    copy_out(zero, target=job.out_ddelta + out, source=here.ddelta, rows=job.B, columns=job.H)
    store_int(total, job.exponent + p * 8)


@inlined
def _begin(zero, job, p, last, here):
    """The last step's delta and g, no tangents yet, and the leak with its complement."""
    size, count = item_bytes(zero), job.B * padded(zero, job.H)
    # Without a leak the factor is 1: one loop for both, and exact.
    leak = number(zero, 1.0)
    if job.leak != 0:
        leak = load(zero, job.leak + p * size)
    store(zero, leak, here.leak)
    store(zero, number(zero, 1.0) - leak, here.passed)
    copy(zero, target=here.delta, source=last, count=count)
    direct = job.last + p * job.B * job.H * size
    copy_in(zero, target=here.g, source=direct, rows=job.B, columns=job.H, stride=job.H)
    fill(zero, target=here.ddelta, count=2 * count)


@inlined
def _carry(zero, job, source, here):
    """Leaky cells: start = (1 - leak) v; gives the row stride of start (0: one row of zeros for all)."""
    if job.leak == 0:
        return 0
    full = padded(zero, job.H)
    count = job.B * full // vector_width(zero)
    scale(zero, Multiple(out=here.start, factor=here.passed, x=source, count=count))
    return full


@inlined
def _pull_back(zero, job, here, delta, g, source, stored):
    """delta = J_f^T (leak g)."""
    count = job.B * padded(zero, job.H) // vector_width(zero)
    pull(zero, PullBack(code=job.code, stored=stored, delta=delta, g=g, source=source, leak=here.leak, count=count))


@inlined
def _slope_of(zero, job, p, t):
    """Where f' of step t is, and 1; or where the state after it is, and 0."""
    step = job.B * padded(zero, job.H) * item_bytes(zero)
    if job.slope != 0:
        return job.slope + (p * job.T + t) * step, 1
    return job.h + (p * (job.T + 1) + t + 1) * step, 0


@inlined
def _is_safe(size):
    """Whether deltas of this size are used as recorded."""
    return SAFE[0] <= size <= SAFE[1]


@part
def _largest_of(zero, at, count, lanes):
    """max |x| of `count` entries; NaN is ignored."""
    largest(zero, Reduction(out=lanes, x=at, count=count // vector_width(zero)))
    top = zero
    for lane in range(vector_width(zero)):
        top = max(top, load(zero, lanes + lane * item_bytes(zero)))
    return float(top)


@part
def _power(size):
    """e with size = m 2^e, 1/2 <= m < 1; 0 for 0 and inf."""
    if not math.isfinite(size):
        return 0
    return math.frexp(size)[1]


@part
def _times_power(zero, target, source, power, count, factor):
    """target = x 2^power in steps that are themselves in range, so that only a result can over- or underflow."""
    vectors = count // vector_width(zero)
    while True:
        # 2**100 is in range in float32; a larger power goes in several steps.
        now = max(-100, min(100, power))
        store(zero, math.ldexp(1.0, now), factor)
        scale(zero, Multiple(out=target, factor=factor, x=source, count=vectors))
        power -= now
        source = target
        if power == 0:
            return
