"""Filters over time on the input path, one row after another: drives forward, gradients of the input path back.

Nothing is padded in records. The way back sums block by block of time steps, as `backward` does.
"""

from __future__ import annotations

from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map
from rnnsweep.core.recurrence.cpu.emit.products import Product
from rnnsweep.core.recurrence.cpu.emit.recursions import FilterPull, FilterStep, filter_pull, filter_step
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.vectors import item_bytes, load_int, number, store, vector_width
from rnnsweep.core.recurrence.cpu.kernels.matrices import (
    Outer,
    add_outer,
    clear,
    copy,
    copy_out,
    fill,
    pack,
    padded,
    times_packed,
)


class FilterJob(NamedTuple):
    """Arguments of `filter_rows`: addresses (0 = absent) of arrays as in `DriveFilter` and `FilterRecord`; sizes.

    Attributes:
        S: sequences that decay and beta are given for: 1 or B.
        beta, kept: of the adaptive kind.
        each: lengths of every sequence, where those of a row differ.
    """

    T: int
    B: int
    G: int
    I: int  # noqa: E741
    S: int
    inputs: int
    w_in: int
    bias: int
    after: int
    decay: int
    scale: int
    beta: int
    lengths: int
    each: int
    drives: int
    kept: int


class FilterScratch(NamedTuple):
    """One thread's memory in `filter_rows`; W = padded G.

    packed  [I, W]    w_in, in column panels
    bias    [W]
    after   [W]       these three are cleared at once
    v       [B, W]
    m       [B, W]
    z       [B, W]
    """

    packed: int
    bias: int
    after: int
    v: int
    m: int
    z: int
    end: int


@memory_map
def filter_scratch(start, size, width, job):
    """The map of `FilterScratch` from `start` on; `end` - `start` is its size in bytes."""
    row, plane = width * size, job.B * width * size
    bias = start + job.I * row
    after = bias + row
    v = after + row
    m = v + plane
    z = m + plane
    return FilterScratch(packed=start, bias=bias, after=after, v=v, m=m, z=z, end=z + plane)


@kernel
def filter_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `FilterJob`: all drives, and what the way back wants to see again."""
    mode = flush_subnormals()
    size, full = item_bytes(zero), padded(zero, job.G)
    here = filter_scratch(scratch, size=size, width=full, job=job)
    for p in range(first, last):
        fill(zero, target=here.after, count=(1 + 2 * job.B) * full)
        _prepare(zero, job, p, here)
        if job.after != 0:
            copy(zero, target=here.after, source=job.after + p * job.G * size, count=job.G)
        own = job.T - load_int(job.lengths + p * 8)
        for t in range(job.T):
            if t < own:
                # What comes in is not read before the start; from z = 0 a filter that is 0 stays 0.
                fill(zero, target=here.z, count=job.B * full)
            else:
                _drive(zero, job, p, t, here)
            _filter(zero, job, p, t, here)
    restore_mode(mode)


@inlined
def _prepare(zero, job, p, here):
    """w_in in column panels, and the bias, of row p."""
    size = item_bytes(zero)
    pack(
        zero, target=here.packed, source=job.w_in + p * job.I * job.G * size, inner=job.I, columns=job.G,
        inner_step=job.G, column_step=1, first=0, total=job.I,
    )  # fmt: skip
    fill(zero, target=here.bias, count=padded(zero, job.G))
    if job.bias != 0:
        copy(zero, target=here.bias, source=job.bias + p * job.G * size, count=job.G)


@inlined
def _drive(zero, job, p, t, here):
    """z = u w_in + bias of one step; 0 for the samples that have not begun."""
    size, full = item_bytes(zero), padded(zero, job.G)
    u = job.inputs + (p * job.T + t) * job.B * job.I * size
    z = Product(
        a1=u, lda1=job.I, k1=job.I, a2=u, lda2=0, k2=0, b=here.packed, ldb=0, start=here.bias, ldstart=0, c=here.z,
        ldc=full, units=full // vector_width(zero),
    )  # fmt: skip
    times_packed(zero, rows=job.B, whole=z)
    clear(zero, job, p, t, target=here.z, width=full)


@inlined
def _filter(zero, job, p, t, here):
    """One step of the recursions."""
    size = item_bytes(zero)
    row, apart = (p * job.T + t) * job.B * job.G * size, 1 if job.S > 1 else 0
    place = (p * job.T + t) * job.S * size
    step = FilterStep(
        z=here.z, v=here.v, m=here.m, plane=padded(zero, job.G), drive=job.drives + row, after=here.after,
        kept=job.kept + 2 * row if job.kept != 0 else 0, decay=job.decay + place, beta=job.beta + place, apart=apart,
        scale=job.scale + p * size, samples=job.B, G=job.G,
    )  # fmt: skip
    filter_step(zero, step)


class FilterBackJob(NamedTuple):
    """Arguments of `filter_back_rows`: addresses (0 = absent) of arrays as in `FilterRecord`, `FilterGradients`; sizes.

    Attributes:
        T, B, G, I, S, inputs, w_in, bias, decay, scale, beta, lengths, each, kept: as in `FilterJob`.
        g, g_row, ldg: gradients of the drives, entries from one row of the pack to the next, from one sample to the
            next. They are 0 before a sequence's own start.
        chunk: steps per block. dz: where the gradient of z goes, [P, T, B, G]; 0: nobody wants it.
        dw_in, dbias, dafter: gradients without gaps.
    """

    T: int
    B: int
    G: int
    I: int  # noqa: E741
    S: int
    inputs: int
    w_in: int
    bias: int
    decay: int
    scale: int
    beta: int
    lengths: int
    each: int
    kept: int
    g: int
    g_row: int
    ldg: int
    chunk: int
    dz: int
    dw_in: int
    dbias: int
    dafter: int


class FilterBackScratch(NamedTuple):
    """One thread's memory in `filter_back_rows`; W = padded G.

    v       [B, W]         these five are cleared at once
    m       [B, W]
    after   [W]
    dw_in   [I, W]
    dbias   [W]
    ring    [chunk B, W]   dz of a block
    one     [64 bytes]     the number 1
    packed  [I, W]         w_in, in column panels: of the adaptive kind z is made anew
    bias    [W]
    z       [B, W]
    """

    v: int
    m: int
    after: int
    dw_in: int
    dbias: int
    ring: int
    one: int
    packed: int
    bias: int
    z: int
    end: int


@memory_map
def filter_back_scratch(start, size, width, job):
    """The map of `FilterBackScratch` from `start` on; `end` - `start` is its size in bytes."""
    row, plane = width * size, job.B * width * size
    after = start + 2 * plane
    dw_in = after + row
    dbias = dw_in + job.I * row
    ring = dbias + row
    one = ring + job.chunk * plane
    packed = one + 64
    bias = packed + job.I * row
    z = bias + row
    return FilterBackScratch(
        v=start, m=start + plane, after=after, dw_in=dw_in, dbias=dbias, ring=ring, one=one, packed=packed, bias=bias,
        z=z, end=z + plane,
    )  # fmt: skip


@kernel
def filter_back_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `FilterBackJob`."""
    mode = flush_subnormals()
    size, full = item_bytes(zero), padded(zero, job.G)
    here = filter_back_scratch(scratch, size=size, width=full, job=job)
    # Padding of the ring is never written again, and reaches the padding of sums only.
    fill(zero, target=here.ring, count=job.chunk * job.B * full)
    store(zero, number(zero, 1.0), here.one)
    for p in range(first, last):
        fill(zero, target=here.v, count=(2 * job.B + 2 + job.I) * full)
        if job.kept != 0:
            _prepare(zero, job, p, here)
        own = job.T - load_int(job.lengths + p * 8)
        if job.dz != 0:
            fill(zero, target=job.dz + p * job.T * job.B * job.G * size, count=own * job.B * job.G)
        block_end = job.T
        for t in range(job.T - 1, own - 1, -1):
            dz = here.ring + (job.chunk - 1 - (job.T - 1 - t) % job.chunk) * job.B * full * size
            _pull(zero, job, p, t, dz, here)
            # Blocks are counted from the end, and stop at the row's own start: a shorter pack has the same ones.
            if t == own or (job.T - t) % job.chunk == 0:
                _add_block(zero, job, p, t, (block_end - t) * job.B, dz, here)
                block_end = t
        copy_out(
            zero, target=job.dw_in + p * job.I * job.G * size, source=here.dw_in, rows=job.I, columns=job.G
        )  # fmt: skip
        if job.dbias != 0:
            copy(zero, target=job.dbias + p * job.G * size, source=here.dbias, count=job.G)
        if job.dafter != 0:
            copy(zero, target=job.dafter + p * job.G * size, source=here.after, count=job.G)
    restore_mode(mode)


@inlined
def _pull(zero, job, p, t, dz, here):
    """dz of step t."""
    size, full = item_bytes(zero), padded(zero, job.G)
    row, apart = (p * job.T + t) * job.B * job.G * size, 1 if job.S > 1 else 0
    place = (p * job.T + t) * job.S * size
    # Nothing comes from later at the last step: any decay will do, and its own is there.
    later = place + job.S * size if t < job.T - 1 else place
    g, kept = job.g + (p * job.g_row + t * job.B * job.ldg) * size, job.kept
    if kept != 0:
        kept += 2 * row
        _drive(zero, job, p, t, here)
    pulled = FilterPull(
        g=g, ldg=job.ldg, dz=dz, v=here.v, m=here.m, z=here.z, plane=full, after=here.after, kept=kept,
        decay=job.decay + later, later=job.beta + later, beta=job.beta + place, apart=apart, scale=job.scale + p * size,
        samples=job.B, G=job.G,
    )  # fmt: skip
    filter_pull(zero, pulled)
    # Of samples that have not begun: z is 0 there, whatever comes from later.
    clear(zero, job, p, t, target=dz, width=full)
    if job.dz != 0:
        copy_out(zero, target=job.dz + row, source=dz, rows=job.B, columns=job.G)


@inlined
def _add_block(zero, job, p, t, count, dz, here):
    """Add `count` samples from step t on to the gradients of w_in and the bias."""
    size, full = item_bytes(zero), padded(zero, job.G)
    for which in range(2):  # one place to call from: each copy of the product costs compile time
        left, ldl = job.inputs + (p * job.T + t) * job.B * job.I * size, job.I
        rows, total = job.I, here.dw_in
        if which == 1:  # a column of ones, as one number with stride 0
            left, ldl, rows, total = here.one, 0, 1 if job.dbias != 0 else 0, here.dbias
        block = Outer(count=count, left=left, ldl=ldl, rows=rows, right=dz, ldr=full, columns=full, c=total)
        add_outer(zero, block)
