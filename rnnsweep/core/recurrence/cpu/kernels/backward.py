"""Backpropagation through time of one row after another, with the gradients of the loop's parameters.

The gradients are summed block by block of time steps, while the states and deltas of a block are in cache.
"""

from __future__ import annotations

from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map
from rnnsweep.core.recurrence.cpu.emit.products import Product
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.sums import BiasSum, bias_sum
from rnnsweep.core.recurrence.cpu.emit.vectors import (
    Ahead,
    PullBack,
    Sum,
    combine,
    fetch_ahead,
    item_bytes,
    load,
    load_int,
    number,
    pull,
    store,
    vector_width,
)
from rnnsweep.core.recurrence.cpu.kernels.beside import (
    TermJob,
    TermScratch,
    begin_term,
    carry,
    enter,
    leave,
    measure,
    seen_states,
    term_scratch,
    through_norm,
    wants_term,
    weighted_block,
    write_term,
)
from rnnsweep.core.recurrence.cpu.kernels.matrices import (
    Outer,
    add_outer,
    begun,
    clear,
    copy,
    copy_in,
    copy_out,
    fill,
    hold,
    pack,
    padded,
    times_packed,
)


class BackwardJob(NamedTuple):
    """Arguments of `backward_rows`: addresses (0 = absent) of arrays as in `Record`, `Direct`, `LoopGradients`; sizes.

    Attributes:
        T, B, H, I, code, w_row: as in `ForwardJob`.
        h, slope, delta, x: padded to W entries per sample.
        each: lengths of every sequence, where those of a row differ.
        last, steps: one of the two.
        ring: 0 where delta and x have all T steps; else they are rings per thread, of `chunk` and of `slots` steps.
        chunk: steps per block of sums. slots: 2, or `chunk` where a term needs x of a whole block.
        dw_rec, dw_in, dbias, dact, dh0, dgain: gradients without gaps.
        recurrent, zone, gain, hat, spread: as in `ForwardJob`.
        term: what the loop takes along.
    """

    T: int
    B: int
    H: int
    I: int  # noqa: E741
    code: int
    inputs: int
    w_rec: int
    w_row: int
    leak: int
    lengths: int
    each: int
    h: int
    slope: int
    last: int
    steps: int
    delta: int
    x: int
    chunk: int
    ring: int
    slots: int
    dw_rec: int
    dw_in: int
    dbias: int
    dact: int
    dh0: int
    recurrent: int
    zone: int
    gain: int
    hat: int
    spread: int
    dgain: int
    term: TermJob


class BackwardScratch(NamedTuple):
    """One thread's memory in `backward_rows`; W = padded H.

    one, leak, passed  [64 bytes]   the numbers 1, leak and 1 - leak: loops over vectors take factors by address
    packed             [H, W]       w_rec transposed, in column panels
    dw_rec             [H, W]       sums over all steps: these five are cleared at once
    dw_in              [I, W]
    dbias              [W]
    dact               [W]
    dgain              [W]
    total              [B, W]       g_t, where it is a sum
    direct             [B, W]       direct part of a step, padded
    carried            [B, W]       what passes f by; if nothing does, one row of zeros
    inner              [B, W]       what goes into the step, where a zone lets only a part in
    zeros              [W]
    seen               [chunk B, W] states as w_rec reads them, where they are masked
    room               what a term needs, see `TermScratch`
    """

    one: int
    leak: int
    passed: int
    packed: int
    dw_rec: int
    dw_in: int
    dbias: int
    dact: int
    dgain: int
    total: int
    direct: int
    carried: int
    inner: int
    zeros: int
    seen: int
    room: TermScratch
    end: int


@memory_map
def backward_scratch(start, size, width, job):
    """The map of `BackwardScratch` from `start` on; `end` - `start` is its size in bytes."""
    row, step = width * size, job.B * width * size
    # A cache line of single numbers first: everything behind it keeps the alignment of the buffer.
    packed = start + 64
    dw_rec = packed + job.H * row
    dw_in = dw_rec + job.H * row
    dbias = dw_in + job.I * row
    dact = dbias + row
    dgain = dact + row
    total = dgain + row
    direct = total + step
    carried = direct + step
    inner = carried + step
    zeros = inner + step
    seen = zeros + row
    after = seen + job.chunk * step
    room = term_scratch(after, size, width, job)
    end = room.end if job.term.kind != 0 else after
    return BackwardScratch(
        one=start, leak=start + size, passed=start + 2 * size, packed=packed, dw_rec=dw_rec, dw_in=dw_in,
        dbias=dbias, dact=dact, dgain=dgain, total=total, direct=direct, carried=carried, inner=inner, zeros=zeros,
        seen=seen, room=room, end=end,
    )  # fmt: skip


@kernel
def backward_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `BackwardJob`, by one thread."""
    mode = flush_subnormals()
    size, full = item_bytes(zero), padded(zero, job.H)
    here = backward_scratch(scratch, size=size, width=full, job=job)
    for p in range(first, last):
        w_rec = job.w_rec + p * job.w_row * size
        pack(
            zero, target=here.packed, source=w_rec, inner=job.H, columns=job.H, inner_step=1, column_step=job.H,
            first=0, total=job.H,
        )  # fmt: skip
        # All five sums at once: they lie side by side, see the map.
        fill(zero, target=here.dw_rec, count=(job.H + job.I + 3) * full)
        fill(zero, target=here.zeros, count=full)
        _set_numbers(zero, job, p, here)
        # The whole way back of one row, before the next one: its states, deltas and sums stay in L2.
        value, active = _through_time(zero, job, p, thread, here)
        _write_sums(zero, job, p, here)
        if wants_term(job, p):
            write_term(zero, job, p, here.room, value, active)
    restore_mode(mode)


@inlined
def _set_numbers(zero, job, p, here):
    """One, the leak, and one minus the leak."""
    one = number(zero, 1.0)
    leak = one
    if job.leak != 0:
        leak = load(zero, job.leak + p * item_bytes(zero))
    store(zero, one, here.one)
    store(zero, leak, here.leak)
    store(zero, one - leak, here.passed)


@inlined
def _through_time(zero, job, p, thread, here):
    """All steps from the last to the first; gives the term's value and active count, unscaled."""
    size, full = item_bytes(zero), padded(zero, job.H)
    step = job.B * full
    # Sequences end together: a row of length n begins at step T - n, and what is before is idle.
    own = job.T - load_int(job.lengths + p * 8)
    block_end = job.T
    g = here.direct
    with_term = wants_term(job, p)
    value, active = 0.0, 0
    if with_term:
        begin_term(zero, job, here.room)
    for t in range(job.T - 1, -1, -1):
        # Blocks fill from their last slot down, as time runs backwards: so a block is one matrix with ascending steps.
        slot = job.chunk - 1 - (job.T - 1 - t) % job.chunk
        delta, x = _delta_of(zero, job, p, thread, t, slot), _x_of(zero, job, p, thread, t, slot)
        g = _total(zero, job, p, t, g, here)
        if t < own:
            # An idle step hands the error on as it is: nothing happened there that it could depend on.
            fill(zero, target=delta, count=step)
            copy(zero, target=x, source=g, count=step)
        else:
            _one_step(zero, job, p, t, g, delta, x, here)
            _add_bias_gradient(zero, job, p, t, g, here)
            if with_term:
                known = t < job.T - 1 and job.steps == 0
                more = measure(zero, job, p, t, room=here.room, slot=slot, known=known, g=g, x=x)
                value, active = value + more[0], active + more[1]
        g = x
        # Blocks are counted from the end, and stop at the row's own start: a shorter pack has the same ones.
        if t == own or (t > own and (job.T - t) % job.chunk == 0):
            # Without a term `weighted` is not read: the last product of `_add_block` has no rows then.
            weighted, count = delta, (block_end - t) * job.B
            if with_term:
                weighted = weighted_block(zero, job, room=here.room, delta=delta, slot=slot, count=count)
            _add_block(zero, job, p, t, count, delta, x if with_term else 0, weighted, here)
            block_end = t
    if job.dh0 != 0:
        _sum_rows(zero, target=job.dh0 + p * job.H * size, source=g, rows=job.B, columns=job.H, width=full)
    return value, active


@inlined
def _delta_of(zero, job, p, thread, t, slot):
    """Where delta of step t goes: into the whole record, or into the thread's ring, which holds one block."""
    step = job.B * padded(zero, job.H) * item_bytes(zero)
    if job.ring == 0:
        return job.delta + (p * job.T + t) * step
    return job.delta + (thread * job.chunk + slot) * step


@inlined
def _x_of(zero, job, p, thread, t, slot):
    """Where x of step t goes. In a ring of two steps it alternates: step t reads g_t, which is x of step t + 1."""
    step = job.B * padded(zero, job.H) * item_bytes(zero)
    if job.ring == 0:
        return job.x + (p * job.T + t) * step
    to = t & 1
    if job.slots == job.chunk:
        to = slot
    return job.x + (thread * job.slots + to) * step


@inlined
def _total(zero, job, p, t, handed_back, here):
    """Address of g_t: what step t + 1 handed back plus the direct part."""
    size, full = item_bytes(zero), padded(zero, job.H)
    entries = job.B * job.H
    steps = job.steps + (p * job.T + t) * entries * size
    if t == job.T - 1:
        source = steps
        if job.steps == 0:
            source = job.last + p * entries * size
        # Nothing comes from later at the last step, so the direct part is all of g.
        copy_in(zero, target=here.direct, source=source, rows=job.B, columns=job.H, stride=job.H)
        return here.direct
    if job.steps != 0:
        copy_in(zero, target=here.direct, source=steps, rows=job.B, columns=job.H, stride=job.H)
        # With factor 1 this is a plain sum, by the one loop that there is for sums.
        count = job.B * full // vector_width(zero)
        combine(zero, Sum(out=here.total, factor=here.one, x=handed_back, y=here.direct, count=count))
        return here.total
    return handed_back


@inlined
def _one_step(zero, job, p, t, g, delta, x, here):
    """Write delta_t and x_t."""
    size, full = item_bytes(zero), padded(zero, job.H)
    step, vectors = job.B * full, job.B * full // vector_width(zero)
    inner = enter(zero, job, p, t, g, here)
    # Where f' is a function of f it is taken from the state, which is in cache; else the forward loop has stored it.
    source = job.h + (p * (job.T + 1) + t + 1) * step * size
    if job.slope != 0:
        source = job.slope + (p * job.T + t) * step * size
        # `pull` fetches what it reads next itself: states are for the sums alone then.
        fetch_ahead(zero, Ahead(address=job.h + (p * (job.T + 1) + t) * step * size, count=step, write=0))
    pull(
        zero,
        PullBack(code=job.code, stored=job.slope, delta=delta, g=inner, source=source, leak=here.leak, count=vectors),
    )
    clear(zero, job, p, t, target=delta, width=full)
    if job.gain != 0:
        through_norm(zero, job, p, t, delta, here)
    ldcarried = carry(zero, job, inner, here)
    start, ldstart = here.carried, ldcarried
    if job.recurrent != 0:
        start, ldstart = here.zeros, 0
    back = Product(
        a1=delta, lda1=full, k1=job.H, a2=delta, lda2=0, k2=0, b=here.packed, ldb=0, start=start,
        ldstart=ldstart, c=x, ldc=full, units=full // vector_width(zero),
    )  # fmt: skip
    times_packed(zero, rows=job.B, whole=back)
    if job.recurrent != 0:
        leave(zero, job, p, x, ldcarried, here)
    hold(zero, job, p, t, target=x, source=g, width=full)


@inlined
def _add_block(zero, job, p, t, count, delta, x, weighted, here):
    """Add `count` samples from step t on to the gradients of w_rec, w_in and bias, and to the term's (x != 0)."""
    size, full = item_bytes(zero), padded(zero, job.H)
    seen = seen_states(zero, job, p, t, count, here)
    # After layer norm the bias has its own errors, which `through_norm` has summed.
    biased = 1 if job.dbias != 0 and job.gain == 0 else 0
    for which in range(4):  # one place to call from: each copy of the product costs compile time
        left, ldl, rows = seen, full, job.H
        right, total = delta, here.dw_rec
        if which == 1:
            left, ldl = job.inputs + (p * job.T + t) * job.B * job.I * size, job.I
            rows, total = job.I if job.dw_in != 0 else 0, here.dw_in
        elif which == 2:  # a column of ones, as one number with stride 0
            left, ldl, rows, total = here.one, 0, biased, here.dbias
        elif which == 3:
            left, rows, right, total = x, job.H if x != 0 else 0, weighted, here.room.sums
        outer = Outer(count=count, left=left, ldl=ldl, rows=rows, right=right, ldr=full, columns=full, c=total)
        add_outer(zero, outer)


@inlined
def _add_bias_gradient(zero, job, p, t, g, here):
    """Add modReLU's: the sum over the batch of leak g sign(f(a)) f'(a)."""
    if job.dact == 0:
        return
    size, full = item_bytes(zero), padded(zero, job.H)
    step = job.B * full * size
    before = job.h + (p * (job.T + 1) + t) * step
    slope = job.slope + (p * job.T + t) * step
    mixed = 1 if job.leak != 0 or job.zone != 0 else 0
    # All samples at once where they have all begun, else one by one.
    rows = job.B if job.each == 0 else 1
    for b in range(0, job.B, rows):
        if begun(job, p, t, b):
            row = b * full * size
            zone = job.zone + (p * job.T + t) * step + row if job.zone != 0 else here.zeros
            own = BiasSum(
                sums=here.dact, g=g + row, slope=slope + row, after=before + step + row, before=before + row, zone=zone,
                zone_row=job.zone, leak=here.leak, mixed=mixed, rows=rows, count=full // vector_width(zero),
            )  # fmt: skip
            bias_sum(zero, own)


@inlined
def _sum_rows(zero, target, source, rows, columns, width):
    """Sum a padded matrix over its rows."""
    size = item_bytes(zero)
    for i in range(columns):
        total = zero
        for b in range(rows):
            total += load(zero, source + (b * width + i) * size)
        store(zero, total, target + i * size)


@inlined
def _write_sums(zero, job, p, here):
    """The gradients of row p without their padding."""
    size, H, I = item_bytes(zero), job.H, job.I  # noqa: E741
    # Only here are gradients without padding: sums are padded, so that tiles need no tail.
    copy_out(zero, target=job.dw_rec + p * H * H * size, source=here.dw_rec, rows=H, columns=H)
    if job.dw_in != 0:
        copy_out(zero, target=job.dw_in + p * I * H * size, source=here.dw_in, rows=I, columns=H)
    if job.dbias != 0:
        copy(zero, target=job.dbias + p * H * size, source=here.dbias, count=H)
    if job.dact != 0:
        copy(zero, target=job.dact + p * H * size, source=here.dact, count=H)
    if job.dgain != 0:
        copy(zero, target=job.dgain + p * H * size, source=here.dgain, count=H)
