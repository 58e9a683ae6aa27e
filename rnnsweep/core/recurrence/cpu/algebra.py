"""Row-wise products and norms outside of the time loop."""

from __future__ import annotations

from rnnsweep.core.recurrence.cpu.compiling import kernel
from rnnsweep.core.recurrence.cpu.loops import add_outer, copy_out, fill, pack, padded, times_packed, weigh
from rnnsweep.core.recurrence.cpu.memory import item_bytes, load, store, vector_width
from rnnsweep.core.recurrence.cpu.pointwise import squares

BLOCK = 96
"""Rows of `left` and `right` per block of an outer product: both blocks stay in the L1 and L2 caches."""


@kernel
def outer_rows(zero, job, rows, scratch):
    """Rows [first, last) of `OuterJob`."""
    size, full = item_bytes(zero), padded(zero, job.M)
    weighted = scratch + job.K * full * size
    for p in range(rows[0], rows[1]):
        fill(zero, scratch, job.K * full)
        for first in range(0, job.n, BLOCK):
            count = min(BLOCK, job.n - first)
            right, ldr = job.right + (p * job.right_row + first * job.ldr) * size, job.ldr
            if job.weight != 0:
                weigh(zero, weighted, (right, ldr), (job.weight + (p * job.n + first) * size, count, full))
                right, ldr = weighted, full
            left = job.left + (p * job.left_row + first * job.ldl) * size
            add_outer(zero, count, (left, job.ldl, job.K), (right, ldr, full), scratch)
        copy_out(zero, job.out + p * job.K * job.M * size, scratch, (job.K, job.M))


@kernel
def matmul_rows(zero, job, rows, scratch):
    """Rows [first, last) of `MatmulJob`."""
    size, full = item_bytes(zero), padded(zero, job.N)
    nothing = scratch + job.K * full * size
    product = nothing + full * size
    fill(zero, nothing, full)
    for p in range(rows[0], rows[1]):
        pack(zero, scratch, job.right + p * job.K * job.N * size, (job.K, job.N), (job.N, 1), (0, job.K))
        for first in range(0, job.M, BLOCK):
            count = min(BLOCK, job.M - first)
            left = job.left + (p * job.M + first) * job.K * size
            times_packed(zero, count, (left, job.K, job.K, left, 0, 0), scratch, (nothing, 0, product, full, full))
            copy_out(zero, job.out + (p * job.M + first) * job.N * size, product, (count, job.N))


@kernel
def norms_rows(zero, job, rows, scratch):
    """Rows [first, last) of `NormsJob`: sums of squares, lane by lane, then over the lanes and the tail in order."""
    size, width = item_bytes(zero), vector_width(zero)
    whole = job.width // width
    for p in range(rows[0], rows[1]):
        for n in range(job.n):
            at = job.x + (p * job.x_row + n * job.ldx) * size
            squares(zero, (scratch, at, whole))
            total = zero
            for lane in range(width):
                total += load(zero, scratch + lane * size)
            for i in range(whole * width, job.width):
                total += load(zero, at + i * size) ** 2
            store(zero, total, job.out + (p * job.n + n) * size)
