"""What the last step of a matrix memory shows: its query meets each key once, and no memory is formed.

Shapes: P rows · T steps · B mini-batch · N heads of D units · X = P B N sequences of heads.

Numerics:
    Sums over steps begin with the last one and are of one order; those of logarithms as in `matrix_memories`. No bit of
    a sequence depends on others, nor on steps before its own start, which weigh nothing.
"""

from __future__ import annotations

from rnnsweep.core.cpu.lines import add_scaled, dot, gated_quotient
from rnnsweep.core.cpu.matrix_memories import added, divisor_of
from rnnsweep.core.cpu.numbers import at, exponential, number
from rnnsweep.core.recurrence.cpu.compiling import part
from rnnsweep.core.recurrence.cpu.emit.vectors import item_bytes, load, store
from rnnsweep.core.recurrence.cpu.kernels.matrices import fill


@part
def last_read(zero, job, x, scale, read):
    """Of one head of one sequence, by its index among all.

    Args:
        job: a `memory_read_rows.ReadJob`. scale: of keys. read: address of E entries, for C q and n q.
    """
    size, N, D, T = item_bytes(zero), job.N, job.D, job.T
    p, b, n = x // (job.B * N), x // N % job.B, x % N
    begin = p * job.row_apart + b * job.sample_apart + n * D
    query, keys, values = begin + (T - 1) * job.step_apart, begin + N * D, begin + 2 * N * D
    weights, shares = at(job.weights, zero), at(job.shares, zero)
    faded = _weights(zero, job, x)
    fill(zero, target=read, count=job.E)
    seen = zero
    for t in range(T - 1, -1, -1):
        step = t * job.step_apart
        share = dot(job.drives, keys + step, job.drives, query, D, zero) * scale * weights[x * T + t]
        add_scaled(read, 0, job.drives, values + step, D, share)
        shares[x * T + t] = share
        seen += share
    store(zero, seen, read + D * size)
    if job.start != 0:
        for d in range(D):
            left = load(zero, job.drives + (query + d) * size) * faded
            add_scaled(read, 0, job.start, (x * job.K + d) * job.E, D + 1, left)
    seen = load(zero, read + D * size)
    # of all steps, or of the last one alone
    shown = 1 if job.last != 0 else T
    place = ((p * shown + shown - 1) * job.B + b) * N + n
    behind = place if job.last != 0 else place + (p + 1) * job.B * N  # h has a first state too
    level = load(zero, job.m + (((p * T + T - 1) * job.B + b) * N + n) * size)
    divisor = divisor_of(seen, level, number(job.largest, zero))
    store(zero, seen, job.inside + place * size)
    gated_quotient(
        (read, 0), (job.drives, query + 3 * N * D), (job.y, place * D), (job.h, behind * D), D, divisor
    )  # fmt: skip


@part
def _weights(zero, job, x):
    """What each step weighs for the last one, i' f' .. f'; returns what is left of the memory before the first."""
    N, T = job.N, job.T
    keep, write, weights = at(job.keep, zero), at(job.write, zero), at(job.weights, zero)
    apart, total, lost = job.B * N, zero, zero
    gates = (x // (job.B * N) * T + T - 1) * apart + x % apart
    for t in range(T - 1, -1, -1):
        weights[x * T + t] = total + (write[gates] - lost)
        total, lost = added(total, lost, keep[gates])
        gates -= apart
    # a loop by itself becomes one of vectors
    for t in range(x * T, x * T + T):
        weights[t] = exponential(weights[t])
    faded = exponential(total)
    at(job.faded, zero)[x] = faded
    return faded
