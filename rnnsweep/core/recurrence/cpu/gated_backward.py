"""Backpropagation through time of gated cells, one row after another, with the gradients of the loop's parameters.

As in `backward`, these are summed block by block of time steps, while states and deltas of a block are in cache.
"""

from __future__ import annotations

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, part
from rnnsweep.core.recurrence.cpu.gated_jobs import GRU, LSTM
from rnnsweep.core.recurrence.cpu.gated_pointwise import gru_pull, lstm_pull
from rnnsweep.core.recurrence.cpu.loops import add_outer, copy, copy_out, fill, pack, padded, times_packed
from rnnsweep.core.recurrence.cpu.memory import item_bytes, load, load_int, number, store


@kernel
def gated_backward_rows(zero, job, rows, scratch):
    """Rows [first, last) of `GatedBackwardJob`, by one thread: `rows` = (first, last, thread).

    Scratch: gh | gc | zeros, and the number one | sums for w_rec | sums for w_in and biases | packed w_rec.
    """
    size, full = item_bytes(zero), padded(zero, job.H)
    A, four = _recurrent(job), padded(zero, 4 * job.H)
    plane = job.B * full * size
    one = scratch + 2 * plane + full * size
    sums = one + 64
    inner = job.I if job.dw_in != 0 else 0
    drives = sums + job.H * padded(zero, A) * size
    packed = drives + (inner + 1) * four * size
    for p in range(rows[0], rows[1]):
        fill(zero, scratch, 2 * job.B * full + full)
        store(zero, number(zero, 1.0), one)
        fill(zero, sums, job.H * padded(zero, A) + (inner + 1) * four)
        pack(zero, packed, job.w_rec + p * job.w_row * size, (A, job.H), (1, A), (0, A))
        _through_time(zero, job, (p, rows[2]), (scratch, one, sums, drives, packed))
        _write_sums(zero, job, p, (scratch, sums, drives))


# Columns of the recurrent matrix.
@inlined
def _recurrent(job):
    return (3 if job.kind == GRU else 4) * job.H


# Entries of a state, and of what was kept.
@inlined
def _widths(job):
    if job.kind == LSTM:
        return 2 * job.H, 5 * job.H
    return job.H, 4 * job.H


@inlined
def _through_time(zero, job, who, places):
    p, thread = who
    g, one, sums, drives, packed = places
    size = item_bytes(zero)
    S, _ = _widths(job)
    step = 4 * job.B * job.H * size
    own = job.T - load_int(job.lengths + p * 8)
    delta = job.delta + (thread * job.chunk if job.ring != 0 else p * job.T) * step
    block_end = job.T
    for t in range(job.T - 1, -1, -1):
        slot = job.chunk - 1 - (job.T - 1 - t) % job.chunk if job.ring != 0 else t
        d = delta + slot * step
        _add_direct(zero, job, p, (t, g))
        if t < own:
            fill(zero, d, 4 * job.B * job.H)
        else:
            _one_step(zero, job, p, (t, d, g, packed))
        if job.x != 0:
            _write_x(zero, job, job.x + (p * job.T + t) * job.B * S * size, g)
        # Blocks are counted from the end, and stop at the row's own start: a shorter pack has the same ones.
        if t == own or (t > own and (job.T - t) % job.chunk == 0):
            _add_block(zero, job, p, ((t, block_end), d, one, sums, drives))
            block_end = t


# Adds what step t gives directly to gh (and gc).
@inlined
def _add_direct(zero, job, p, at):
    t, g = at
    size, full, width = item_bytes(zero), padded(zero, job.H), job.direct_width
    source = job.steps + (p * job.T + t) * job.B * width * size
    if job.steps == 0:
        source = job.last + p * job.B * width * size
    if job.steps != 0 or t == job.T - 1:
        for b in range(job.B):
            row = source + b * width * size
            _add(zero, g + b * full * size, row, job.H)
            _add(zero, g + (job.B + b) * full * size, row + job.H * size, width - job.H)


@part
def _add(zero, target, source, count):
    size = item_bytes(zero)
    for i in range(count):
        store(zero, load(zero, target + i * size) + load(zero, source + i * size), target + i * size)


# delta_t from gh and gc; then these are what step t hands back.
@inlined
def _one_step(zero, job, p, at):
    t, d, g, packed = at
    size, full = item_bytes(zero), padded(zero, job.H)
    S, keep = _widths(job)
    before = job.h + (p * (job.T + 1) + t) * job.B * S * size
    kept = job.kept + (p * job.T + t) * job.B * keep * size
    cell = g + job.B * full * size
    start, ldstart = cell + job.B * full * size, 0  # zeros
    if job.kind == LSTM:
        lstm_pull(zero, (kept, before, g, cell, full, d, job.B, job.H))
    else:
        gru_pull(zero, (kept, before, g, full, d, job.B, job.H))
        start, ldstart = g, full
    left = (d, 4 * job.H, _recurrent(job), d, 0, 0)
    times_packed(zero, job.B, left, packed, (start, ldstart, g, full, full))


# Adds the steps [t, end) to the gradients of w_rec, w_in and the biases.
@inlined
def _add_block(zero, job, p, at):
    span, d, one, sums, drives = at
    t, end = span
    size, four = item_bytes(zero), padded(zero, 4 * job.H)
    S, _ = _widths(job)
    count, inner = (end - t) * job.B, job.I if job.dw_in != 0 else 0
    left, row, rows = job.h + (p * (job.T + 1) + t) * job.B * S * size, S, job.H
    columns, target = padded(zero, _recurrent(job)), sums
    for which in range(3):  # one place to call from: each copy of the product costs compile time
        if which == 1:
            left, row, rows = job.inputs + (p * job.T + t) * job.B * job.I * size, job.I, inner
            columns, target = four, drives
        elif which == 2:
            left, row, rows, target = one, 0, 1 if job.dbias != 0 or job.down != 0 else 0, drives + inner * four * size
        add_outer(zero, count, (left, row, rows), (d, 4 * job.H, columns), target)


# gh and gc side by side.
@inlined
def _write_x(zero, job, target, g):
    size, full = item_bytes(zero), padded(zero, job.H)
    S, _ = _widths(job)
    for b in range(job.B):
        copy(zero, target + b * S * size, g + b * full * size, job.H)
        copy(zero, target + (b * S + job.H) * size, g + (job.B + b) * full * size, S - job.H)


@inlined
def _write_sums(zero, job, p, places):
    g, sums, drives = places
    size, four, A = item_bytes(zero), padded(zero, 4 * job.H), _recurrent(job)
    inner = job.I if job.dw_in != 0 else 0
    copy_out(zero, job.dw_rec + p * job.H * A * size, sums, (job.H, A))
    for i in range(inner):
        _copy_drive(zero, job, job.dw_in + (p * inner + i) * A * size, drives + i * four * size)
    totals = drives + inner * four * size
    if job.dbias != 0:
        _copy_drive(zero, job, job.dbias + p * A * size, totals)
    if job.down != 0:
        copy(zero, job.down + p * job.H * size, totals + 2 * job.H * size, job.H)
    if job.dh0 != 0:
        _sum_samples(zero, job, job.dh0 + p * job.h0_width * size, g)


# A row of sums over the four blocks of delta, as a gradient of drives: the GRU's candidate has its own.
@inlined
def _copy_drive(zero, job, target, source):
    size, H = item_bytes(zero), job.H
    if job.kind == LSTM:
        copy(zero, target, source, 4 * H)
    else:
        copy(zero, target, source, 2 * H)
        copy(zero, target + 2 * H * size, source + 3 * H * size, H)


# Sums of gh and gc over the samples.
@inlined
def _sum_samples(zero, job, target, g):
    size, full = item_bytes(zero), padded(zero, job.H)
    for i in range(job.h0_width):
        at = g + (i if i < job.H else job.B * full + i - job.H) * size
        total = zero
        for b in range(job.B):
            total += load(zero, at + b * full * size)
        store(zero, total, target + i * size)
