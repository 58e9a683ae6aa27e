"""Omega beside backpropagation: norms, coefficients and weights of a block of steps, while it is in cache.

A thread's room: sums [H, Hp] | weighted deltas [block, Hp] | coefficients [block] | norms below [B] | norms [B];
a block has `chunk` steps of B samples.
"""
# ruff: noqa: D103 - the comment above each piece says what it does

from __future__ import annotations

import math

from rnnsweep.core.recurrence.cpu.compiling import inlined, part
from rnnsweep.core.recurrence.cpu.loops import copy, copy_out, padded, weigh
from rnnsweep.core.recurrence.cpu.memory import item_bytes, load, load_int, store, vector_width
from rnnsweep.core.recurrence.cpu.pointwise import row_squares, scale

SQUARED = 2
"""`BackwardJob.omega` of the form with squared norms in the bracket."""


# Whether Omega of row p is wanted.
@inlined
def wants_omega(job, p):
    return job.omega != 0 and load_int(job.omega_rows + p * 8) != 0


# Coefficients of the B samples of one step, unscaled, into the slot's place; what they add to value and active count.
# `known`: |g|^2 is |x|^2 of the step after, from the call before; else it is taken from `source`.
@part
def measure(zero, job, at, room):
    slot, known, source, back = at
    size, full, B = item_bytes(zero), padded(zero, job.H), job.B
    coefficients = room + (job.H + job.chunk * B) * full * size
    below = coefficients + job.chunk * B * size
    norms = below + B * size
    units = full // vector_width(zero)
    if known:
        copy(zero, below, norms, B)
    else:
        row_squares(zero, (below, source, B, units))
    row_squares(zero, (norms, back, B, units))
    value, active = 0.0, 0
    for b in range(B):
        num, den = float(load(zero, norms + b * size)), float(load(zero, below + b * size))
        factor = 0.0
        if den >= float(load(zero, job.omega_bound)):
            ratio, active = num / den, active + 1
            if job.omega == SQUARED:
                value += (ratio - 1.0) * (ratio - 1.0)
                factor = 4.0 * (ratio - 1.0) / den
            else:
                root = math.sqrt(ratio)
                value += (root - 1.0) * (root - 1.0)
                if root != 0.0:
                    factor = 2.0 * (1.0 - 1.0 / root) / den
        store(zero, factor, coefficients + (slot * B + b) * size)
    return value, active


# Deltas of `count` samples from a slot on, weighted by their coefficients; gives where they are.
@inlined
def weighted_block(zero, job, d, span, room):
    slot, count = span
    size, full = item_bytes(zero), padded(zero, job.H)
    target = room + job.H * full * size
    coefficients = target + job.chunk * job.B * full * size + slot * job.B * size
    weigh(zero, target, (d, full), (coefficients, count, full))
    return target


# Value, share and gradient of row p; `found` = (value, active), unscaled.
@part
def write_omega(zero, job, p, found, room):
    value, active = found
    size, full = item_bytes(zero), padded(zero, job.H)
    H, divisor = job.H, job.B
    if job.omega_mean != 0 and active > 0:
        divisor = active
    store(zero, 1.0 / divisor, room + H * full * size)
    scale(zero, (room, room + H * full * size, room, H * full // vector_width(zero)))
    copy_out(zero, job.omega_w_rec + p * H * H * size, room, (H, H))
    store(zero, value / divisor, job.omega_value + p * size)
    store(zero, active / (job.B * load_int(job.lengths + p * 8)), job.omega_share + p * size)
