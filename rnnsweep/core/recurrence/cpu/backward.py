"""Backpropagation through time of one row after another, with the gradients of the loop's parameters.

The gradients are summed block by block of time steps, while the states and deltas of a block are in cache.
"""

from __future__ import annotations

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel
from rnnsweep.core.recurrence.cpu.loops import add_outer, copy, copy_in, copy_out, fill, pack, padded, times_packed
from rnnsweep.core.recurrence.cpu.memory import item_bytes, load, load_int, number, store, vector_width
from rnnsweep.core.recurrence.cpu.omega import measure, wants_omega, weighted_block, write_omega
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
        room = states + (3 * job.B + 1) * full * size
        found = _through_time(zero, job, (p, rows[2]), (packed, sums, states, numbers, room))
        _write_sums(zero, job, p, sums)
        if wants_omega(job, p):
            write_omega(zero, job, p, found, room)


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


# All steps from the last to the first; gives Omega's value and active count, unscaled.
@inlined
def _through_time(zero, job, who, places):
    p, thread = who
    packed, sums, states, numbers, room = places
    size, full = item_bytes(zero), padded(zero, job.H)
    step = job.B * full
    own = job.T - load_int(job.lengths + p * 8)
    delta, x = _record_of(zero, job, p, thread)
    total, direct = states, states + step * size
    block_end = job.T
    source = direct
    omega = wants_omega(job, p)
    value, active = 0.0, 0
    if omega:
        fill(zero, room, job.H * full)
    for t in range(job.T - 1, -1, -1):
        slot = job.chunk - 1 - (job.T - 1 - t) % job.chunk
        d, back = _places_of(job, t, slot, (delta, x, step * size))
        source = _total(zero, job, p, (t, source, total, direct, numbers[0]))
        if t < own:
            fill(zero, d, step)
            copy(zero, back, source, step)
        else:
            _one_step(zero, job, p, (t, d, back, source, packed, states + 2 * step * size, numbers))
            _add_bias_gradient(zero, job, p, (t, source, sums + (job.H + job.I + 1) * full * size))
            if omega:
                more = measure(zero, job, (slot, t < job.T - 1 and job.steps == 0, source, back), room)
                value, active = value + more[0], active + more[1]
        source = back
        # Blocks are counted from the end, and stop at the row's own start: a shorter pack has the same ones.
        if t == own or (t > own and (job.T - t) % job.chunk == 0):
            right = d
            if omega:
                right = weighted_block(zero, job, d, (slot, (block_end - t) * job.B), room)
            _add_block(zero, job, p, (t, block_end, d, sums, numbers[0]), (omega, back, right, room))
            block_end = t
    if job.dh0 != 0:
        _sum_rows(zero, job.dh0 + p * job.H * size, source, (job.B, job.H, full))
    return value, active


# Where delta and x of step t go.
@inlined
def _places_of(job, t, slot, record):
    delta, x, step = record
    if job.ring == 0:
        return delta + t * step, x + t * step
    to = t & 1
    if job.slots == job.chunk:
        to = slot
    return delta + slot * step, x + to * step


# Where deltas and x of row p go: the whole record, or the thread's ring.
@inlined
def _record_of(zero, job, p, thread):
    unit = job.B * padded(zero, job.H) * item_bytes(zero)
    if job.ring != 0:
        return job.delta + thread * job.chunk * unit, job.x + thread * job.slots * unit
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


# Adds the steps [t, end) to the gradients of w_rec, w_in and bias, and to Omega's.
@inlined
def _add_block(zero, job, p, at, penalty):
    t, end, d, sums, one = at
    omega, back, weighted, room = penalty
    size, full = item_bytes(zero), padded(zero, job.H)
    count = (end - t) * job.B
    before = job.h + (p * (job.T + 1) + t) * job.B * full * size
    inputs = job.inputs + (p * job.T + t) * job.B * job.I * size
    for which in range(4):  # one place to call from: each copy of the product costs compile time
        left, row, columns, right, target = before, full, job.H, d, sums
        if which == 1:
            left, row, columns, target = inputs, job.I, job.I if job.dw_in != 0 else 0, sums + job.H * full * size
        elif which == 2:
            left, row, columns, target = one, 0, 1 if job.dbias != 0 else 0, sums + (job.H + job.I) * full * size
        elif which == 3:
            left, columns, right, target = back, job.H if omega else 0, weighted, room
        add_outer(zero, count, (left, row, columns), (right, full, full), target)


# modReLU: sum over the batch of leak g sign(f(a)) f'(a).
@inlined
def _add_bias_gradient(zero, job, p, at):
    if job.dact == 0:
        return
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
