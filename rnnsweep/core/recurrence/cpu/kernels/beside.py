"""Beside backpropagation through the simple loop: the term `NormRatio`, masks and layer norm.

Of the term: norms, coefficients and weighted deltas of a block while it is in cache. Its pieces that `backward` calls,
in this order: `wants_term` and `begin_term` once per row, `measure` at every own step, `weighted_block` at the end of a
block of steps (what its outer product with x takes), `write_term` at the end of the row. The divisor, the active count,
is known only then, so that sums stay unscaled until `write_term`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, memory_map, part
from rnnsweep.core.recurrence.cpu.emit.products import Masked, PullNorm, Unzoned, masked, pull_norm, unzoned
from rnnsweep.core.recurrence.cpu.emit.sums import RowSquares, row_squares
from rnnsweep.core.recurrence.cpu.emit.vectors import (
    Multiple,
    Sum,
    combine,
    item_bytes,
    load,
    load_int,
    scale,
    store,
    vector_width,
)
from rnnsweep.core.recurrence.cpu.kernels.matrices import begun, copy, copy_out, fill, own_samples, padded, weigh

PLAIN, SQUARED = 1, 2
"""`TermJob.kind`: norms in the bracket, or squared norms; 0 is no term."""


class TermJob(NamedTuple):
    """The part of a `BackwardJob` that a term adds; all 0 without one.

    Attributes:
        kind: 0, PLAIN or SQUARED. mean: whether the sum is divided by the active share.
        bound: address of the smallest squared norm that counts.
        rows: int64 [P], rows that want it. value, share: [P]. w_rec: [P, H, H], its gradient.
    """

    kind: int
    mean: int
    bound: int
    rows: int
    value: int
    share: int
    w_rec: int


NO_TERM = TermJob(kind=0, mean=0, bound=0, rows=0, value=0, share=0, w_rec=0)


class TermScratch(NamedTuple):
    """One thread's memory of the term; W = padded H, a block has `chunk` steps of B samples.

    sums          [H, W]
    weighted      [chunk B, W]   deltas, times their coefficients
    coefficients  [chunk B]
    below         [B]            squared norms of g
    norms         [B]            squared norms of x; `below` of the step before, in a last-step loss
    divisor       [1]
    """

    sums: int
    weighted: int
    coefficients: int
    below: int
    norms: int
    divisor: int
    end: int


@memory_map
def term_scratch(start, size, width, job):
    """The map of `TermScratch` from `start` on; `end` - `start` is its size in bytes."""
    weighted = start + job.H * width * size
    coefficients = weighted + job.chunk * job.B * width * size
    below = coefficients + job.chunk * job.B * size
    norms = below + job.B * size
    divisor = norms + job.B * size
    return TermScratch(
        sums=start, weighted=weighted, coefficients=coefficients, below=below, norms=norms, divisor=divisor,
        end=divisor + size,
    )  # fmt: skip


@inlined
def wants_term(job, p):
    """Whether row p wants the term."""
    return job.term.kind != 0 and load_int(job.term.rows + p * 8) != 0


@inlined
def begin_term(zero, job, room):
    """Nothing has been summed yet."""
    fill(zero, target=room.sums, count=job.H * padded(zero, job.H))


@part
def measure(zero, job, p, t, room, slot, known, g, x):
    """Write the coefficients of one step's B samples, unscaled; gives what they add to value and active count.

    Args:
        zero, job, p, t, room: as everywhere.
        slot: of the step in its block.
        known: whether |g|^2 is |x|^2 of the step after, from the call before: so it is in a last-step loss.
        g, x: what the step got and what it hands back, padded [B, W].
    """
    size, units = item_bytes(zero), padded(zero, job.H) // vector_width(zero)
    if known:
        copy(zero, target=room.below, source=room.norms, count=job.B)
    else:
        row_squares(zero, RowSquares(out=room.below, x=g, rows=job.B, vectors=units))
    row_squares(zero, RowSquares(out=room.norms, x=x, rows=job.B, vectors=units))
    # In float64 whatever the loop's type: the sum runs over all steps and samples of a row.
    value, active = 0.0, 0
    for b in range(job.B):
        num, den = float(load(zero, room.norms + b * size)), float(load(zero, room.below + b * size))
        factor = 0.0
        # NaN compares false: a sample without a norm is inactive, and cannot spoil the others.
        if den >= float(load(zero, job.term.bound)) and begun(job, p, t, b):
            ratio, active = num / den, active + 1
            if job.term.kind == SQUARED:
                value += (ratio - 1.0) * (ratio - 1.0)
                factor = 4.0 * (ratio - 1.0) / den
            else:
                root = math.sqrt(ratio)
                value += (root - 1.0) * (root - 1.0)
                if root != 0.0:  # the slope of a norm at 0 is taken as 0, as everywhere in core
                    factor = 2.0 * (1.0 - 1.0 / root) / den
        store(zero, factor, room.coefficients + (slot * job.B + b) * size)
    return value, active


@inlined
def weighted_block(zero, job, room, delta, slot, count):
    """Weight the deltas of `count` samples from a slot on by their coefficients; gives where they are."""
    full = padded(zero, job.H)
    coefficients = room.coefficients + slot * job.B * item_bytes(zero)
    weigh(zero, target=room.weighted, source=delta, stride=full, weights=coefficients, count=count, width=full)
    return room.weighted


@part
def write_term(zero, job, p, room, value, active):
    """Value, share and gradient of row p, from the unscaled value and active count."""
    size, full = item_bytes(zero), padded(zero, job.H)
    # The active share is count / B, and the sum was over samples, too: B cancels where the mean is taken.
    H, divisor = job.H, job.B
    if job.term.mean != 0 and active > 0:
        divisor = active
    store(zero, 1.0 / divisor, room.divisor)
    scale(zero, Multiple(out=room.sums, factor=room.divisor, x=room.sums, count=H * full // vector_width(zero)))
    copy_out(zero, target=job.term.w_rec + p * H * H * size, source=room.sums, rows=H, columns=H)
    store(zero, value / divisor, job.term.value + p * size)
    store(zero, active / own_samples(job, p), job.term.share + p * size)


@inlined
def enter(zero, job, p, t, g, here):
    """Address of what of g_t goes into the step; a zone leaves the rest in `carried`."""
    step = job.B * padded(zero, job.H)
    if job.zone == 0:
        return g
    zone = job.zone + (p * job.T + t) * step * item_bytes(zero)
    split = Unzoned(
        g=g, ldg=0, inner=here.inner, ldinner=0, passed=here.carried, ldpassed=0, zone=zone, ldzone=0, rows=1,
        columns=step,
    )  # fmt: skip
    unzoned(zero, split)
    return here.inner


@inlined
def leave(zero, job, p, x, ldcarried, here):
    """Mask what came back through the matrix; what passes by comes after it."""
    step = job.B * padded(zero, job.H)
    mask = job.recurrent + p * step * item_bytes(zero)
    masked(zero, Masked(out=x, ldout=0, x=x, ldx=0, mask=mask, ldmask=0, rows=1, columns=step))
    if ldcarried != 0:
        combine(zero, Sum(out=x, factor=here.one, x=here.carried, y=x, count=step // vector_width(zero)))


@inlined
def carry(zero, job, inner, here):
    """Set `carried` to what passes f by, (1 - leak) g and what a zone has left there; gives its stride."""
    full = padded(zero, job.H)
    vectors = job.B * full // vector_width(zero)
    if job.leak != 0 and job.zone != 0:
        combine(zero, Sum(out=here.carried, factor=here.passed, x=inner, y=here.carried, count=vectors))
    elif job.leak != 0:
        scale(zero, Multiple(out=here.carried, factor=here.passed, x=inner, count=vectors))
    elif job.zone == 0:
        # One row of zeros that serves all samples.
        fill(zero, target=here.carried, count=full)
        return 0 * full
    return full


@inlined
def through_norm(zero, job, p, t, delta, here):
    """Errors of the normalised sums become those of the sums; padding stays 0."""
    size, full = item_bytes(zero), padded(zero, job.H)
    at = p * job.T + t
    back = PullNorm(
        g=delta, ldg=full, out=delta, ldout=full, gain=job.gain + p * job.H * size,
        hat=job.hat + at * job.B * full * size, ldhat=full, spread=job.spread + at * job.B * size, ldspread=1,
        dgain=here.dgain, dbias=here.dbias, rows=job.B, columns=job.H,
    )  # fmt: skip
    pull_norm(zero, back)


@inlined
def seen_states(zero, job, p, t, count, here):
    """Address of `count` states from step t on as w_rec reads them."""
    size, full = item_bytes(zero), padded(zero, job.H)
    h, step = job.h + (p * (job.T + 1) + t) * job.B * full * size, job.B * full
    if job.recurrent == 0:
        return h
    mask = job.recurrent + p * step * size
    for n in range(count // job.B):
        at = n * step * size
        masked(
            zero,
            Masked(out=here.seen + at, ldout=0, x=h + at, ldx=0, mask=mask, ldmask=0, rows=1, columns=step),
        )
    return here.seen
