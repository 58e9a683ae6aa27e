"""Backpropagation through blocks around a diagonal recurrence, with the gradients of all their parameters.

Block by block of `chunk` steps from the last to the first: behind the recurrence, the recurrence itself from step to
step, before it. What is behind is done for steps that show an error only: of a last-step error, for the last.
"""

from __future__ import annotations

from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map, part
from rnnsweep.core.recurrence.cpu.emit.block_norms import Norm, NormPull, norm, norm_pull
from rnnsweep.core.recurrence.cpu.emit.block_steps import (
    NO_GATE,
    Gate,
    GatePull,
    GeluAgain,
    GeluPull,
    Plus,
    TurnBack,
    gate,
    gate_pull,
    gelu_again,
    gelu_pull,
    plus,
    turn_back,
)
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.vectors import item_bytes, load_int, number, store
from rnnsweep.core.recurrence.cpu.kernels.block_forward import lined, times
from rnnsweep.core.recurrence.cpu.kernels.cell_forward import write_begins
from rnnsweep.core.recurrence.cpu.kernels.matrices import Outer, add_outer, copy, copy_out, fill, pack, padded


class BlockBackwardJob(NamedTuple):
    """Arguments of `block_backward_rows`: addresses (0 = absent) of arrays as in `KeptRecord`, `LoopGradients`; sizes.

    Attributes:
        T, B, H, N, I, G, K, S, gate, prenorm, chunk, lam_re, lam_im, b, c, d, gain, w_gate, gate_row, lengths, each, h,
            kept: as in `BlockForwardJob`; `gate` is FROM_SHARES where there is one.
        last, steps: one of the two, with `direct_width` entries per sample.
        back: what each step hands back; 0 where nobody wants the trace. drive: errors of drives, or 0.
        dw_in and the others: gradients without gaps.
    """

    T: int
    B: int
    H: int
    N: int
    I: int  # noqa: E741 - inputs
    G: int
    K: int
    S: int
    gate: int
    prenorm: int
    chunk: int
    inputs: int
    lam_re: int
    lam_im: int
    b: int
    c: int
    d: int
    gain: int
    shift: int
    w_gate: int
    gate_row: int
    lengths: int
    each: int
    h: int
    kept: int
    last: int
    steps: int
    direct_width: int
    back: int
    drive: int
    dw_in: int
    dbias: int
    dlam_re: int
    dlam_im: int
    db: int
    dc: int
    dd: int
    dgain: int
    dshift: int
    dw_gate: int
    db_gate: int


class BlockBackwardScratch(NamedTuple):
    """One thread's memory in `block_backward_rows`; V, X, W: H, 2 N, G in whole cache lines; n = chunk B.

    dw_in   [I, V]   sums over all steps, cleared at once with the next six
    dbias   [V]
    db      [H, X]
    dc      [2 N, V]
    dw_gate [H, W]
    db_gate [W]
    later   [B, X]   what a step hands back to x
    b       [2 N, V] matrices transposed, in column panels
    c       [H, X]
    w_gate  [G, V]
    zeros   [X + V]
    one     [64 bytes]  the number 1
    z       [n, V]   the normalised drive
    v       [n, V]   gelu(y)
    slope   [n, V]
    sums    [n, V]   what the last norm read
    gs      [n, V]   errors of what is shown, then of u by the skip
    gv      [n, V]   errors of gelu(y), then of y
    gw      [n, W]   errors of what the gate reads
    gz      [n, V]   errors of z, then of u
    gx      [n, X]   errors of x
    begins  [8 B bytes]  int64: each sample's first own step
    """

    dw_in: int
    dbias: int
    db: int
    dc: int
    dw_gate: int
    db_gate: int
    later: int
    b: int
    c: int
    w_gate: int
    zeros: int
    one: int
    z: int
    v: int
    slope: int
    sums: int
    gs: int
    gv: int
    gw: int
    gz: int
    gx: int
    begins: int
    end: int


@memory_map
def block_backward_scratch(start, size, V, X, W, job):
    """The map of `BlockBackwardScratch` from `start` on; `end` - `start` is its size in bytes.

    Args:
        V, X, W: H, 2 N and G in whole cache lines.
    """
    plane = job.chunk * job.B * V * size
    dbias = start + (job.I if job.dw_in != 0 else 0) * V * size
    db = dbias + V * size
    dc = db + job.H * X * size
    dw_gate = dc + 2 * job.N * V * size
    db_gate = dw_gate + job.H * W * size
    later = db_gate + W * size
    b = later + job.B * X * size
    c = b + 2 * job.N * V * size
    w_gate = c + job.H * X * size
    zeros = w_gate + job.G * V * size
    one = zeros + (X + V) * size
    z = one + 64
    gw = z + 6 * plane
    gz = gw + job.chunk * job.B * W * size
    gx = gz + plane
    begins = gx + job.chunk * job.B * X * size
    return BlockBackwardScratch(
        dw_in=start, dbias=dbias, db=db, dc=dc, dw_gate=dw_gate, db_gate=db_gate, later=later, b=b, c=c, w_gate=w_gate,
        zeros=zeros, one=one, z=z, v=z + plane, slope=z + 2 * plane, sums=z + 3 * plane, gs=z + 4 * plane,
        gv=z + 5 * plane, gw=gw, gz=gz, gx=gx, begins=begins, end=begins + 8 * job.B,
    )  # fmt: skip


@kernel
def block_backward_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `BlockBackwardJob`, by one thread."""
    mode = flush_subnormals()
    size = item_bytes(zero)
    V, X, W = lined(zero, job.H), lined(zero, 2 * job.N), lined(zero, job.G)
    here = block_backward_scratch(scratch, size=size, V=V, X=X, W=W, job=job)
    # Padding is read by products, and reaches the padding of results only.
    fill(zero, target=scratch, count=(here.begins - scratch) // size)
    store(zero, number(zero, 1.0), here.one)
    for p in range(first, last):
        _prepare(zero, job, p, here)
        write_begins(job, p, begins=here.begins)
        own = job.T - load_int(job.lengths + p * 8)
        # Blocks are counted from the end, and stop at the row's own start: a shorter pack has the same ones.
        for end in range(job.T, own, -job.chunk):
            begin = max(own, end - job.chunk)
            _block(
                zero, job, p, t=begin, steps=end - begin, here=here,
            )  # fmt: skip
        _before_start(zero, job, p, own, here)
        _write_sums(zero, job, p, here)
    restore_mode(mode)


@inlined
def _prepare(zero, job, p, here):
    """Pack row p's matrices, transposed; nothing has been summed yet."""
    size, H, X = item_bytes(zero), job.H, 2 * job.N
    fill(zero, target=here.dw_in, count=(here.b - here.dw_in) // size)
    for sums in (job.dd, job.dgain, job.dshift):
        fill(zero, target=sums + p * H * size, count=H)
    for sums in (job.dlam_re, job.dlam_im):
        fill(zero, target=sums + p * job.N * size, count=job.N)
    _turned(zero, target=here.b, source=job.b + p * H * X * size, inner=X, columns=H)
    _turned(zero, target=here.c, source=job.c + p * X * H * size, inner=H, columns=X)
    _turned(zero, target=here.w_gate, source=job.w_gate + p * job.gate_row * size, inner=job.G, columns=H)


@inlined
def _turned(zero, target, source, inner, columns):
    """The transpose [inner, columns] of a matrix in column panels."""
    pack(
        zero, target=target, source=source, inner=inner, columns=columns, inner_step=1, column_step=inner, first=0,
        total=inner,
    )  # fmt: skip


@part
def accumulate(zero, outer):
    """`add_outer` as a function of its own: each copy of it costs compile time."""
    add_outer(zero, outer)


@inlined
def add(zero, count, left, ldl, rows, right, ldr, columns, total):
    """total += left^T right over `count` samples."""
    accumulate(
        zero,
        Outer(count=count, left=left, ldl=ldl, rows=rows, right=right, ldr=ldr, columns=padded(zero, columns), c=total),
    )


@inlined
def _block(zero, job, p, t, steps, here):
    """All of `steps` steps from t on."""
    size, H, K, rows = item_bytes(zero), job.H, job.K, steps * job.B
    V, X = lined(zero, H), lined(zero, 2 * job.N)
    u = job.kept + (p * job.T + t) * job.B * K * size
    stats = u + (2 * V + lined(zero, job.G)) * size
    gain = job.gain + p * H * size
    z, ldz = u, K
    if job.prenorm != 0:
        z, ldz = here.z, V
        again = Norm(
            x=u, ldx=K, out=z, ldout=V, gain=gain, shift=job.shift + p * H * size, stats=stats, ldstats=K, again=1,
            rows=rows, H=H,
        )  # fmt: skip
        norm(zero, again)
    fill(zero, target=here.gs, count=rows * V)
    fill(zero, target=here.gz, count=rows * V)
    fill(zero, target=here.gx, count=rows * X)
    # Steps without an error of what they show: all but the last one, of a last-step error.
    silent = 0 if job.steps != 0 else min(steps, max(0, job.T - 1 - t))
    if silent < steps:
        skip = silent * job.B
        _behind(
            zero, job, p, t=t + silent, rows=rows - skip, skip=skip, z=z + skip * ldz * size, ldz=ldz, here=here,
        )  # fmt: skip
    _through_time(zero, job, p, t, steps, here)
    add(
        zero, count=rows, left=z, ldl=ldz, rows=H, right=here.gx, ldr=X, columns=2 * job.N, total=here.db,
    )  # fmt: skip
    times(
        zero, rows, a=here.gx, lda=X, inner=2 * job.N, b=here.b, start=here.gz, ldstart=V, c=here.gz, ldc=V, columns=H,
    )  # fmt: skip
    if job.prenorm != 0:
        pulled = NormPull(
            g=here.gz, ldg=V, more=here.gs, ldmore=V, out=here.gz, ldout=V, x=u, ldx=K, stats=stats, ldstats=K,
            gain=gain, dgain=job.dgain + p * H * size, dshift=job.dshift + p * H * size, rows=rows, H=H,
        )  # fmt: skip
        norm_pull(zero, pulled)
    else:
        plus(zero, Plus(out=here.gz, ldout=V, x=here.gs, ldx=V, rows=rows, H=H))
    if job.dw_in != 0:
        inputs = job.inputs + (p * job.T + t) * job.B * job.I * size
        add(
            zero, count=rows, left=inputs, ldl=job.I, rows=job.I, right=here.gz, ldr=V, columns=H, total=here.dw_in,
        )  # fmt: skip
    if job.dbias != 0:  # a column of ones, as one number with stride 0
        add(
            zero, count=rows, left=here.one, ldl=0, rows=1, right=here.gz, ldr=V, columns=H, total=here.dbias,
        )  # fmt: skip
    for n in range(rows if job.drive != 0 else 0):
        drive = job.drive + ((p * job.T + t) * job.B + n) * H * size
        copy(zero, target=drive, source=here.gz + n * V * size, count=H)


@inlined
def _behind(zero, job, p, t, rows, skip, z, ldz, here):
    """From errors of what is shown, from step t on, to those of x, z and u; `skip`: samples of the block before t."""
    size, H, N, K, S = item_bytes(zero), job.H, job.N, job.K, job.S
    V, X, W = lined(zero, H), lined(zero, 2 * N), lined(zero, job.G)
    u = job.kept + (p * job.T + t) * job.B * K * size
    y, w = u + V * size, u + 2 * V * size
    gs, gz, gx = here.gs + skip * V * size, here.gz + skip * V * size, here.gx + skip * X * size
    _direct(zero, job, p, t, rows, gs, gx, here)
    gelu_again(zero, GeluAgain(y=y, ldy=K, v=here.v, slope=here.slope, ldv=V, rows=rows, H=H))
    value, ldvalue, share = here.v, V, w
    dvalue, lddvalue, dshare = here.gv, V, here.gw
    if job.G > H:
        value, ldvalue, share = w, K, w + H * size
        dvalue, lddvalue, dshare = here.gw, W, here.gw + H * size
    if job.prenorm == 0:
        again = Gate(
            mode=job.gate, u=u, ldu=K, part=value, ldpart=ldvalue, w=share, ldw=K, out=here.sums, ldout=V, rows=rows,
            H=H,
        )  # fmt: skip
        gate(zero, again)
        pulled = NormPull(
            g=gs, ldg=V, more=here.zeros, ldmore=0, out=gs, ldout=V, x=here.sums, ldx=V, stats=w + W * size, ldstats=K,
            gain=job.gain + p * H * size, dgain=job.dgain + p * H * size, dshift=job.dshift + p * H * size, rows=rows,
            H=H,
        )  # fmt: skip
        norm_pull(zero, pulled)
    if job.gate != NO_GATE:
        opened = GatePull(
            g=gs, ldg=V, part=value, ldpart=ldvalue, share=share, ldshare=K, dpart=dvalue, lddpart=lddvalue, dw=dshare,
            lddw=W, rows=rows, H=H,
        )  # fmt: skip
        gate_pull(zero, opened)
        add(
            zero, count=rows, left=here.v, ldl=V, rows=H, right=here.gw, ldr=W, columns=job.G, total=here.dw_gate,
        )  # fmt: skip
        add(
            zero, count=rows, left=here.one, ldl=0, rows=1, right=here.gw, ldr=W, columns=job.G, total=here.db_gate,
        )  # fmt: skip
        start, ldstart = (here.zeros, 0) if job.G > H else (here.gv, V)
        times(
            zero, rows, a=here.gw, lda=W, inner=job.G, b=here.w_gate, start=start, ldstart=ldstart, c=here.gv, ldc=V,
            columns=H,
        )  # fmt: skip
    else:
        copy(zero, target=here.gv, source=gs, count=rows * V)
    pulled_gelu = GeluPull(
        g=here.gv, slope=here.slope, dz=gz, ldg=V, z=z, ldz=ldz, d=job.d + p * H * size, dd=job.dd + p * H * size,
        rows=rows, H=H,
    )  # fmt: skip
    gelu_pull(zero, pulled_gelu)
    x = job.h + ((p * (job.T + 1) + t + 1) * job.B * S + H) * size
    add(
        zero, count=rows, left=x, ldl=S, rows=2 * N, right=here.gv, ldr=V, columns=H, total=here.dc,
    )  # fmt: skip
    # what later calls give x directly is there already
    times(
        zero, rows, a=here.gv, lda=V, inner=H, b=here.c, start=gx, ldstart=X, c=gx, ldc=X, columns=2 * N,
    )  # fmt: skip


@inlined
def _direct(zero, job, p, t, rows, gs, gx, here):
    """Errors of what is shown and of x that come from outside; 0 for samples that have not begun."""
    size, H, width = item_bytes(zero), job.H, job.direct_width
    source = job.steps + (p * job.T + t) * job.B * width * size
    if job.steps == 0:
        source = job.last + p * job.B * width * size
    for n in range(rows):
        if job.each == 0 or t + n // job.B >= load_int(here.begins + n % job.B * 8):
            copy(
                zero, target=gs + n * lined(zero, H) * size, source=source + n * width * size, count=min(H, width)
            )  # fmt: skip
            copy(
                zero, target=gx + n * lined(zero, 2 * job.N) * size, source=source + (n * width + H) * size,
                count=width - H,
            )  # fmt: skip


@inlined
def _through_time(zero, job, p, t, steps, here):
    """The recurrence, from the block's last step to its first."""
    size, N, S = item_bytes(zero), job.N, job.S
    X = lined(zero, 2 * N)
    for n in range(steps - 1, -1, -1):
        turned = TurnBack(
            later=here.later, ldlater=X, g=here.gx + n * job.B * X * size, ldg=X,
            before=job.h + ((p * (job.T + 1) + t + n) * job.B * S + job.H) * size, state=S,
            lam_re=job.lam_re + p * N * size, lam_im=job.lam_im + p * N * size, dlam_re=job.dlam_re + p * N * size,
            dlam_im=job.dlam_im + p * N * size, t=t + n, begins=here.begins, samples=job.B, N=N,
        )  # fmt: skip
        turn_back(zero, turned)
        if job.back != 0:
            _hand_back(zero, job, p, t + n, here)


@inlined
def _hand_back(zero, job, p, t, here):
    """What step t hands back to x; what is shown reaches no later step."""
    size, X = item_bytes(zero), lined(zero, 2 * job.N)
    for b in range(job.B):
        to = job.back + ((p * job.T + t) * job.B + b) * job.S * size
        fill(zero, target=to, count=job.H)
        copy(zero, target=to + job.H * size, source=here.later + b * X * size, count=2 * job.N)


@inlined
def _before_start(zero, job, p, own, here):
    """Steps before the row's own start hand back what they get, and have no errors."""
    for t in range(own if job.back != 0 else 0):
        _hand_back(zero, job, p, t, here)
    if job.drive != 0:
        width = job.B * job.H
        fill(zero, target=job.drive + p * job.T * width * item_bytes(zero), count=own * width)


@inlined
def _write_sums(zero, job, p, here):
    """The gradients of row p without their padding."""
    size, H, X = item_bytes(zero), job.H, 2 * job.N
    if job.dw_in != 0:
        copy_out(zero, target=job.dw_in + p * job.I * H * size, source=here.dw_in, rows=job.I, columns=H)
    if job.dbias != 0:
        copy(zero, target=job.dbias + p * H * size, source=here.dbias, count=H)
    copy_out(zero, target=job.db + p * H * X * size, source=here.db, rows=H, columns=X)
    copy_out(zero, target=job.dc + p * X * H * size, source=here.dc, rows=X, columns=H)
    copy_out(zero, target=job.dw_gate + p * H * job.G * size, source=here.dw_gate, rows=H, columns=job.G)
    copy(zero, target=job.db_gate + p * job.G * size, source=here.db_gate, count=job.G)
