"""The forward loop of gated cells, one row after another.

Nothing of a gated record is padded: a state has S entries per sample (LSTM 2 H, GRU H; an LSTM that looks ahead 6 H, as
the pre-activations v of its gates belong to it), what is kept 5 H or 4 H; with layer norm 10 H + 2 or 7 H + 2, see
`recurrence.normed_cells`.
"""

from __future__ import annotations

from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map
from rnnsweep.core.recurrence.cpu.emit.gates import (
    GruStep,
    LookAhead,
    LstmShow,
    LstmStep,
    gru_step,
    look_ahead,
    lstm_show,
    lstm_step,
)
from rnnsweep.core.recurrence.cpu.emit.products import Masked, Normalise, Product, Zoned, masked, normalise, zoned
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.vectors import item_bytes, load, load_int, store, vector_width
from rnnsweep.core.recurrence.cpu.kernels.matrices import clear, copy, fill, hold, pack, padded, times_packed

LSTM, GRU = 0, 1
"""Kinds of cells."""


class GatedForwardJob(NamedTuple):
    """Arguments of `gated_forward_rows`: addresses (0 = absent) of arrays as in `LoopWeights`, `KeptRecord`; sizes.

    Attributes:
        T, B, H, I: I is the number of inputs, or of drives (A) where there is no `w_in`.
        S: entries of a state. kind: LSTM or GRU. ahead: whether the LSTM looks ahead; then it is fed with drives, and
            kappa is behind those of a sample.
        w_row: entries from one row's w_rec to the next one's.
        lengths: of each row's longest sequence. each: of every sequence, where those of a row differ.
        own: the GRU's b_n. h0_width: entries of an initial state, H or S.
        keep: entries per sample of `kept`.
        recurrent, zone: see `LoopMasks`. gain, cell_gain, cell_bias: of layer norm; where `gain` is there is neither
            `w_in` nor `bias`.
    """

    T: int
    B: int
    H: int
    I: int  # noqa: E741 - inputs
    S: int
    kind: int
    ahead: int
    inputs: int
    w_rec: int
    w_row: int
    w_in: int
    bias: int
    own: int
    h0: int
    h0_width: int
    lengths: int
    each: int
    h: int
    kept: int
    keep: int
    recurrent: int
    zone: int
    gain: int
    cell_gain: int
    cell_bias: int


class GatedForwardScratch(NamedTuple):
    """One thread's memory in `gated_forward_rows`; W: pre-activations of a sample, each product's padded (`_wide`).

    packed  [H + I, W]   the matrices of all products, in column panels, see `StepProduct.packed`
    start   [B, W]       what the products begin with: biases, or drives
    gates   [B, W]       pre-activations
    seen    [B, H]       what the recurrent matrix reads, where it is masked
    cell    [B, H]       the LSTM's normalised c
    """

    packed: int
    start: int
    gates: int
    seen: int
    cell: int
    end: int


class StepProduct(NamedTuple):
    """One of a step's products; the GRU's candidate has its recurrent part and its drive apart, hence three of them.

    Attributes:
        column, columns: which columns of the recurrent matrix, or of the drives.
        recurrent, inputs: inner sizes: entries of h, of u.
        at: where it begins in a sample's pre-activations. packed: where its matrices begin in the packed ones.
    """

    column: int
    columns: int
    recurrent: int
    inputs: int
    at: int
    packed: int


@memory_map
def gated_forward_scratch(start, size, wide, job):
    """The map of `GatedForwardScratch` from `start` on; `end` - `start` is its size in bytes."""
    begin = start + (job.H + (job.I if job.w_in != 0 else 0)) * wide * size
    gates = begin + job.B * wide * size
    seen = gates + job.B * wide * size
    cell = seen + job.B * job.H * size
    return GatedForwardScratch(
        packed=start, start=begin, gates=gates, seen=seen, cell=cell, end=cell + job.B * job.H * size
    )


@kernel
def gated_forward_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `GatedForwardJob`: all states, and what the backward loop wants to see again."""
    mode = flush_subnormals()
    here = gated_forward_scratch(scratch, size=item_bytes(zero), wide=_wide(zero, job), job=job)
    for p in range(first, last):
        _prepare(zero, job, p, here)
        _first_state(zero, job, p)
        _states(zero, job, p, here)
    restore_mode(mode)


@inlined
def _product_count(job):
    """Number of products per step."""
    return 3 if job.kind == GRU else 1


@inlined
def _wide(zero, job):
    """Width of the padded pre-activations of one sample."""
    if job.kind == GRU:
        return padded(zero, 2 * job.H) + 2 * padded(zero, job.H)
    return padded(zero, 4 * job.H)


@inlined
def _step_product(zero, job, k):
    """`StepProduct` k: the gates; the GRU's candidate from h; the GRU's candidate from u."""
    H, inputs = job.H, job.I if job.w_in != 0 else 0
    # 0 * H instead of 0: numba wants one type for all branches, and a literal is one of its own.
    column, columns, recurrent, at, packed = 0 * H, 4 * H, H, 0 * H, 0 * H
    if job.kind == GRU:
        columns = 2 * H
        if k > 0:
            column, columns, at, packed = 2 * H, H, padded(zero, 2 * H), (H + inputs) * padded(zero, 2 * H)
            if k == 1:
                inputs = 0 * H
            else:
                recurrent, at, packed = 0 * H, at + padded(zero, H), packed + H * padded(zero, H)
    return StepProduct(column=column, columns=columns, recurrent=recurrent, inputs=inputs, at=at, packed=packed)


@inlined
def _columns(job):
    """Columns of the recurrent matrix and of drives."""
    return (3 if job.kind == GRU else 4) * job.H


@inlined
def _prepare(zero, job, p, here):
    """Pack row p's matrices, and lay its biases into every sample's start."""
    size, A, wide = item_bytes(zero), _columns(job), _wide(zero, job)
    # Also the padding: products start from it, and gates must not read what lay here before.
    fill(zero, target=here.start, count=job.B * wide)
    for k in range(_product_count(job)):
        product = _step_product(zero, job, k)
        # Where a product has one side only, the other has inner size 0 and is not packed.
        target, total = here.packed + product.packed * size, product.recurrent + product.inputs
        w_rec = job.w_rec + (p * job.w_row + product.column) * size
        w_in = job.w_in + (p * job.I * A + product.column) * size
        pack(
            zero, target=target, source=w_rec, inner=product.recurrent, columns=product.columns,
            inner_step=A, column_step=1, first=0, total=total,
        )  # fmt: skip
        pack(
            zero, target=target, source=w_in, inner=product.inputs, columns=product.columns,
            inner_step=A, column_step=1, first=product.recurrent, total=total,
        )  # fmt: skip
        # b_n belongs to the recurrent part of the candidate alone: it is multiplied by r, as in torch.
        bias = job.bias + (p * A + product.column) * size if job.bias != 0 else 0
        if job.kind == GRU and k == 1 and job.gain == 0:
            bias = job.own + p * job.H * size
        for b in range(job.B if bias != 0 else 0):
            copy(zero, target=here.start + (b * wide + product.at) * size, source=bias, count=product.columns)


@inlined
def _first_state(zero, job, p):
    """The initial state: the given entries, then zeros."""
    size, S = item_bytes(zero), job.S
    # Zeros first: a given state may be shorter than a whole one (h without c).
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
    size, wide, S = item_bytes(zero), _wide(zero, job), job.S
    u = job.inputs + (p * job.T + t) * job.B * job.I * size
    # Drives come with every step; biases alone were laid out once, before the loop.
    if job.w_in == 0:
        _take_drives(zero, job, p, u, here)
    seen, ldseen = before, S
    if job.recurrent != 0:
        seen, ldseen = here.seen, job.H
        mask = job.recurrent + p * job.B * job.H * size
        read = Masked(
            out=seen, ldout=job.H, x=before, ldx=S, mask=mask, ldmask=job.H, rows=job.B, columns=job.H
        )  # fmt: skip
        masked(zero, read)
    for k in range(_product_count(job)):
        product = _step_product(zero, job, k)
        a = Product(
            a1=seen, lda1=ldseen, k1=product.recurrent, a2=u, lda2=job.I, k2=product.inputs,
            b=here.packed + product.packed * size, ldb=0, start=here.start + product.at * size, ldstart=wide,
            c=here.gates + product.at * size, ldc=wide, units=padded(zero, product.columns) // vector_width(zero),
        )  # fmt: skip
        times_packed(zero, rows=job.B, whole=a)
    if job.gain != 0:
        _normalise_gates(zero, job, p, u, kept, here)
    if job.ahead != 0:
        _look_ahead(zero, job, u, before, after, here)
    _apply_gates(zero, job, before, after, kept, here)
    if job.cell_gain != 0:
        _normalise_cell(zero, job, p, after, kept, here)
    if job.zone != 0:
        zone = job.zone + (p * job.T + t) * job.B * S * size
        zoned(zero, Zoned(state=after, before=before, zone=zone, numbers=job.B * S))
    hold(zero, job, p, t, target=after, source=before, width=S)
    clear(zero, job, p, t, target=kept, width=job.keep)


@inlined
def _look_ahead(zero, job, u, before, after, here):
    """Keep v in the state, and let the gates see v + kappa (v - v_{t-1})."""
    size, H = item_bytes(zero), job.H
    gates = LookAhead(
        gates=here.gates, wide=_wide(zero, job), before=before + 2 * H * size, after=after + 2 * H * size, state=job.S,
        kappa=u + 4 * H * size, apart=job.I, samples=job.B, G=4 * H,
    )  # fmt: skip
    look_ahead(zero, gates)


@inlined
def _normalise_gates(zero, job, p, u, kept, here):
    """Layer norm of what came from the state, then the drives; the GRU's candidate has its own, with b_n."""
    size, wide, A, H = item_bytes(zero), _wide(zero, job), _columns(job), job.H
    columns, gain, plain = A, job.gain + p * A * size, 5 * H
    if job.kind == GRU:
        columns, plain = 2 * H, 4 * H
    for k in range(2 if job.kind == GRU else 1):
        x, add, ldadd = here.gates, u, A
        if k == 1:
            x, add, ldadd = here.gates + padded(zero, 2 * H) * size, job.own + p * H * size, 0 * A
        at = k * columns
        rows = Normalise(
            x=x, ldx=wide, out=x, ldout=wide, gain=gain + at * size, add=add, ldadd=ldadd,
            hat=kept + (plain + at) * size, ldhat=job.keep, spread=kept + (job.keep - 2 + k) * size, ldspread=job.keep,
            rows=job.B, columns=H if k == 1 else columns,
        )  # fmt: skip
        normalise(zero, rows)


@inlined
def _normalise_cell(zero, job, p, after, kept, here):
    """Layer norm of the LSTM's c on its way to h; c itself goes on as it is."""
    size, H, S = item_bytes(zero), job.H, job.S
    rows = Normalise(
        x=after + H * size, ldx=S, out=here.cell, ldout=H, gain=job.cell_gain + p * H * size,
        add=job.cell_bias + p * H * size, ldadd=0, hat=kept + 9 * H * size, ldhat=job.keep,
        spread=kept + (job.keep - 1) * size, ldspread=job.keep, rows=job.B, columns=H,
    )  # fmt: skip
    normalise(zero, rows)
    lstm_show(zero, LstmShow(cell=here.cell, plane=H, kept=kept, keep=job.keep, after=after, samples=job.B, H=H))


@inlined
def _apply_gates(zero, job, before, after, kept, here):
    """From one step's pre-activations to its state."""
    size, wide = item_bytes(zero), _wide(zero, job)
    if job.kind == LSTM:
        lstm_step(
            zero,
            LstmStep(
                gates=here.gates,
                wide=wide,
                before=before,
                after=after,
                state=job.S,
                kept=kept,
                keep=job.keep,
                samples=job.B,
                H=job.H,
            ),
        )
    else:
        inner = here.gates + padded(zero, 2 * job.H) * size
        drive = inner + padded(zero, job.H) * size
        candidate = GruStep(
            gates=here.gates, inner=inner, drive=drive, wide=wide, before=before, after=after, kept=kept,
            keep=job.keep, samples=job.B, H=job.H,
        )  # fmt: skip
        gru_step(zero, candidate)


@inlined
def _take_drives(zero, job, p, u, here):
    """Set start to this step's drives (+ bias), gate by gate; the GRU's b_n stays."""
    size, wide, A = item_bytes(zero), _wide(zero, job), _columns(job)
    for k in range(_product_count(job)):
        product = _step_product(zero, job, k)
        # The recurrent part of the candidate has no drive; layer norm comes before the drives of what it is for.
        if (job.kind == GRU and k == 1) or (job.gain != 0 and k != 2):
            continue
        for b in range(job.B):
            to = here.start + (b * wide + product.at) * size
            copy(zero, target=to, source=u + (b * job.I + product.column) * size, count=product.columns)
            for i in range(product.columns if job.bias != 0 else 0):
                bias = load(zero, job.bias + (p * A + product.column + i) * size)
                store(zero, load(zero, to + i * size) + bias, to + i * size)
