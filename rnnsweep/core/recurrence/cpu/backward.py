"""Backpropagation through time of one row after another, with the gradients of the loop's parameters.

The gradients are summed block by block of time steps, while the states and deltas of a block are in cache.
"""

from __future__ import annotations

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel
from rnnsweep.core.recurrence.cpu.loops import add_outer, copy, copy_in, copy_out, fill, pack, padded, times_packed
from rnnsweep.core.recurrence.cpu.memory import item_bytes, load, load_int, number, store, vector_width
from rnnsweep.core.recurrence.cpu.pointwise import combine, pull, scale


@kernel
def backward_rows(zero, job, rows, scratch):
    """Rows [first, last) of `BackwardJob`, by one thread: `rows` = (first, last, thread)."""
    size, full = item_bytes(zero), padded(zero, job.H)
    packed = scratch + 64  # the first vector holds single numbers
    sums = packed + job.H * full * size
    states = sums + (job.H + job.I + 2) * full * size
    for p in range(rows[0], rows[1]):
        pack(zero, packed, job.w_rec + p * job.w_row * size, (job.H, job.H), (1, job.H), (0, job.H))
        fill(zero, sums, (job.H + job.I + 2) * full)
        numbers = (scratch, scratch + size, scratch + 2 * size)
        _set_numbers(zero, job, p, numbers)
        _through_time(zero, job, (p, rows[2]), (packed, sums, states, numbers))
        _write_sums(zero, job, p, sums)


# One, the leak, and one minus the leak, at the given addresses.
@inlined
def _set_numbers(zero, job, p, numbers):
    one = number(zero, 1.0)
    leak = one
    if job.leak != 0:
        leak = load(zero, job.leak + p * item_bytes(zero))
    store(zero, one, numbers[0])
    store(zero, leak, numbers[1])
    store(zero, one - leak, numbers[2])


@inlined
def _through_time(zero, job, who, places):
    p, thread = who
    packed, sums, states, numbers = places
    size, full = item_bytes(zero), padded(zero, job.H)
    step = job.B * full
    own = job.T - load_int(job.lengths + p * 8)
    delta, x = _record_of(zero, job, p, thread)
    total, direct = states, states + step * size
    block_end = job.T
    source = direct
    for t in range(job.T - 1, -1, -1):
        slot, to = t, t
        if job.ring != 0:
            slot, to = job.chunk - 1 - (job.T - 1 - t) % job.chunk, t & 1
        d, back = delta + slot * step * size, x + to * step * size
        source = _total(zero, job, p, (t, source, total, direct, numbers[0]))
        if t < own:
            fill(zero, d, step)
            copy(zero, back, source, step)
        else:
            _one_step(zero, job, p, (t, d, back, source, packed, states + 2 * step * size, numbers))
            if job.dact != 0:
                _add_bias_gradient(zero, job, p, (t, source, sums + (job.H + job.I + 1) * full * size))
        source = back
        # Blocks are counted from the end, and stop at the row's own start: a shorter pack has the same ones.
        if t == own or (t > own and (job.T - t) % job.chunk == 0):
            _add_block(zero, job, p, (t, block_end, d, sums, numbers[0]))
            block_end = t
    if job.dh0 != 0:
        _sum_rows(zero, job.dh0 + p * job.H * size, source, (job.B, job.H, full))


# Where deltas and x of row p go: the whole record, or the thread's ring.
@inlined
def _record_of(zero, job, p, thread):
    unit = job.B * padded(zero, job.H) * item_bytes(zero)
    if job.ring != 0:
        return job.delta + thread * job.chunk * unit, job.x + thread * 2 * unit
    return job.delta + p * job.T * unit, job.x + p * job.T * unit


# Address of g_t: what step t + 1 handed back plus the direct part.
@inlined
def _total(zero, job, p, at):
    t, source, total, direct, one = at
    size, full = item_bytes(zero), padded(zero, job.H)
    shape = (job.B, job.H)
    if t == job.T - 1:
        if job.steps != 0:
            copy_in(zero, direct, job.steps + (p * job.T + t) * job.B * job.H * size, shape, job.H)
        else:
            copy_in(zero, direct, job.last + p * job.B * job.H * size, shape, job.H)
        return direct
    if job.steps != 0:
        copy_in(zero, direct, job.steps + (p * job.T + t) * job.B * job.H * size, shape, job.H)
        combine(zero, (total, one, source, direct, job.B * full // vector_width(zero)))
        return total
    return source


# delta_t and x_t.
@inlined
def _one_step(zero, job, p, at):
    t, d, back, source, packed, carried, numbers = at
    size, full = item_bytes(zero), padded(zero, job.H)
    step, vectors = job.B * full, job.B * full // vector_width(zero)
    given = job.h + (p * (job.T + 1) + t + 1) * step * size
    if job.slope != 0:
        given = job.slope + (p * job.T + t) * step * size
    pull(zero, (job.code, job.slope, d, source, given, numbers[1], vectors))
    ldcarried = 0
    if job.leak != 0:
        scale(zero, (carried, numbers[2], source, vectors))
        ldcarried = full
    else:
        fill(zero, carried, full)
    times_packed(zero, job.B, (d, full, job.H, d, 0, 0), packed, (carried, ldcarried, back, full, full))


# Adds the steps [t, end) to the gradients of w_rec, w_in and bias.
@inlined
def _add_block(zero, job, p, at):
    t, end, d, sums, one = at
    size, full = item_bytes(zero), padded(zero, job.H)
    count = (end - t) * job.B
    before = job.h + (p * (job.T + 1) + t) * job.B * full * size
    inputs = job.inputs + (p * job.T + t) * job.B * job.I * size
    for which in range(3):  # one place to call from: each copy of the product costs compile time
        left, row, columns, to = before, full, job.H, 0
        if which == 1:
            left, row, columns, to = inputs, job.I, job.I if job.dw_in != 0 else 0, job.H
        elif which == 2:
            left, row, columns, to = one, 0, 1 if job.dbias != 0 else 0, job.H + job.I
        add_outer(zero, count, (left, row, columns), (d, full, full), sums + to * full * size)


# modReLU: sum over the batch of leak g sign(f(a)) f'(a).
@inlined
def _add_bias_gradient(zero, job, p, at):
    t, source, sums = at
    size, full = item_bytes(zero), padded(zero, job.H)
    step = job.B * full * size
    before = job.h + (p * (job.T + 1) + t) * step
    slope = job.slope + (p * job.T + t) * step
    leak = number(zero, 1.0)
    if job.leak != 0:
        leak = load(zero, job.leak + p * size)
    for b in range(job.B):
        for i in range(job.H):
            at_entry = (b * full + i) * size
            y = load(zero, before + step + at_entry)
            if job.leak != 0:
                y -= (number(zero, 1.0) - leak) * load(zero, before + at_entry)
            part_of = leak * load(zero, source + at_entry) * load(zero, slope + at_entry)
            if y < zero:
                part_of = -part_of
            elif y == zero:
                part_of = zero
            store(zero, load(zero, sums + i * size) + part_of, sums + i * size)


@inlined
def _sum_rows(zero, target, source, shape):
    rows, columns, full = shape
    size = item_bytes(zero)
    for i in range(columns):
        total = zero
        for b in range(rows):
            total += load(zero, source + (b * full + i) * size)
        store(zero, total, target + i * size)


@inlined
def _write_sums(zero, job, p, sums):
    size, full = item_bytes(zero), padded(zero, job.H)
    H, I = job.H, job.I  # noqa: E741
    copy_out(zero, job.dw_rec + p * H * H * size, sums, (H, H))
    if job.dw_in != 0:
        copy_out(zero, job.dw_in + p * I * H * size, sums + H * full * size, (I, H))
    if job.dbias != 0:
        copy(zero, job.dbias + p * H * size, sums + (H + I) * full * size, H)
    if job.dact != 0:
        copy(zero, job.dact + p * H * size, sums + (H + I + 1) * full * size, H)
