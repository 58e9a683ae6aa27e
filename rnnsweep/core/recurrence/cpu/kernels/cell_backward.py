"""Backpropagation through time of cells that `step_formulas` describes, with the gradients of the loop's parameters.

As in `gated_backward` these are summed block by block of time steps, while states and errors of a block are in cache.
"""

from __future__ import annotations

from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map, part
from rnnsweep.core.recurrence.cpu.emit.cell_steps import CellPull, CellPullRead, cell_pull, cell_pull_read
from rnnsweep.core.recurrence.cpu.emit.products import Product
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.vectors import (
    item_bytes,
    load,
    load_int,
    number,
    store,
    vector_width,
)
from rnnsweep.core.recurrence.cpu.kernels.cell_forward import write_begins
from rnnsweep.core.recurrence.cpu.kernels.matrices import (
    Outer,
    add_outer,
    copy,
    copy_out,
    fill,
    pack,
    padded,
    times_packed,
)


class CellBackwardJob(NamedTuple):
    """Arguments of `cell_backward_rows`: addresses (0 = absent) of arrays as in `KeptRecord`, `LoopGradients`; sizes.

    Attributes:
        T, B, U, I, S, X, A, D, R, code, keep, w_row, own, own_width, matrix, N, turned: as in `CellForwardJob`.
        each: lengths of every sequence, where those of a row differ.
        last, steps: one of the two, with `direct_width` entries per sample.
        dx: errors of x of T steps, or with `ring` a ring of `chunk` steps per thread. back: what each step hands back;
            0 where nobody wants the trace.
        dw_rec, dw_in, dbias, dh0, dmatrix: gradients without gaps. down: of the cell's own parameters, [P, down_width]:
            one block of U for each that is trained.
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
    own: int
    own_width: int
    matrix: int
    N: int
    turned: int
    lengths: int
    each: int
    h: int
    kept: int
    last: int
    steps: int
    direct_width: int
    dx: int
    back: int
    chunk: int
    ring: int
    dw_rec: int
    dw_in: int
    dbias: int
    down: int
    down_width: int
    dh0: int
    h0_width: int
    dmatrix: int


class CellBackwardScratch(NamedTuple):
    """One thread's memory in `cell_backward_rows`; I = 0 where inputs are drives.

    g       [B, padded S]   dC/ds_t
    one     [64 bytes]      the number 1
    dw_rec  [R, padded A]   sums over all steps, cleared at once with the next three
    dw_in   [I, padded D]
    dbias   [padded D]
    dmatrix [N, padded N]
    packed  [A, padded R]   w_rec transposed, in column panels
    matrix  [N, padded N]   the cell's own, transposed unless `turned`, in column panels
    dread   [B, padded N]   error of what it reads
    dq      [chunk B, padded N]  errors of what it makes, of a block
    read    [chunk B, padded N]  what it reads, of a block
    begins  [8 B bytes]     int64: each sample's first own step
    """

    g: int
    one: int
    dw_rec: int
    dw_in: int
    dbias: int
    dmatrix: int
    packed: int
    matrix: int
    dread: int
    dq: int
    read: int
    begins: int
    end: int


@memory_map
def cell_backward_scratch(start, size, S, A, D, R, N, job):
    """The map of `CellBackwardScratch` from `start` on; `end` - `start` is its size in bytes.

    Args:
        S, A, D, R, N: padded widths of these.
    """
    # A cache line for one number: what lies behind keeps the alignment.
    one = start + job.B * S * size
    dw_rec = one + 64
    dw_in = dw_rec + job.R * A * size
    dbias = dw_in + (job.I if job.dw_in != 0 else 0) * D * size
    dmatrix = dbias + D * size
    packed = dmatrix + job.N * N * size
    matrix = packed + job.A * R * size
    dread = matrix + job.N * N * size
    dq = dread + job.B * N * size
    read = dq + job.chunk * job.B * N * size
    begins = read + job.chunk * job.B * N * size
    return CellBackwardScratch(
        g=start, one=one, dw_rec=dw_rec, dw_in=dw_in, dbias=dbias, dmatrix=dmatrix, packed=packed, matrix=matrix,
        dread=dread, dq=dq, read=read, begins=begins, end=begins + 8 * job.B,
    )  # fmt: skip


@kernel
def cell_backward_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `CellBackwardJob`, by one thread."""
    mode = flush_subnormals()
    size = item_bytes(zero)
    S, A, D, R = padded(zero, job.S), padded(zero, job.A), padded(zero, job.D), padded(zero, job.R)
    N = padded(zero, job.N)
    here = cell_backward_scratch(scratch, size=size, S=S, A=A, D=D, R=R, N=N, job=job)
    inputs = job.I if job.dw_in != 0 else 0
    for p in range(first, last):
        fill(zero, target=here.g, count=job.B * S)
        store(zero, number(zero, 1.0), here.one)
        # All sums at once, see the map.
        fill(zero, target=here.dw_rec, count=job.R * A + (inputs + 1) * D + job.N * N)
        fill(zero, target=job.down + p * job.down_width * size, count=job.down_width)
        pack(
            zero, target=here.packed, source=job.w_rec + p * job.w_row * size, inner=job.A,
            columns=job.R, inner_step=1, column_step=job.A, first=0, total=job.A,
        )  # fmt: skip
        pack(
            zero, target=here.matrix, source=job.matrix + p * job.N * job.N * size, inner=job.N, columns=job.N,
            inner_step=job.N if job.turned != 0 else 1, column_step=1 if job.turned != 0 else job.N, first=0,
            total=job.N,
        )  # fmt: skip
        write_begins(job, p, begins=here.begins)
        _through_time(zero, job, p, thread, here)
        _write_sums(zero, job, p, here)
    restore_mode(mode)


@inlined
def _through_time(zero, job, p, thread, here):
    """All steps from the last to the first."""
    size = item_bytes(zero)
    step = job.B * job.X * size
    own = job.T - load_int(job.lengths + p * 8)
    record = job.dx + (thread * job.chunk if job.ring != 0 else p * job.T) * step
    block_end = job.T
    for t in range(job.T - 1, -1, -1):
        slot = job.chunk - 1 - (job.T - 1 - t) % job.chunk if job.ring != 0 else t
        # g stays where it is from step to step: what a step hands back replaces what it got.
        dx = record + slot * step
        _add_direct(zero, job, p, t, here)
        if t < own:
            fill(zero, target=dx, count=job.B * job.X)
        else:
            _one_step(zero, job, p, t, dx, _place(zero, job, t), here)
        if job.back != 0:
            copy_out(
                zero, target=job.back + (p * job.T + t) * job.B * job.S * size, source=here.g, rows=job.B,
                columns=job.S,
            )  # fmt: skip
        # Blocks are counted from the end, and stop at the row's own start: a shorter pack has the same ones.
        if t == own or (t > own and (job.T - t) % job.chunk == 0):
            _add_block(zero, job, p, t, (block_end - t) * job.B, dx, here)
            block_end = t


@inlined
def _place(zero, job, t):
    """Bytes before step t in a block's rings: the last step of a block has the last place."""
    return (job.chunk - 1 - (job.T - 1 - t) % job.chunk) * job.B * padded(zero, job.N) * item_bytes(zero)


@inlined
def _add_direct(zero, job, p, t, here):
    """Add what step t gives directly; it may cover the leading entries of the state only."""
    size, width = item_bytes(zero), job.direct_width
    source = job.steps + (p * job.T + t) * job.B * width * size
    if job.steps == 0:
        source = job.last + p * job.B * width * size
    if job.steps != 0 or t == job.T - 1:
        for b in range(job.B):
            _add(
                zero, target=here.g + b * padded(zero, job.S) * size, source=source + b * width * size, count=width
            )  # fmt: skip


@part
def _add(zero, target, source, count):
    """Add `count` entries to others."""
    size = item_bytes(zero)
    for i in range(count):
        store(zero, load(zero, target + i * size) + load(zero, source + i * size), target + i * size)


@inlined
def _one_step(zero, job, p, t, dx, place, here):
    """Errors of x from g; then g is what step t hands back."""
    size, plane, around = item_bytes(zero), padded(zero, job.S), padded(zero, job.N)
    kept = job.kept + (p * job.T + t) * job.B * job.keep * size
    before = job.h + (p * (job.T + 1) + t) * job.B * job.S * size
    own = job.own + p * job.own_width * size
    pulled = CellPull(
        code=job.code, kept=kept, before=before, after=before + job.B * job.S * size, g=here.g, plane=plane, dx=dx,
        dq=here.dq + place, read=here.read + place, around=around, own=own,
        down=job.down + p * job.down_width * size, t=t, begins=here.begins, samples=job.B, U=job.U,
    )  # fmt: skip
    cell_pull(zero, pulled)
    if job.N != 0:
        fill(zero, target=here.dread, count=job.B * around)
        dread = Product(
            a1=here.dq + place, lda1=around, k1=job.N, a2=here.dq, lda2=0, k2=0, b=here.matrix, ldb=0,
            start=here.dread, ldstart=around, c=here.dread, ldc=around, units=around // vector_width(zero),
        )  # fmt: skip
        times_packed(zero, rows=job.B, whole=dread)
        pulled_read = CellPullRead(
            code=job.code, kept=kept, before=before, g=here.g, plane=plane, dx=dx, dread=here.dread, around=around,
            own=own, t=t, begins=here.begins, samples=job.B, U=job.U,
        )  # fmt: skip
        cell_pull_read(zero, pulled_read)
    if job.R != 0:
        # The product may write beyond R: into padding, or into what no matrix reads, which it adds 0 to. A sample
        # that has not begun gets 0 times the matrix too.
        back = Product(
            a1=dx, lda1=job.X, k1=job.A, a2=dx, lda2=0, k2=0, b=here.packed, ldb=0, start=here.g, ldstart=plane,
            c=here.g, ldc=plane, units=padded(zero, job.R) // vector_width(zero),
        )  # fmt: skip
        times_packed(zero, rows=job.B, whole=back)


@inlined
def _add_block(zero, job, p, t, count, dx, here):
    """Add `count` samples from step t on to the gradients of w_rec, w_in and the bias."""
    size, S, X, D = item_bytes(zero), job.S, job.X, job.D
    for which in range(4):  # one place to call from: each copy of the product costs compile time
        left, ldl, rows = job.h + (p * (job.T + 1) + t) * job.B * S * size, S, job.R
        right, ldr, columns, total = dx, X, padded(zero, job.A), here.dw_rec
        if which > 0:
            right, columns = dx + (X - D) * size, padded(zero, D)
        if which == 1:
            left, ldl = job.inputs + (p * job.T + t) * job.B * job.I * size, job.I
            rows, total = job.I if job.dw_in != 0 else 0, here.dw_in
        elif which == 2:  # a column of ones, as one number with stride 0
            left, ldl, rows, total = here.one, 0, 1 if job.dbias != 0 else 0, here.dbias
        elif which == 3:
            place, N = _place(zero, job, t), padded(zero, job.N)
            left, right, ldl, ldr, rows, columns, total = here.dq, here.read, N, N, job.N, N, here.dmatrix
            if job.turned == 0:
                left, right = right, left
            left, right = left + place, right + place
        outer = Outer(count=count, left=left, ldl=ldl, rows=rows, right=right, ldr=ldr, columns=columns, c=total)
        add_outer(zero, outer)


@inlined
def _write_sums(zero, job, p, here):
    """The gradients of row p without their padding."""
    size = item_bytes(zero)
    inputs = job.I if job.dw_in != 0 else 0
    copy_out(
        zero, target=job.dw_rec + p * job.R * job.A * size, source=here.dw_rec, rows=job.R, columns=job.A
    )  # fmt: skip
    copy_out(
        zero, target=job.dw_in + p * inputs * job.D * size, source=here.dw_in, rows=inputs, columns=job.D
    )  # fmt: skip
    copy_out(
        zero, target=job.dmatrix + p * job.N * job.N * size, source=here.dmatrix, rows=job.N, columns=job.N
    )  # fmt: skip
    if job.dbias != 0:
        copy(zero, target=job.dbias + p * job.D * size, source=here.dbias, count=job.D)
    for i in range(job.h0_width if job.dh0 != 0 else 0):
        total = zero
        for b in range(job.B):
            total += load(zero, here.g + (b * padded(zero, job.S) + i) * size)
        store(zero, total, job.dh0 + (p * job.h0_width + i) * size)
