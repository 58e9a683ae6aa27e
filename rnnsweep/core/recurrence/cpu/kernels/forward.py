"""The forward loop of one row after another."""

from __future__ import annotations

from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map
from rnnsweep.core.recurrence.cpu.emit.products import Masked, Normalise, Product, Zoned, masked, normalise, zoned
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
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
        recurrent, zone: see `LoopMasks`; padded like h. gain, hat, spread: see `NormedRecord`; hat is padded.
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
    recurrent: int
    zone: int
    gain: int
    hat: int
    spread: int


class ForwardScratch(NamedTuple):
    """One thread's memory in `forward_rows`; W = padded H.

    packed    [H + I, W]    w_rec over w_in, in column panels: one product reads both
    bias      [W]
    act_bias  [W]           right behind `bias`: both are cleared at once
    drive     [B, W]        pre-activations that are given, padded
    seen      [B, W]        what w_rec reads of the state, where that is masked
    begin     [W]           what sums begin with where the bias comes after layer norm
    """

    packed: int
    bias: int
    act_bias: int
    drive: int
    seen: int
    begin: int
    end: int


@memory_map
def forward_scratch(start, size, width, job):
    """The map of `ForwardScratch` from `start` on; `end` - `start` is its size in bytes."""
    bias = start + (job.H + job.I) * width * size
    act_bias = bias + width * size
    drive = act_bias + width * size
    seen = drive + job.B * width * size
    begin = seen + job.B * width * size
    return ForwardScratch(
        packed=start, bias=bias, act_bias=act_bias, drive=drive, seen=seen, begin=begin, end=begin + width * size
    )


@kernel
def forward_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `ForwardJob`: all states, and f' where it is wanted."""
    mode = flush_subnormals()
    here = forward_scratch(scratch, size=item_bytes(zero), width=padded(zero, job.H), job=job)
    # One row from its first to its last step before the next one: the packed matrix stays in L2.
    for p in range(first, last):
        _prepare(zero, job, p, here)
        _states(zero, job, p, here)
    restore_mode(mode)


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
    fill(zero, target=here.begin, count=full)
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
    if job.h0 != 0:  # one state for all samples: stride 0
        copy_in(zero, target=h, source=job.h0 + p * job.H * size, rows=job.B, columns=job.H, stride=0)
    else:
        fill(zero, target=h, count=step)
    own = job.T - load_int(job.lengths + p * 8)
    for t in range(job.T):
        after = h + (t + 1) * step * size
        if t < own:
            _idle_step(zero, job, p, t, after)
        else:
            _one_step(zero, job, p, t, after, here)


@inlined
def _idle_step(zero, job, p, t, after):
    """Repeat the state; slopes of 0 let backward hand the error on without a case."""
    size, step = item_bytes(zero), job.B * padded(zero, job.H)
    at = p * job.T + t
    copy(zero, target=after, source=after - step * size, count=step)
    if job.slope != 0:
        fill(zero, target=job.slope + at * step * size, count=step)
    if job.gain != 0:
        fill(zero, target=job.hat + at * step * size, count=step)
        fill(zero, target=job.spread + at * job.B * size, count=job.B)


@inlined
def _one_step(zero, job, p, t, after, here):
    """The state after step t, and f' where it is wanted."""
    size, full = item_bytes(zero), padded(zero, job.H)
    step, units = job.B * full, full // vector_width(zero)
    before, slope = after - step * size, job.slope + (p * job.T + t) * step * size
    # h W_rec and u W_in in one pass over the accumulators: the state is written once, and read from L1.
    inner, start, ldstart = _begin(zero, job, p, t, here)
    u = job.inputs + (p * job.T + t) * job.B * job.I * size
    a = Product(
        a1=_seen(zero, job, p, before, here), lda1=full, k1=job.H, a2=u, lda2=job.I, k2=inner, b=here.packed, ldb=0,
        start=start, ldstart=ldstart, c=after, ldc=full, units=units,
    )  # fmt: skip
    times_packed(zero, rows=job.B, whole=a)
    if job.gain != 0:
        _normalise(zero, job, p, t, after, here)
    # The loops over vectors have no case inside.
    mode = LEAKY if job.leak != 0 else (SLOPE if job.slope != 0 else PLAIN)
    f = MatrixActivation(
        code=job.code, mode=mode, h=after, before=before, slope=slope, bias=here.act_bias,
        leak=job.leak + p * size, rows=job.B, vectors=units,
    )  # fmt: skip
    activate(zero, f)
    if job.zone != 0:
        zone = job.zone + (p * job.T + t) * step * size
        zoned(zero, Zoned(state=after, before=before, zone=zone, numbers=step))
    hold(zero, job, p, t, target=after, source=before, width=full)
    if job.slope != 0:
        clear(zero, job, p, t, target=slope, width=full)


@inlined
def _begin(zero, job, p, t, here):
    """What a step's sums begin with: entries of u that are multiplied, an address, its stride per sample."""
    size, full = item_bytes(zero), padded(zero, job.H)
    # Behind layer norm the bias comes later.
    bias = here.bias if job.gain == 0 else here.begin
    if job.w_in != 0:
        # The bias is what every sample's sum begins with: row stride 0 reads the same row for all.
        return job.I, bias, 0 * full
    u = job.inputs + (p * job.T + t) * job.B * job.I * size
    copy_in(zero, target=here.drive, source=u, rows=job.B, columns=job.H, stride=job.H)
    if job.bias != 0:
        _add_to_rows(zero, matrix=here.drive, row=bias, rows=job.B, width=full)
    return 0 * full, here.drive, full


@inlined
def _seen(zero, job, p, before, here):
    """Address of the state as w_rec reads it."""
    step = job.B * padded(zero, job.H)
    if job.recurrent == 0:
        return before
    mask = job.recurrent + p * step * item_bytes(zero)
    masked(zero, Masked(out=here.seen, ldout=0, x=before, ldx=0, mask=mask, ldmask=0, rows=1, columns=step))
    return here.seen


@inlined
def _normalise(zero, job, p, t, sums, here):
    """Layer norm of one step's sums in place; the padding beyond them stays 0."""
    size, full = item_bytes(zero), padded(zero, job.H)
    hat, spread = job.hat + (p * job.T + t) * job.B * full * size, job.spread + (p * job.T + t) * job.B * size
    if full != job.H:
        fill(zero, target=hat, count=job.B * full)
    rows = Normalise(
        x=sums, ldx=full, out=sums, ldout=full, gain=job.gain + p * job.H * size, add=here.bias, ldadd=0, hat=hat,
        ldhat=full, spread=spread, ldspread=1, rows=job.B, columns=job.H,
    )  # fmt: skip
    normalise(zero, rows)
    clear(zero, job, p, t, target=hat, width=full)
    clear(zero, job, p, t, target=spread, width=1)


@inlined
def _add_to_rows(zero, matrix, row, rows, width):
    """Add a row to every row of a padded matrix."""
    size = item_bytes(zero)
    for b in range(rows):
        for i in range(width):
            at = matrix + (b * width + i) * size
            store(zero, load(zero, at) + load(zero, row + i * size), at)
