"""The forward loop of one row after another."""

from __future__ import annotations

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel
from rnnsweep.core.recurrence.cpu.loops import copy, copy_in, fill, pack, padded, times_packed
from rnnsweep.core.recurrence.cpu.memory import item_bytes, load, load_int, store, vector_width
from rnnsweep.core.recurrence.cpu.pointwise import LEAKY, PLAIN, SLOPE, activate


@kernel
def forward_rows(zero, job, rows, scratch):
    """Rows [first, last) of `ForwardJob`: all states, and f' where it is wanted."""
    size, full = item_bytes(zero), padded(zero, job.H)
    packed = scratch
    bias = packed + (job.H + job.I) * full * size
    act = bias + full * size
    drive = act + full * size
    for p in range(rows[0], rows[1]):
        _prepare(zero, job, p, (packed, bias, act))
        _states(zero, job, p, (packed, bias, act, drive))


# Packs [w_rec; w_in] and pads the biases of row p.
@inlined
def _prepare(zero, job, p, places):
    packed, bias, act = places
    size, full = item_bytes(zero), padded(zero, job.H)
    inner = job.H + (job.I if job.w_in != 0 else 0)
    pack(zero, packed, job.w_rec + p * job.w_row * size, (job.H, job.H), (job.H, 1), (0, inner))
    if job.w_in != 0:
        pack(zero, packed, job.w_in + p * job.I * job.H * size, (job.I, job.H), (job.H, 1), (job.H, inner))
    fill(zero, bias, 2 * full)
    if job.bias != 0:
        copy(zero, bias, job.bias + p * job.H * size, job.H)
    if job.act_bias != 0:
        copy(zero, act, job.act_bias + p * job.H * size, job.H)


@inlined
def _states(zero, job, p, places):
    packed, bias, act, drive = places
    size, full = item_bytes(zero), padded(zero, job.H)
    step = job.B * full
    h = job.h + p * (job.T + 1) * step * size
    slope = job.slope + p * job.T * step * size
    if job.h0 != 0:
        copy_in(zero, h, job.h0 + p * job.H * size, (job.B, job.H), 0)
    else:
        fill(zero, h, step)
    own = job.T - load_int(job.lengths + p * 8)
    mode = LEAKY if job.leak != 0 else (SLOPE if job.slope != 0 else PLAIN)
    for t in range(job.T):
        before, after = h + t * step * size, h + (t + 1) * step * size
        if t < own:
            copy(zero, after, before, step)
            if job.slope != 0:
                fill(zero, slope + t * step * size, step)
            continue
        u = job.inputs + (p * job.T + t) * job.B * job.I * size
        inner, start, ldstart = job.I, bias, 0
        if job.w_in == 0:
            copy_in(zero, drive, u, (job.B, job.H), job.H)
            if job.bias != 0:
                _add_to_rows(zero, drive, bias, (job.B, full))
            inner, start, ldstart = 0, drive, full
        left = (before, full, job.H, u, job.I, inner)
        times_packed(zero, job.B, left, packed, (start, ldstart, after, full, full))
        vectors = full // vector_width(zero)
        leak = job.leak + p * size
        activate(zero, (job.code * 3 + mode, after, before, slope + t * step * size, act, leak, job.B, vectors))


# matrix[b] += row, for padded [B, Hp].
@inlined
def _add_to_rows(zero, matrix, row, shape):
    size = item_bytes(zero)
    for b in range(shape[0]):
        for i in range(shape[1]):
            at = matrix + (b * shape[1] + i) * size
            store(zero, load(zero, at) + load(zero, row + i * size), at)
