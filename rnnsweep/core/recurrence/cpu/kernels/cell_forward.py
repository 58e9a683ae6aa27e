"""The forward loop of cells that `step_formulas` describes, one row after another.

As in `gated_forward` nothing of a record is padded: a state has S entries per sample, x (what goes into a step) X of
them, all of them blocks of U.
"""

from __future__ import annotations

from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map
from rnnsweep.core.recurrence.cpu.emit.cell_steps import CellRead, CellStep, cell_read, cell_step
from rnnsweep.core.recurrence.cpu.emit.products import Product
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.vectors import (
    item_bytes,
    load,
    load_int,
    store,
    store_int,
    vector_width,
)
from rnnsweep.core.recurrence.cpu.kernels.matrices import copy, fill, pack, padded, times_packed


class CellForwardJob(NamedTuple):
    """Arguments of `cell_forward_rows`: addresses (0 = absent) of arrays as in `LoopWeights`, `KeptRecord`; sizes.

    Attributes:
        T, B, U, I: U entries of a block; I is the number of inputs, or of drives (D) where there is no `w_in`.
        S, X, A, D, R: entries of a state, of x, of its leading part that the product makes, of a drive, which is added
            to the last D entries of x, and of what the recurrent matrix [R, A] reads; R = A = 0: there is none.
        code: of the formulas. keep: entries of what is kept.
        w_row: entries from one row's w_rec to the next one's.
        own: the cell's own parameters, spread over U, [P, own_width].
        matrix: the cell's own, [P, N, N]; N = U, or 0 where there is none. turned: whether its transpose multiplies.
        h0_width: entries of an initial state.
        lengths: of each row's longest sequence. each: of every sequence, where those of a row differ.
    """

    T: int
    B: int
    U: int
    I: int  # noqa: E741 - inputs
    S: int
    X: int
    A: int
    D: int
    R: int
    code: int
    keep: int
    inputs: int
    w_rec: int
    w_row: int
    w_in: int
    bias: int
    own: int
    own_width: int
    matrix: int
    N: int
    turned: int
    h0: int
    h0_width: int
    lengths: int
    each: int
    h: int
    kept: int


class CellForwardScratch(NamedTuple):
    """One thread's memory in `cell_forward_rows`; W = padded A + padded X - A, each by itself.

    packed  [R + I, padded A]  w_rec over w_in, in column panels: one product reads both
    beside  [I, padded X - A]  w_in of what no matrix makes, in column panels
    wide    [I, W]             w_in beside zeros, where not all of x has a drive
    start   [B, W]             what the products begin with: the bias, in every sample's row, or drives
    x       [B, W]
    matrix  [N, V]             the cell's own, transposed where `turned`, in column panels; V = padded N
    read    [B, V]             what it reads
    q       [B, V]             what it makes
    begins  [8 B bytes]        int64: each sample's first own step
    """

    packed: int
    beside: int
    wide: int
    start: int
    x: int
    matrix: int
    read: int
    q: int
    begins: int
    end: int


@memory_map
def cell_forward_scratch(start, size, made, rest, around, job):
    """The map of `CellForwardScratch` from `start` on; `end` - `start` is its size in bytes.

    Args:
        made, rest, around: padded A, X - A and N.
    """
    inputs = job.I if job.w_in != 0 else 0
    beside = start + (job.R + inputs) * made * size
    wide = beside + inputs * rest * size
    begin = wide + inputs * (made + rest) * size
    x = begin + job.B * (made + rest) * size
    matrix = x + job.B * (made + rest) * size
    read = matrix + job.N * around * size
    q = read + job.B * around * size
    begins = q + job.B * around * size
    return CellForwardScratch(
        packed=start, beside=beside, wide=wide, start=begin, x=x, matrix=matrix, read=read, q=q, begins=begins,
        end=begins + 8 * job.B,
    )  # fmt: skip


@kernel
def cell_forward_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `CellForwardJob`: all states, and what the backward loop wants to see again."""
    mode = flush_subnormals()
    here = cell_forward_scratch(
        scratch, size=item_bytes(zero), made=padded(zero, job.A), rest=padded(zero, job.X - job.A),
        around=padded(zero, job.N), job=job,
    )  # fmt: skip
    for p in range(first, last):
        _prepare(zero, job, p, here)
        write_begins(job, p, begins=here.begins)
        _first_state(zero, job, p)
        _states(zero, job, p, here)
    restore_mode(mode)


@inlined
def write_begins(job, p, begins):
    """The first own step of every sample of row p."""
    for b in range(job.B):
        own = load_int(job.lengths + p * 8) if job.each == 0 else load_int(job.each + (p * job.B + b) * 8)
        store_int(job.T - own, begins + b * 8)


@inlined
def _width(zero, job):
    """Entries from one sample's x to the next one's: both products write whole vectors."""
    return padded(zero, job.A) + padded(zero, job.X - job.A)


@inlined
def _prepare(zero, job, p, here):
    """Pack row p's matrices, and lay its bias into every sample's start."""
    size, wide = item_bytes(zero), _width(zero, job)
    inputs, free = job.I if job.w_in != 0 else 0, job.X - job.D
    w_in = job.w_in + p * job.I * job.D * size
    if free > 0:
        fill(zero, target=here.wide, count=inputs * job.X)
        for i in range(inputs):
            copy(
                zero, target=here.wide + (i * job.X + free) * size, source=w_in + i * job.D * size, count=job.D
            )  # fmt: skip
        w_in = here.wide
    pack(
        zero, target=here.packed, source=job.w_rec + p * job.w_row * size, inner=job.R, columns=job.A,
        inner_step=job.A, column_step=1, first=0, total=job.R + inputs,
    )  # fmt: skip
    pack(
        zero, target=here.packed, source=w_in, inner=inputs, columns=job.A, inner_step=job.X, column_step=1,
        first=job.R, total=job.R + inputs,
    )  # fmt: skip
    pack(
        zero, target=here.beside, source=w_in + job.A * size, inner=inputs, columns=job.X - job.A, inner_step=job.X,
        column_step=1, first=0, total=inputs,
    )  # fmt: skip
    pack(
        zero, target=here.matrix, source=job.matrix + p * job.N * job.N * size, inner=job.N, columns=job.N,
        inner_step=1 if job.turned != 0 else job.N, column_step=job.N if job.turned != 0 else 1, first=0, total=job.N,
    )  # fmt: skip
    # Also the padding: products start from it, and the memory is of another loop.
    fill(zero, target=here.start, count=job.B * wide)
    for b in range(job.B if job.bias != 0 else 0):
        copy(
            zero, target=here.start + (b * wide + free) * size, source=job.bias + p * job.D * size, count=job.D
        )  # fmt: skip


@inlined
def _first_state(zero, job, p):
    """The initial state: the given entries, then zeros."""
    size, S = item_bytes(zero), job.S
    h = job.h + p * (job.T + 1) * job.B * S * size
    fill(zero, target=h, count=job.B * S)
    for b in range(job.B if job.h0 != 0 else 0):
        copy(zero, target=h + b * S * size, source=job.h0 + p * job.h0_width * size, count=job.h0_width)


@inlined
def _states(zero, job, p, here):
    """All steps of row p; those before a sequence's own start repeat the first state."""
    size, S = item_bytes(zero), job.S
    own = job.T - load_int(job.lengths + p * 8)
    for t in range(job.T):
        before = job.h + (p * (job.T + 1) + t) * job.B * S * size
        after = before + job.B * S * size
        kept = job.kept + (p * job.T + t) * job.B * job.keep * size
        if t < own:
            copy(zero, target=after, source=before, count=job.B * S)
            fill(zero, target=kept, count=job.B * job.keep)
        else:
            _one_step(zero, job, p, t, before, after, kept, here)


@inlined
def _one_step(zero, job, p, t, before, after, kept, here):
    """The state after step t, and what is kept of it."""
    wide = _width(zero, job)
    u = job.inputs + (p * job.T + t) * job.B * job.I * item_bytes(zero)
    # Drives come with every step; the bias alone was laid out once, before the loop.
    if job.w_in == 0:
        _take_drives(zero, job, p, u, here)
    _product(zero, job, before, u, here)
    around, own = padded(zero, job.N), job.own + p * job.own_width * item_bytes(zero)
    if job.N != 0:
        _own_product(zero, job, t, before, own, here)
    step = CellStep(
        code=job.code, x=here.x, wide=wide, q=here.q, plane=around, before=before, after=after, kept=kept,
        own=own, t=t, begins=here.begins, samples=job.B, U=job.U,
    )  # fmt: skip
    cell_step(zero, step)


@inlined
def _product(zero, job, before, u, here):
    """x: what the matrix makes, then what inputs or drives alone do."""
    size, wide, inputs = item_bytes(zero), _width(zero, job), job.I if job.w_in != 0 else 0
    for which in range(2):  # one place to call from: each copy of the product costs compile time
        columns, reads, packed, to = job.A, job.R, here.packed, 0
        if which == 1:
            # The first product's padding is written over here.
            columns, reads, packed, to = job.X - job.A, 0, here.beside, job.A * size
        x = Product(
            a1=before, lda1=job.S, k1=reads, a2=u, lda2=job.I, k2=inputs, b=packed, ldb=0, start=here.start + to,
            ldstart=wide, c=here.x + to, ldc=wide, units=padded(zero, columns) // vector_width(zero),
        )  # fmt: skip
        if columns != 0:
            times_packed(zero, rows=job.B, whole=x)


@inlined
def _own_product(zero, job, t, before, own, here):
    """What the cell's own matrix makes."""
    around = padded(zero, job.N)
    read = CellRead(
        code=job.code, x=here.x, wide=_width(zero, job), before=before, own=own, out=here.read, plane=around, t=t,
        begins=here.begins, samples=job.B, U=job.U,
    )  # fmt: skip
    cell_read(zero, read)
    # Products always begin with something.
    fill(zero, target=here.q, count=job.B * around)
    q = Product(
        a1=here.read, lda1=around, k1=job.N, a2=here.read, lda2=0, k2=0, b=here.matrix, ldb=0, start=here.q,
        ldstart=around, c=here.q, ldc=around, units=around // vector_width(zero),
    )  # fmt: skip
    times_packed(zero, rows=job.B, whole=q)


@inlined
def _take_drives(zero, job, p, u, here):
    """Set the last D entries of start to this step's drives (+ bias)."""
    size, wide, free = item_bytes(zero), _width(zero, job), job.X - job.D
    for b in range(job.B):
        to = here.start + (b * wide + free) * size
        copy(zero, target=to, source=u + b * job.I * size, count=job.D)
        for i in range(job.D if job.bias != 0 else 0):
            bias = load(zero, job.bias + (p * job.D + i) * size)
            store(zero, load(zero, to + i * size) + bias, to + i * size)
