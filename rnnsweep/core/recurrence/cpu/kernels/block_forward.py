"""The forward loop of blocks around a diagonal recurrence, one row after another.

Only the recurrence goes from step to step. What stands before and behind it is done for a block of `chunk` steps, whose
samples stay in the caches from the inputs to what is shown.

What is kept of a sample is [u, y, w, mean, spread], each in whole cache lines: the drive, what goes into gelu, what
the gate reads, with the sigmoid's values in place of its sums, and what the norm found.
"""

from __future__ import annotations

from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map, part
from rnnsweep.core.recurrence.cpu.emit.block_norms import Norm, norm
from rnnsweep.core.recurrence.cpu.emit.block_steps import NO_GATE, Gate, Gelu, Turn, gate, gelu, turn
from rnnsweep.core.recurrence.cpu.emit.products import Product
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.vectors import LINE, item_bytes, load_int, vector_width
from rnnsweep.core.recurrence.cpu.kernels.cell_forward import write_begins
from rnnsweep.core.recurrence.cpu.kernels.matrices import copy, fill, pack, padded, times_packed


class BlockForwardJob(NamedTuple):
    """Arguments of `block_forward_rows`: addresses (0 = absent) of arrays as in `LoopWeights`, `KeptRecord`; sizes.

    Attributes:
        T, B, H, N, I: I is the number of inputs, or H where they are drives (no `w_in`).
        G: columns of the gate's matrix: 2 H, H or 0. gate: `Gate.mode`. prenorm: whether the norm comes first.
        K: entries of what is kept. S: of a state. chunk: steps of a block.
        b, c, w_gate: matrices [H, 2 N], [2 N, H], [H, G]; gate_row: entries from one row's w_gate to the next one's.
        lengths: of each row's longest sequence. each: of every sequence, where those of a row differ.
        h: states; those before the first step are there.
        last: whether what is shown is made of the last step alone: of other steps states have no such part.
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
    w_in: int
    bias: int
    lam_re: int
    lam_im: int
    b: int
    c: int
    d: int
    gain: int
    shift: int
    w_gate: int
    gate_row: int
    b_gate: int
    lengths: int
    each: int
    h: int
    kept: int
    last: int


class BlockForwardScratch(NamedTuple):
    """One thread's memory in `block_forward_rows`; V, X, W: H, 2 N, G in whole cache lines; n = chunk B.

    w_in    [I, V]   matrices in column panels
    b       [H, X]
    c       [2 N, V]
    w_gate  [H, W]
    bias    [V]      rows that products begin with
    b_gate  [W]
    zeros   [X + V]
    z       [n, V]   the normalised drive
    into    [n, X]
    v       [n, V]   gelu(y)
    sums    [n, V]   what the last norm reads
    begins  [8 B bytes]  int64: each sample's first own step
    """

    w_in: int
    b: int
    c: int
    w_gate: int
    bias: int
    b_gate: int
    zeros: int
    z: int
    into: int
    v: int
    sums: int
    begins: int
    end: int


@memory_map
def block_forward_scratch(start, size, V, X, W, job):
    """The map of `BlockForwardScratch` from `start` on; `end` - `start` is its size in bytes.

    Args:
        V, X, W: H, 2 N and G in whole cache lines.
    """
    plane = job.chunk * job.B * V * size
    b = start + (job.I if job.w_in != 0 else 0) * V * size
    c = b + job.H * X * size
    w_gate = c + 2 * job.N * V * size
    bias = w_gate + job.H * W * size
    b_gate = bias + V * size
    zeros = b_gate + W * size
    z = zeros + (X + V) * size
    into = z + plane
    v = into + job.chunk * job.B * X * size
    sums = v + plane
    begins = sums + plane
    return BlockForwardScratch(
        w_in=start, b=b, c=c, w_gate=w_gate, bias=bias, b_gate=b_gate, zeros=zeros, z=z, into=into, v=v, sums=sums,
        begins=begins, end=begins + 8 * job.B,
    )  # fmt: skip


@kernel
def block_forward_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `BlockForwardJob`: all states, and what the backward loop wants to see again."""
    mode = flush_subnormals()
    size = item_bytes(zero)
    V, X, W = lined(zero, job.H), lined(zero, 2 * job.N), lined(zero, job.G)
    here = block_forward_scratch(scratch, size=size, V=V, X=X, W=W, job=job)
    # Padding is read by products, and reaches the padding of results only.
    fill(zero, target=scratch, count=(here.begins - scratch) // size)
    step = job.B * job.S * size
    for p in range(first, last):
        _prepare(zero, job, p, here)
        write_begins(job, p, begins=here.begins)
        own = job.T - load_int(job.lengths + p * 8)
        h = job.h + p * (job.T + 1) * step
        for t in range(own):
            copy(zero, target=h + (t + 1) * step, source=h + t * step, count=job.B * job.S)
        fill(zero, target=job.kept + p * job.T * job.B * job.K * size, count=own * job.B * job.K)
        for t in range(own, job.T, job.chunk):
            _block(zero, job, p, t, min(job.chunk, job.T - t), here)
    restore_mode(mode)


@inlined
def lined(zero, n):
    """Width n rounded up to whole cache lines: from sample to sample vectors begin alike."""
    width = LINE // item_bytes(zero)
    return (n + width - 1) // width * width


@inlined
def _prepare(zero, job, p, here):
    """Pack row p's matrices, and lay out its biases."""
    size, H, X = item_bytes(zero), job.H, 2 * job.N
    if job.w_in != 0:
        packed(zero, target=here.w_in, source=job.w_in + p * job.I * H * size, inner=job.I, columns=H)
    packed(zero, target=here.b, source=job.b + p * H * X * size, inner=H, columns=X)
    packed(zero, target=here.c, source=job.c + p * X * H * size, inner=X, columns=H)
    packed(zero, target=here.w_gate, source=job.w_gate + p * job.gate_row * size, inner=H, columns=job.G)
    if job.bias != 0:
        copy(zero, target=here.bias, source=job.bias + p * H * size, count=H)
    copy(zero, target=here.b_gate, source=job.b_gate + p * job.G * size, count=job.G)


@inlined
def packed(zero, target, source, inner, columns):
    """A whole matrix [inner, columns] in column panels."""
    pack(
        zero, target=target, source=source, inner=inner, columns=columns, inner_step=columns, column_step=1, first=0,
        total=inner,
    )  # fmt: skip


@part
def multiply(zero, rows, whole):
    """`times_packed` as a function of its own: each copy of it costs compile time."""
    times_packed(zero, rows=rows, whole=whole)


@inlined
def times(zero, rows, a, lda, inner, b, start, ldstart, c, ldc, columns):
    """c = start + a B, of so many rows; B is packed."""
    whole = Product(
        a1=a, lda1=lda, k1=inner, a2=a, lda2=0, k2=0, b=b, ldb=0, start=start, ldstart=ldstart, c=c, ldc=ldc,
        units=padded(zero, columns) // vector_width(zero),
    )  # fmt: skip
    multiply(zero, rows, whole)


@inlined
def _block(zero, job, p, t, steps, here):
    """All of `steps` steps from t on; what is behind the recurrence perhaps of the last one alone."""
    size, H, N, S, K, rows = item_bytes(zero), job.H, job.N, job.S, job.K, steps * job.B
    V, X = lined(zero, H), lined(zero, 2 * N)
    step = job.B * S * size
    u, before = job.kept + (p * job.T + t) * job.B * K * size, job.h + (p * (job.T + 1) + t) * step
    stats = u + (2 * V + lined(zero, job.G)) * size
    gain, shift = job.gain + p * H * size, job.shift + p * H * size
    _drives(zero, job, p, t, rows, u, here)
    z, ldz = u, K
    if job.prenorm != 0:
        z, ldz = here.z, V
        normed = Norm(
            x=u, ldx=K, out=z, ldout=V, gain=gain, shift=shift, stats=stats, ldstats=K, again=0, rows=rows, H=H
        )  # fmt: skip
        norm(zero, normed)
    times(
        zero, rows, a=z, lda=ldz, inner=H, b=here.b, start=here.zeros, ldstart=0, c=here.into, ldc=X, columns=2 * N,
    )  # fmt: skip
    for n in range(steps):
        x = before + n * step + H * size
        moved = Turn(
            before=x, after=x + step, state=S, into=here.into + n * job.B * X * size, ldinto=X,
            lam_re=job.lam_re + p * N * size, lam_im=job.lam_im + p * N * size, t=t + n, begins=here.begins,
            samples=job.B, N=N,
        )  # fmt: skip
        turn(zero, moved)
    first = 0 if job.last == 0 else steps - 1 if t + steps == job.T else steps
    if first < steps:
        _show(
            zero, job, p, rows=(steps - first) * job.B, u=u + first * job.B * K * size,
            shown=before + (first + 1) * step, z=z + first * job.B * ldz * size, ldz=ldz, here=here,
        )  # fmt: skip
    if job.last == 0:
        _hold(zero, job, t, steps, before + step, here)


@inlined
def _show(zero, job, p, rows, u, shown, z, ldz, here):
    """What is behind the recurrence, of so many samples whose drives and states begin at u and `shown`."""
    size, H, N, S, K = item_bytes(zero), job.H, job.N, job.S, job.K
    V = lined(zero, H)
    y, w = u + V * size, u + 2 * V * size
    stats = w + lined(zero, job.G) * size
    gain, shift = job.gain + p * H * size, job.shift + p * H * size
    times(
        zero, rows, a=shown + H * size, lda=S, inner=2 * N, b=here.c, start=here.zeros, ldstart=0, c=y, ldc=K,
        columns=H,
    )  # fmt: skip
    gelu(zero, Gelu(y=y, ldy=K, z=z, ldz=ldz, d=job.d + p * H * size, v=here.v, ldv=V, rows=rows, H=H))
    if job.gate != NO_GATE:
        times(
            zero, rows, a=here.v, lda=V, inner=H, b=here.w_gate, start=here.b_gate, ldstart=0, c=w, ldc=K,
            columns=job.G,
        )  # fmt: skip
    # A full gate multiplies the two halves of w, half a gate v and w.
    value, ldvalue, weighed = here.v, V, w
    if job.G > H:
        value, ldvalue, weighed = w, K, w + H * size
    to, ldto = (shown, S) if job.prenorm != 0 else (here.sums, V)
    gated = Gate(
        mode=job.gate, u=u, ldu=K, part=value, ldpart=ldvalue, w=weighed, ldw=K, out=to, ldout=ldto, rows=rows, H=H
    )  # fmt: skip
    gate(zero, gated)
    if job.prenorm == 0:
        last = Norm(
            x=here.sums, ldx=V, out=shown, ldout=S, gain=gain, shift=shift, stats=stats, ldstats=K, again=0, rows=rows,
            H=H,
        )  # fmt: skip
        norm(zero, last)


@inlined
def _drives(zero, job, p, t, rows, u, here):
    """u of a block; 0 for samples that have not begun."""
    size, H, K = item_bytes(zero), job.H, job.K
    inputs = job.inputs + (p * job.T + t) * job.B * job.I * size
    if job.w_in != 0:
        times(
            zero, rows, a=inputs, lda=job.I, inner=job.I, b=here.w_in, start=here.bias, ldstart=0, c=u, ldc=K,
            columns=H,
        )  # fmt: skip
    else:
        for n in range(rows):
            copy(zero, target=u + n * K * size, source=inputs + n * H * size, count=H)
    for n in range(rows if job.each != 0 else 0):
        if t + n // job.B < load_int(here.begins + n % job.B * 8):
            fill(zero, target=u + n * K * size, count=H)


@inlined
def _hold(zero, job, t, steps, shown, here):
    """Samples that have not begun show what they showed before."""
    step = job.B * job.S * item_bytes(zero)
    for n in range(steps if job.each != 0 else 0):
        for b in range(job.B):
            if t + n < load_int(here.begins + b * 8):
                at = shown + n * step + b * job.S * item_bytes(zero)
                copy(zero, target=at, source=at - step, count=job.H)
