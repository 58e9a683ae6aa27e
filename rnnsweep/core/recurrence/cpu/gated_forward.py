"""The forward loop of gated cells, one row after another."""

from __future__ import annotations

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel
from rnnsweep.core.recurrence.cpu.gated_jobs import GRU, LSTM
from rnnsweep.core.recurrence.cpu.gated_pointwise import gru_step, lstm_step
from rnnsweep.core.recurrence.cpu.loops import copy, fill, pack, padded, times_packed
from rnnsweep.core.recurrence.cpu.memory import item_bytes, load, load_int, store


@kernel
def gated_forward_rows(zero, job, rows, scratch):
    """Rows [first, last) of `GatedForwardJob`: all states, and what the backward loop wants to see again."""
    size, wide = item_bytes(zero), _wide(zero, job)
    inner = job.H + (job.I if job.w_in != 0 else 0)
    start = scratch + inner * wide * size
    gates = start + job.B * wide * size
    for p in range(rows[0], rows[1]):
        _prepare(zero, job, p, (scratch, start))
        _first_state(zero, job, p)
        _states(zero, job, p, (scratch, start, gates))


# Number of products per step: the GRU's candidate has its recurrent part and its drive apart.
@inlined
def _parts(job):
    return 3 if job.kind == GRU else 1


# Width of the padded pre-activations of one sample.
@inlined
def _wide(zero, job):
    if job.kind == GRU:
        return padded(zero, 2 * job.H) + 2 * padded(zero, job.H)
    return padded(zero, 4 * job.H)


# Product k: (first column, columns, inner size of h, of u, offset in the pre-activations, offset in packed weights).
@inlined
def _part(zero, job, k):
    H, inputs = job.H, job.I if job.w_in != 0 else 0
    column, columns, recurrent, at, packed = 0 * H, 4 * H, H, 0 * H, 0 * H
    if job.kind == GRU:
        columns = 2 * H
        if k > 0:
            column, columns, at, packed = 2 * H, H, padded(zero, 2 * H), (H + inputs) * padded(zero, 2 * H)
            if k == 1:
                inputs = 0 * H
            else:
                recurrent, at, packed = 0 * H, at + padded(zero, H), packed + H * padded(zero, H)
    return column, columns, recurrent, inputs, at, packed


# Columns of the recurrent matrix and of drives.
@inlined
def _columns(job):
    return (3 if job.kind == GRU else 4) * job.H


# Packs row p's matrices, and lays its biases into every sample's start.
@inlined
def _prepare(zero, job, p, places):
    packed, start = places
    size, A, wide = item_bytes(zero), _columns(job), _wide(zero, job)
    fill(zero, start, job.B * wide)
    for k in range(_parts(job)):
        column, columns, recurrent, inputs, at, first = _part(zero, job, k)
        target, total = packed + first * size, recurrent + inputs
        left = job.w_rec + (p * job.w_row + column) * size
        pack(zero, target, left, (recurrent, columns), (A, 1), (0, total))
        left = job.w_in + (p * job.I * A + column) * size
        pack(zero, target, left, (inputs, columns), (A, 1), (recurrent, total))
        bias = job.bias + (p * A + column) * size if job.bias != 0 else 0
        if job.kind == GRU and k == 1:
            bias = job.own + p * job.H * size
        for b in range(job.B if bias != 0 else 0):
            copy(zero, start + (b * wide + at) * size, bias, columns)


@inlined
def _first_state(zero, job, p):
    size, S = item_bytes(zero), _state(job)
    h = job.h + p * (job.T + 1) * job.B * S * size
    fill(zero, h, job.B * S)
    for b in range(job.B if job.h0 != 0 else 0):
        copy(zero, h + b * S * size, job.h0 + p * job.h0_width * size, job.h0_width)


# Entries of a state.
@inlined
def _state(job):
    return (2 if job.kind == LSTM else 1) * job.H


@inlined
def _states(zero, job, p, places):
    packed, start, gates = places
    size, wide, S = item_bytes(zero), _wide(zero, job), _state(job)
    kept_width = (5 if job.kind == LSTM else 4) * job.H
    own = job.T - load_int(job.lengths + p * 8)
    for t in range(job.T):
        before = job.h + (p * (job.T + 1) + t) * job.B * S * size
        after = before + job.B * S * size
        kept = job.kept + (p * job.T + t) * job.B * kept_width * size
        if t < own:
            copy(zero, after, before, job.B * S)
            fill(zero, kept, job.B * kept_width)
            continue
        u = job.inputs + (p * job.T + t) * job.B * job.I * size
        if job.w_in == 0:
            _take_drives(zero, job, p, (u, start))
        for k in range(_parts(job)):
            _, columns, recurrent, inputs, at, first = _part(zero, job, k)
            left = (before, S, recurrent, u, job.I, inputs)
            result = (start + at * size, wide, gates + at * size, wide, padded(zero, columns))
            times_packed(zero, job.B, left, packed + first * size, result)
        if job.kind == LSTM:
            lstm_step(zero, (gates, wide, before, after, kept, job.B, job.H))
        else:
            inner = gates + padded(zero, 2 * job.H) * size
            new = inner + padded(zero, job.H) * size
            numbers = (gates, inner, new, wide, before, after, kept, job.B, job.H)
            gru_step(zero, numbers)


# start <- this step's drives (+ bias), gate by gate; the GRU's b_n stays.
@inlined
def _take_drives(zero, job, p, places):
    u, start = places
    size, wide, A = item_bytes(zero), _wide(zero, job), _columns(job)
    for k in range(_parts(job)):
        column, columns, _, _, at, _ = _part(zero, job, k)
        if job.kind == GRU and k == 1:
            continue
        for b in range(job.B):
            to = start + (b * wide + at) * size
            copy(zero, to, u + (b * A + column) * size, columns)
            for i in range(columns if job.bias != 0 else 0):
                added = load(zero, to + i * size) + load(zero, job.bias + (p * A + column + i) * size)
                store(zero, added, to + i * size)
