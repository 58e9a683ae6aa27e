"""Sequences of a row that begin after it: until then their samples are held where they were.

A job has `each`, the address of int64 [P, B] lengths where the sequences of a row differ, else 0.
"""

from __future__ import annotations

from rnnsweep.core.recurrence.cpu.compiling import inlined
from rnnsweep.core.recurrence.cpu.emit.vectors import item_bytes, load_int
from rnnsweep.core.recurrence.cpu.kernels.matrices import copy, fill


@inlined
def begun(job, p, t, b):
    """Whether step t is sample b's own, of those that are row p's."""
    return job.each == 0 or t >= job.T - load_int(job.each + (p * job.B + b) * 8)


@inlined
def hold(zero, job, p, t, target, source, width):
    """Copy what lies at `source` to `target`, both [B, width], for the samples that have not begun."""
    size = item_bytes(zero)
    for b in range(job.B if job.each != 0 else 0):
        if not begun(job, p, t, b):
            copy(zero, target=target + b * width * size, source=source + b * width * size, count=width)


@inlined
def clear(zero, job, p, t, target, width):
    """Put 0 at `target` [B, width] for the samples that have not begun."""
    size = item_bytes(zero)
    for b in range(job.B if job.each != 0 else 0):
        if not begun(job, p, t, b):
            fill(zero, target=target + b * width * size, count=width)


@inlined
def total(job, p):
    """Own steps of all samples of row p."""
    if job.each == 0:
        return job.B * load_int(job.lengths + p * 8)
    count = 0
    for b in range(job.B):
        count += load_int(job.each + (p * job.B + b) * 8)
    return count
