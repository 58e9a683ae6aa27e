"""Masks and layer norm on the way back of the simple loop: pieces of `kernels.backward`, of its job and memory."""

from __future__ import annotations

from rnnsweep.core.recurrence.cpu.compiling import inlined
from rnnsweep.core.recurrence.cpu.emit.masked import Masked, Unzoned, masked, unzoned
from rnnsweep.core.recurrence.cpu.emit.normed import PullNorm, pull_norm
from rnnsweep.core.recurrence.cpu.emit.vectors import Multiple, Sum, combine, item_bytes, scale, vector_width
from rnnsweep.core.recurrence.cpu.kernels.matrices import fill, padded


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
