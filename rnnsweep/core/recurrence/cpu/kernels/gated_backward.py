"""Backpropagation through time of gated cells, one row after another, with the gradients of the loop's parameters.

As in `backward`, these are summed block by block of time steps, while states and deltas of a block are in cache.
Nothing is padded in records; rows of `delta` have 4 H entries for both cells, of which the gradients of the recurrent
matrix read the first A (4 H or 3 H): the GRU's fourth block is the error of its candidate's drive.
"""

from __future__ import annotations

from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map, part
from rnnsweep.core.recurrence.cpu.emit.gates import GruPull, LookBack, LstmPull, gru_pull, look_back, lstm_pull
from rnnsweep.core.recurrence.cpu.emit.products import Product
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.vectors import (
    Sum,
    combine,
    item_bytes,
    load,
    load_int,
    number,
    store,
    vector_width,
)
from rnnsweep.core.recurrence.cpu.kernels.gated_forward import GRU, LSTM
from rnnsweep.core.recurrence.cpu.kernels.gated_regularised import (
    leave_mask,
    read_states,
    split_zones,
    through_cell,
    through_gates,
)
from rnnsweep.core.recurrence.cpu.kernels.matrices import (
    Outer,
    add_outer,
    clear,
    copy,
    copy_out,
    fill,
    hold,
    pack,
    padded,
    times_packed,
)


class GatedBackwardJob(NamedTuple):
    """Arguments of `gated_backward_rows`: addresses (0 = absent) of arrays as in `KeptRecord`, `LoopGradients`; sizes.

    Attributes:
        T, B, H, I, S, kind, ahead, w_row: as in `GatedForwardJob`.
        each: lengths of every sequence, where those of a row differ.
        last, steps: one of the two, with `direct_width` entries per sample: H, or S.
        delta: T steps, or with `ring` a ring of `chunk` steps per thread. x: 0 where nobody wants the trace.
        dw_rec, dw_in, dbias, down, dh0: gradients without gaps; `down` of the GRU's b_n. h0_width: entries of dh0.
        keep, recurrent, zone, gain, cell_gain: as in `GatedForwardJob`. dgain, dcell_gain, dcell_bias: their gradients.
        drives: with layer norm the gradients of the drives [P, T, B, A], which are then no blocks of delta.
    """

    T: int
    B: int
    H: int
    I: int  # noqa: E741
    S: int
    kind: int
    ahead: int
    inputs: int
    w_rec: int
    w_row: int
    lengths: int
    each: int
    h: int
    kept: int
    last: int
    steps: int
    direct_width: int
    delta: int
    x: int
    chunk: int
    ring: int
    dw_rec: int
    dw_in: int
    dbias: int
    down: int
    dh0: int
    h0_width: int
    keep: int
    recurrent: int
    zone: int
    gain: int
    cell_gain: int
    dgain: int
    dcell_gain: int
    dcell_bias: int
    drives: int


class GatedBackwardScratch(NamedTuple):
    """One thread's memory in `gated_backward_rows`; W = padded H, I = 0 where inputs are drives.

    gh      [B, W]                dC/dh_t; these three are cleared at once
    gc      [B, W]                dC/dc_t, LSTM only
    zeros   [W]
    one     [64 bytes]            the number 1
    dw_rec  [H, padded A]         sums over all steps, cleared at once with the next two
    dw_in   [I, padded 4 H]
    dbias   [padded 4 H]
    dgain   [padded 4 H]          of layer norm, as are the next four; these four are cleared at once
    dbeta   [padded 4 H]          of what is added to it: the GRU's b_n
    dcell_gain [W]
    dcell_bias [W]
    cell    [B, W]                error of the LSTM's normalised c
    packed  [A, W]                w_rec transposed, in column panels
    passed  [2, B, W]             of gh and gc, what a zone lets pass by
    back    [B, W]                what comes back through a masked matrix
    seen    [chunk B, H]          states as the matrix reads them, where they are masked
    gv      [B, padded 4 H]       dC/dv_t of an LSTM that looks ahead; else not used
    saved_v [B, padded 4 H]       these two before a step, where sequences differ
    saved   [2, B, W]             gh and gc
    """

    gh: int
    gc: int
    zeros: int
    one: int
    dw_rec: int
    dw_in: int
    dbias: int
    dgain: int
    dbeta: int
    dcell_gain: int
    dcell_bias: int
    cell: int
    packed: int
    passed: int
    back: int
    seen: int
    gv: int
    saved_v: int
    saved: int
    end: int


@memory_map
def gated_backward_scratch(start, size, full, wide, four, job):
    """The map of `GatedBackwardScratch` from `start` on; `end` - `start` is its size in bytes.

    Args:
        full, wide, four: padded widths of H, of A and of 4 H.
    """
    plane = job.B * full * size
    zeros = start + 2 * plane
    # A cache line for one number: what lies behind keeps the alignment.
    one = zeros + full * size
    dw_rec = one + 64
    dw_in = dw_rec + job.H * wide * size
    dbias = dw_in + (job.I if job.dw_in != 0 else 0) * four * size
    dgain = dbias + four * size
    dbeta = dgain + four * size
    dcell_gain = dbeta + four * size
    dcell_bias = dcell_gain + full * size
    cell = dcell_bias + full * size
    packed = cell + plane
    passed = packed + (3 if job.kind == GRU else 4) * job.H * full * size
    back = passed + 2 * plane
    seen = back + plane
    gv = seen + job.chunk * job.B * job.H * size
    saved_v = gv + job.B * four * size
    saved = saved_v + job.B * four * size
    end = saved + (2 * plane if job.each != 0 else 0)
    return GatedBackwardScratch(
        gh=start, gc=start + plane, zeros=zeros, one=one, dw_rec=dw_rec, dw_in=dw_in, dbias=dbias, dgain=dgain,
        dbeta=dbeta, dcell_gain=dcell_gain, dcell_bias=dcell_bias, cell=cell, packed=packed, passed=passed, back=back,
        seen=seen, gv=gv, saved_v=saved_v, saved=saved, end=end,
    )  # fmt: skip


@kernel
def gated_backward_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `GatedBackwardJob`, by one thread."""
    mode = flush_subnormals()
    size, full = item_bytes(zero), padded(zero, job.H)
    A, four = _recurrent(job), padded(zero, 4 * job.H)
    here = gated_backward_scratch(scratch, size=size, full=full, wide=padded(zero, A), four=four, job=job)
    inner = job.I if job.dw_in != 0 else 0
    for p in range(first, last):
        # gh, gc and the row of zeros are neighbours, see the map.
        fill(zero, target=here.gh, count=2 * job.B * full + full)
        fill(zero, target=here.gv, count=job.B * four)
        store(zero, number(zero, 1.0), here.one)
        # All sums at once, see the map.
        fill(zero, target=here.dw_rec, count=job.H * padded(zero, A) + (inner + 3) * four + 2 * full)
        w_rec = job.w_rec + p * job.w_row * size
        pack(
            zero, target=here.packed, source=w_rec, inner=A, columns=job.H, inner_step=1, column_step=A, first=0,
            total=A,
        )  # fmt: skip
        _through_time(zero, job, p, thread, here)
        _write_sums(zero, job, p, here)
    restore_mode(mode)


@inlined
def _recurrent(job):
    """Columns of the recurrent matrix."""
    return (3 if job.kind == GRU else 4) * job.H


@inlined
def _through_time(zero, job, p, thread, here):
    """All steps from the last to the first."""
    size = item_bytes(zero)
    # Deltas have four blocks for both cells.
    step = 4 * job.B * job.H * size
    own = job.T - load_int(job.lengths + p * 8)
    record = job.delta + (thread * job.chunk if job.ring != 0 else p * job.T) * step
    block_end = job.T
    for t in range(job.T - 1, -1, -1):
        slot = job.chunk - 1 - (job.T - 1 - t) % job.chunk if job.ring != 0 else t
        # gh and gc stay where they are from step to step: what a step hands back replaces what it got.
        delta = record + slot * step
        _add_direct(zero, job, p, t, here)
        if t < own:
            fill(zero, target=delta, count=4 * job.B * job.H)
            if job.gain != 0:
                fill(zero, target=_drives_of(zero, job, p, t), count=job.B * _recurrent(job))
        else:
            _one_step(zero, job, p, t, delta, here)
        if job.x != 0:
            _write_x(zero, job, job.x + (p * job.T + t) * job.B * job.S * size, here)
        # Blocks are counted from the end, and stop at the row's own start: a shorter pack has the same ones.
        if t == own or (t > own and (job.T - t) % job.chunk == 0):
            _add_block(zero, job, p, t, (block_end - t) * job.B, delta, here)
            block_end = t


@inlined
def _add_direct(zero, job, p, t, here):
    """Add what step t gives directly to gh (and gc)."""
    size, full, four, width = item_bytes(zero), padded(zero, job.H), padded(zero, 4 * job.H), job.direct_width
    source = job.steps + (p * job.T + t) * job.B * width * size
    if job.steps == 0:
        source = job.last + p * job.B * width * size
    if job.steps != 0 or t == job.T - 1:
        for b in range(job.B):
            row = source + b * width * size
            _add(zero, target=here.gh + b * full * size, source=row, count=job.H)
            # Direct gradients may cover h only; then this adds nothing.
            _add(zero, target=here.gc + b * full * size, source=row + job.H * size, count=min(width - job.H, job.H))
            _add(zero, target=here.gv + b * four * size, source=row + 2 * job.H * size, count=width - 2 * job.H)


@part
def _add(zero, target, source, count):
    """Add `count` entries to others."""
    size = item_bytes(zero)
    for i in range(count):
        store(zero, load(zero, target + i * size) + load(zero, source + i * size), target + i * size)


@inlined
def _one_step(zero, job, p, t, delta, here):
    """delta_t from gh and gc; then these are what step t hands back."""
    size, full = item_bytes(zero), padded(zero, job.H)
    before = job.h + (p * (job.T + 1) + t) * job.B * job.S * size
    kept = job.kept + (p * job.T + t) * job.B * job.keep * size
    _save(zero, job, here)
    if job.zone != 0:
        split_zones(zero, job, p, t, here)
    _pull_gates(zero, job, p, before, kept, delta, here)
    if job.ahead != 0:
        _look_back(zero, job, p, t, delta, here)
    clear(zero, job, p, t, target=delta, width=4 * job.H)
    if job.gain != 0:
        _take_drives(zero, job, p, t, delta)
        through_gates(zero, job, p, delta, kept, here)
    # The GRU's product begins with g z, which `gru_pull` has left in gh.
    start, ldstart = here.gh, full
    if job.kind == LSTM:
        start, ldstart = here.zeros, 0
    target = here.gh
    if job.recurrent != 0:
        target, start, ldstart = here.back, here.zeros, 0
    back = Product(
        a1=delta, lda1=4 * job.H, k1=_recurrent(job), a2=delta, lda2=0, k2=0, b=here.packed, ldb=0, start=start,
        ldstart=ldstart, c=target, ldc=full, units=full // vector_width(zero),
    )  # fmt: skip
    times_packed(zero, rows=job.B, whole=back)
    if job.recurrent != 0:
        leave_mask(zero, job, p, here)
    if job.zone != 0:
        # gh and gc are neighbours, and so is what passed them by.
        count = 2 * job.B * full // vector_width(zero)
        combine(zero, Sum(out=here.gh, factor=here.one, x=here.passed, y=here.gh, count=count))
    _put_back(zero, job, p, t, here)


@inlined
def _save(zero, job, here):
    """Keep the errors as they are before a step, where sequences differ."""
    if job.each != 0:
        copy(zero, target=here.saved, source=here.gh, count=2 * job.B * padded(zero, job.H))
        copy(zero, target=here.saved_v, source=here.gv, count=job.B * padded(zero, 4 * job.H))


@inlined
def _put_back(zero, job, p, t, here):
    """What was saved, for the samples that have not begun."""
    size, full, four = item_bytes(zero), padded(zero, job.H), padded(zero, 4 * job.H)
    hold(zero, job, p, t, target=here.gh, source=here.saved, width=full)
    hold(zero, job, p, t, target=here.gc, source=here.saved + job.B * full * size, width=full)
    hold(zero, job, p, t, target=here.gv, source=here.saved_v, width=four)


@inlined
def _look_back(zero, job, p, t, delta, here):
    """From errors of the gates to those of v, which acts in the next step too."""
    size, G = item_bytes(zero), 4 * job.H
    kappa = job.inputs + ((p * job.T + t) * job.B * job.I + G) * size
    look_back(
        zero,
        LookBack(delta=delta, gv=here.gv, plane=padded(zero, G), kappa=kappa, apart=job.I, samples=job.B, G=G),
    )


@inlined
def _pull_gates(zero, job, p, before, kept, delta, here):
    """Errors of gates and candidates from gh and gc, which then hold what passes the matrix by."""
    full = padded(zero, job.H)
    if job.kind == LSTM:
        if job.cell_gain != 0:
            through_cell(zero, job, p, kept, here)
        shown = 1 if job.cell_gain == 0 else 0
        lstm = LstmPull(
            kept=kept, keep=job.keep, before=before, state=job.S, gh=here.gh, gc=here.gc, plane=full, delta=delta,
            shown=shown,
            samples=job.B, H=job.H,
        )  # fmt: skip
        lstm_pull(zero, lstm)
    else:
        gru = GruPull(
            kept=kept, keep=job.keep, before=before, g=here.gh, plane=full, delta=delta, samples=job.B, H=job.H
        )
        gru_pull(zero, gru)


@inlined
def _take_drives(zero, job, p, t, delta):
    """The gradients of drives, before layer norm makes others of these errors."""
    size, drives = item_bytes(zero), _drives_of(zero, job, p, t)
    for b in range(job.B):
        _copy_drive(zero, job, target=drives + b * _recurrent(job) * size, source=delta + 4 * b * job.H * size)


@inlined
def _drives_of(zero, job, p, t):
    """Where the gradients of step t's drives go."""
    return job.drives + (p * job.T + t) * job.B * _recurrent(job) * item_bytes(zero)


@inlined
def _add_block(zero, job, p, t, count, delta, here):
    """Add `count` samples from step t on to the gradients of w_rec, w_in and the biases."""
    size, four, S = item_bytes(zero), padded(zero, 4 * job.H), job.S
    # The last block of the LSTM's states is c, which the matrix does not read: S is the stride, H the width.
    seen, ldseen = job.h + (p * (job.T + 1) + t) * job.B * S * size, S
    if job.recurrent != 0:
        read_states(zero, job, p, h=seen, stride=S, count=count, here=here)
        seen, ldseen = here.seen, job.H
    for which in range(3):  # one place to call from: each copy of the product costs compile time
        left, ldl, rows = seen, ldseen, job.H
        columns, total = padded(zero, _recurrent(job)), here.dw_rec
        if which == 1:
            left, ldl = job.inputs + (p * job.T + t) * job.B * job.I * size, job.I
            rows, columns, total = job.I if job.dw_in != 0 else 0, four, here.dw_in
        elif which == 2:  # a column of ones, as one number with stride 0
            left, ldl, rows = here.one, 0, 1 if job.dbias != 0 or job.down != 0 else 0
            columns, total = four, here.dbias
        outer = Outer(count=count, left=left, ldl=ldl, rows=rows, right=delta, ldr=4 * job.H, columns=columns, c=total)
        add_outer(zero, outer)


@inlined
def _write_x(zero, job, target, here):
    """gh, gc and gv side by side."""
    size, full, four, S, H = item_bytes(zero), padded(zero, job.H), padded(zero, 4 * job.H), job.S, job.H
    for b in range(job.B):
        copy(zero, target=target + b * S * size, source=here.gh + b * full * size, count=job.H)
        copy(zero, target=target + (b * S + job.H) * size, source=here.gc + b * full * size, count=min(S - H, H))
        copy(zero, target=target + (b * S + 2 * H) * size, source=here.gv + b * four * size, count=S - 2 * H)


@inlined
def _write_sums(zero, job, p, here):
    """The gradients of row p without their padding."""
    size, four, A = item_bytes(zero), padded(zero, 4 * job.H), _recurrent(job)
    inner = job.I if job.dw_in != 0 else 0
    copy_out(zero, target=job.dw_rec + p * job.H * A * size, source=here.dw_rec, rows=job.H, columns=A)
    for i in range(inner):
        _copy_drive(zero, job, target=job.dw_in + (p * inner + i) * A * size, source=here.dw_in + i * four * size)
    if job.dbias != 0:
        _copy_drive(zero, job, target=job.dbias + p * A * size, source=here.dbias)
    if job.down != 0:
        # With layer norm delta is the error before it, and b_n is added after it.
        sums = here.dbias if job.gain == 0 else here.dbeta
        copy(zero, target=job.down + p * job.H * size, source=sums + 2 * job.H * size, count=job.H)
    if job.dgain != 0:
        copy(zero, target=job.dgain + p * A * size, source=here.dgain, count=A)
    if job.dcell_gain != 0:
        copy(zero, target=job.dcell_gain + p * job.H * size, source=here.dcell_gain, count=job.H)
        copy(zero, target=job.dcell_bias + p * job.H * size, source=here.dcell_bias, count=job.H)
    if job.dh0 != 0:
        _sum_samples(zero, job, job.dh0 + p * job.h0_width * size, here)


@inlined
def _copy_drive(zero, job, target, source):
    """A row of sums over the four blocks of delta, as a gradient of drives: the GRU's candidate has its own."""
    size, H = item_bytes(zero), job.H
    if job.kind == LSTM:
        copy(zero, target=target, source=source, count=4 * H)
    else:
        copy(zero, target=target, source=source, count=2 * H)
        copy(zero, target=target + 2 * H * size, source=source + 3 * H * size, count=H)


@inlined
def _sum_samples(zero, job, target, here):
    """Sums of gh, gc and gv over the samples."""
    size, full, H = item_bytes(zero), padded(zero, job.H), job.H
    for i in range(job.h0_width):
        at, stride = here.gh + i * size, full
        if i >= 2 * H:
            at, stride = here.gv + (i - 2 * H) * size, padded(zero, 4 * H)
        elif i >= H:
            at = here.gc + (i - H) * size
        total = zero
        for b in range(job.B):
            total += load(zero, at + b * stride * size)
        store(zero, total, target + i * size)
