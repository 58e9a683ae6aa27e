"""Masks and layer norm on the way back of gated cells: pieces of `kernels.gated_backward`, of its job and memory."""

from __future__ import annotations

from rnnsweep.core.recurrence.cpu.compiling import inlined
from rnnsweep.core.recurrence.cpu.emit.gates import LstmHide, lstm_hide
from rnnsweep.core.recurrence.cpu.emit.products import Masked, PullNorm, Unzoned, masked, pull_norm, unzoned
from rnnsweep.core.recurrence.cpu.emit.vectors import Sum, combine, item_bytes, vector_width
from rnnsweep.core.recurrence.cpu.kernels.gated_forward import GRU, LSTM
from rnnsweep.core.recurrence.cpu.kernels.matrices import fill, padded


@inlined
def split_zones(zero, job, p, t, here):
    """Leave in gh and gc what goes into the step, and put aside what passes it by."""
    size, full = item_bytes(zero), padded(zero, job.H)
    planes = 2 if job.kind == LSTM else 1
    zone, plane = job.zone + (p * job.T + t) * job.B * planes * job.H * size, job.B * full * size
    # Also the padding and, of the GRU, the second plane: all of it is added later.
    fill(zero, target=here.passed, count=2 * job.B * full)
    for n in range(planes):
        g = here.gh + n * plane
        split = Unzoned(
            g=g, ldg=full, inner=g, ldinner=full, passed=here.passed + n * plane, ldpassed=full,
            zone=zone + n * job.H * size, ldzone=planes * job.H, rows=job.B, columns=job.H,
        )  # fmt: skip
        unzoned(zero, split)


@inlined
def through_cell(zero, job, p, kept, here):
    """Add to gc what comes through h = o tanh(gain LN(c) + bias)."""
    size, full, H = item_bytes(zero), padded(zero, job.H), job.H
    # The padding too: it is added to gc.
    fill(zero, target=here.cell, count=job.B * full)
    hide = LstmHide(cell=here.cell, gh=here.gh, plane=full, kept=kept, keep=job.keep, samples=job.B, H=H)
    lstm_hide(zero, hide)
    back = PullNorm(
        g=here.cell, ldg=full, out=here.cell, ldout=full, gain=job.cell_gain + p * H * size, hat=kept + 9 * H * size,
        ldhat=job.keep, spread=kept + (job.keep - 1) * size, ldspread=job.keep, dgain=here.dcell_gain,
        dbias=here.dcell_bias, rows=job.B, columns=H,
    )  # fmt: skip
    pull_norm(zero, back)
    count = job.B * full // vector_width(zero)
    combine(zero, Sum(out=here.gc, factor=here.one, x=here.cell, y=here.gc, count=count))


@inlined
def through_gates(zero, job, p, delta, kept, here):
    """From errors of what layer norm made to errors of what it was given, in place."""
    size, H = item_bytes(zero), job.H
    A, columns, plain = 4 * H, 4 * H, 5 * H
    if job.kind == GRU:
        A, columns, plain = 3 * H, 2 * H, 4 * H
    for k in range(2 if job.kind == GRU else 1):
        at = k * columns
        back = PullNorm(
            g=delta + at * size, ldg=4 * H, out=delta + at * size, ldout=4 * H, gain=job.gain + (p * A + at) * size,
            hat=kept + (plain + at) * size, ldhat=job.keep, spread=kept + (job.keep - 2 + k) * size,
            ldspread=job.keep, dgain=here.dgain + at * size, dbias=here.dbeta + at * size, rows=job.B,
            columns=H if k == 1 else columns,
        )  # fmt: skip
        pull_norm(zero, back)


@inlined
def leave_mask(zero, job, p, here):
    """gh: what came back through the masked matrix; of the GRU also g z, which lies there."""
    size, full, H = item_bytes(zero), padded(zero, job.H), job.H
    mask = job.recurrent + p * job.B * H * size
    masked(
        zero,
        Masked(out=here.back, ldout=full, x=here.back, ldx=full, mask=mask, ldmask=H, rows=job.B, columns=H),
    )
    if job.kind == LSTM:
        fill(zero, target=here.gh, count=job.B * full)
    count = job.B * full // vector_width(zero)
    combine(zero, Sum(out=here.gh, factor=here.one, x=here.back, y=here.gh, count=count))


@inlined
def read_states(zero, job, p, h, stride, count, here):
    """Put `count` states from h on into `seen`, as the matrix reads them."""
    size, H = item_bytes(zero), job.H
    mask = job.recurrent + p * job.B * H * size
    for n in range(count // job.B):
        x, out = h + n * job.B * stride * size, here.seen + n * job.B * H * size
        masked(zero, Masked(out=out, ldout=H, x=x, ldx=stride, mask=mask, ldmask=H, rows=job.B, columns=H))
