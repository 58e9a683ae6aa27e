"""The forward loop of one row after another."""

from __future__ import annotations

from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map
from rnnsweep.core.recurrence.cpu.emit.products import Product
from rnnsweep.core.recurrence.cpu.emit.vectors import (
    LEAKY,
    PLAIN,
    SLOPE,
    MatrixActivation,
    activate,
    item_bytes,
    load,
    load_int,
    store,
    vector_width,
)
from rnnsweep.core.recurrence.cpu.kernels.matrices import clear, copy, copy_in, fill, hold, pack, padded, times_packed


class ForwardJob(NamedTuple):
    """Arguments of `forward_rows`: addresses (0 = absent) of arrays as in `LoopWeights` and `Record`, and sizes.

    Attributes:
        T, B, H, I: I is the number of inputs, or H where pre-activations are given (no `w_in`).
        code: of the activation.
        w_row: entries from one row's w_rec to the next one's: it may lie in a larger slab.
        lengths: of each row's longest sequence. each: of every sequence, where those of a row differ.
        h, slope: padded to W entries per sample; `slope` only where f' is stored.
    """

    T: int
    B: int
    H: int
    I: int  # noqa: E741 - inputs
    code: int
    inputs: int
    w_rec: int
    w_row: int
    w_in: int
    bias: int
    act_bias: int
    h0: int
    leak: int
    lengths: int
    each: int
    h: int
    slope: int


class ForwardScratch(NamedTuple):
    """One thread's memory in `forward_rows`; W = padded H.

    packed    [H + I, W]    w_rec over w_in, in column panels: one product reads both
    bias      [W]
    act_bias  [W]           right behind `bias`: both are cleared at once
    drive     [B, W]        pre-activations that are given, padded
    """

    packed: int
    bias: int
    act_bias: int
    drive: int
    end: int


@memory_map
def forward_scratch(start, size, width, job):
    """The map of `ForwardScratch` from `start` on; `end` - `start` is its size in bytes."""
    bias = start + (job.H + job.I) * width * size
    act_bias = bias + width * size
    drive = act_bias + width * size
    return ForwardScratch(packed=start, bias=bias, act_bias=act_bias, drive=drive, end=drive + job.B * width * size)


@kernel
def forward_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `ForwardJob`: all states, and f' where it is wanted."""
    here = forward_scratch(scratch, size=item_bytes(zero), width=padded(zero, job.H), job=job)
    # One row from its first to its last step before the next one: the packed matrix stays in L2.
    for p in range(first, last):
        _prepare(zero, job, p, here)
        _states(zero, job, p, here)


@inlined
def _prepare(zero, job, p, here):
    """Pack [w_rec; w_in] and pad the biases of row p."""
    size, full = item_bytes(zero), padded(zero, job.H)
    total = job.H + (job.I if job.w_in != 0 else 0)
    pack(
        zero, target=here.packed, source=job.w_rec + p * job.w_row * size, inner=job.H, columns=job.H,
        inner_step=job.H, column_step=1, first=0, total=total,
    )  # fmt: skip
    if job.w_in != 0:
        pack(
            zero, target=here.packed, source=job.w_in + p * job.I * job.H * size, inner=job.I, columns=job.H,
            inner_step=job.H, column_step=1, first=job.H, total=total,
        )  # fmt: skip
    fill(zero, target=here.bias, count=2 * full)
    if job.bias != 0:
        copy(zero, target=here.bias, source=job.bias + p * job.H * size, count=job.H)
    if job.act_bias != 0:
        copy(zero, target=here.act_bias, source=job.act_bias + p * job.H * size, count=job.H)


@inlined
def _states(zero, job, p, here):
    """All steps of row p; those before a sequence's own start repeat the first state."""
    size, full = item_bytes(zero), padded(zero, job.H)
    step = job.B * full
    h = job.h + p * (job.T + 1) * step * size
    slope = job.slope + p * job.T * step * size
    if job.h0 != 0:  # one state for all samples: stride 0
        copy_in(zero, target=h, source=job.h0 + p * job.H * size, rows=job.B, columns=job.H, stride=0)
    else:
        fill(zero, target=h, count=step)
    own = job.T - load_int(job.lengths + p * 8)
    # Decided once per row, not per number: the loops over vectors have no case inside.
    mode = LEAKY if job.leak != 0 else (SLOPE if job.slope != 0 else PLAIN)
    for t in range(job.T):
        before, after = h + t * step * size, h + (t + 1) * step * size
        # An idle step repeats the state, and its slope is 0: backward then hands the error on without a case.
        if t < own:
            copy(zero, target=after, source=before, count=step)
            if job.slope != 0:
                fill(zero, target=slope + t * step * size, count=step)
            continue
        u = job.inputs + (p * job.T + t) * job.B * job.I * size
        # The bias is what every sample's sum begins with: row stride 0 reads the same row for all.
        inner, start, ldstart = job.I, here.bias, 0
        if job.w_in == 0:
            copy_in(zero, target=here.drive, source=u, rows=job.B, columns=job.H, stride=job.H)
            if job.bias != 0:
                _add_to_rows(zero, matrix=here.drive, row=here.bias, rows=job.B, width=full)
            inner, start, ldstart = 0, here.drive, full
        # h W_rec and u W_in in one pass over the accumulators: the state is written once, and read from L1.
        a = Product(
            a1=before, lda1=full, k1=job.H, a2=u, lda2=job.I, k2=inner, b=here.packed, ldb=0, start=start,
            ldstart=ldstart, c=after, ldc=full, units=full // vector_width(zero),
        )  # fmt: skip
        times_packed(zero, rows=job.B, whole=a)
        f = MatrixActivation(
            code=job.code, mode=mode, h=after, before=before, slope=slope + t * step * size, bias=here.act_bias,
            leak=job.leak + p * size, rows=job.B, vectors=full // vector_width(zero),
        )  # fmt: skip
        activate(zero, f)
        hold(zero, job, p, t, target=after, source=before, width=full)
        if job.slope != 0:
            clear(zero, job, p, t, target=slope + t * step * size, width=full)


@inlined
def _add_to_rows(zero, matrix, row, rows, width):
    """Add a row to every row of a padded matrix."""
    size = item_bytes(zero)
    for b in range(rows):
        for i in range(width):
            at = matrix + (b * width + i) * size
            store(zero, load(zero, at) + load(zero, row + i * size), at)
