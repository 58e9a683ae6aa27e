"""What the steps of a matrix memory show, sequence by sequence: drives, gates, pairs of steps, memories between chunks.

The products and what is elementwise are those of `recurrence.memory_chunks`, some lines at a time: a line is weighed
while the keys, the values and the scores of its chunk are in the cache.

Shapes: P rows · T steps · B mini-batch · N heads of D units · X = P B N sequences of heads · C chunks of steps.

Numerics:
    Every product is summed in the order of its inner index, sums of logarithms as in `matrix_memories`. No bit of a row
    depends on other rows, on P or on the number of threads.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from rnnsweep.core.cpu.last_reads import last_read
from rnnsweep.core.cpu.lines import gated_quotient, weigh
from rnnsweep.core.cpu.matrix_memories import added, divisor_of
from rnnsweep.core.cpu.numbers import at, exponential, log1p, number
from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map, part
from rnnsweep.core.recurrence.cpu.emit.products import Product
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.vectors import item_bytes, load, load_int, store, vector_width
from rnnsweep.core.recurrence.cpu.host import PANEL, TILES
from rnnsweep.core.recurrence.cpu.kernels.matrices import Outer, add_outer, copy, fill, pack, padded, times_packed

LINES = TILES[0]
"""Lines that are looked at together, the last ones of a chunk first: as many as a register tile has."""


class ReadJob(NamedTuple):
    """Arguments of `read_rows`: addresses (0 = absent), sizes.

    Attributes:
        T, B, N, D, I: sizes; I inputs. W: entries from one step's drives to the next one's, where they are made.
        K, E: widths of a memory, for keys, and for values with the 1 behind them.
        last: whether the last step alone is shown.
        first_end, steps: the end of the first chunk, and the steps of every other one. most: the most of any.
        carries: whether a memory is read. sigmoid: whether f is one, else an exponential.
        nothing: logarithm of what weighs nothing. largest: of |m| as an exponent.
        inputs [P, T, B, I], w_in [P, I, 4 N D + 2 N], bias: 0 where drives are given.
        drives: entries of row p, step t and sequence b from p `row_apart` + t `step_apart` + b `sample_apart` on. Where
            the last step alone is shown, and they are made, other steps have keys, values and gates of heads only.
        lengths, each: of rows; of all sequences, where those of a row differ.
        start [X, K, E], start_m [P, B, N]: what sequences begin with.
        keep, write, m, inside [P, T, B, N], y [P, T, B, N D], h [P, T + 1, B, N D]: what is found; where the last step
            alone is shown, inside, y and h [P, 1, B, _].
        weights, shares [X, T], faded [X]: see `memory_records.LastQuery`.
        memories: [C - 1, X, K, E], those before all chunks but the first.
    """

    P: int
    T: int
    B: int
    N: int
    D: int
    I: int  # noqa: E741 - inputs
    W: int
    K: int
    E: int
    last: int
    first_end: int
    steps: int
    most: int
    carries: int
    sigmoid: int
    nothing: int
    largest: int
    inputs: int
    w_in: int
    bias: int
    drives: int
    row_apart: int
    step_apart: int
    sample_apart: int
    lengths: int
    each: int
    start: int
    start_m: int
    keep: int
    write: int
    m: int
    inside: int
    y: int
    h: int
    memories: int
    weights: int
    shares: int
    faded: int


class ReadScratch(NamedTuple):
    """One thread's memory; L = `most` lines, V = padded L.

    packed [I, W]      w_in in column panels; bias [W]
    zeros  [V + E]     what sums begin with
    keys   [D, V]      of a chunk, in column panels; values [L, E], with a 1 behind them
    before [D, E]      the memory, in column panels; memory [K, E], by itself
    heavy  [L, K], plain [L, E]  keys as they are written, and values
    scores [LINES, V], read [LINES, E], queries [LINES, K]  of some lines
    total, lost, write [V]       see `weigh`
    forgets [T]        logarithms of forget gates
    """

    packed: int
    bias: int
    zeros: int
    keys: int
    values: int
    before: int
    memory: int
    heavy: int
    plain: int
    scores: int
    read: int
    queries: int
    total: int
    lost: int
    write: int
    forgets: int
    end: int


@memory_map
def read_scratch(start, size, V, job):
    """The map of `ReadScratch` from `start` on; `end` - `start` is its size in bytes."""
    made, carried = (job.I + 1) * job.W * size if job.w_in != 0 else 0, 1 if job.carries != 0 else 0
    bias = start + (made - job.W * size if made else 0)
    zeros = start + made
    keys = zeros + (V + job.E) * size
    values = keys + job.D * V * size
    before = values + job.most * job.E * size
    memory = before + carried * job.D * job.E * size
    heavy = memory + carried * job.K * job.E * size
    plain = heavy + carried * job.most * job.K * size
    scores = plain + job.most * job.E * size
    read = scores + LINES * V * size
    queries = read + LINES * job.E * size
    total = queries + LINES * job.K * size
    lost = total + V * size
    write = lost + V * size
    return ReadScratch(
        packed=start, bias=bias, zeros=zeros, keys=keys, values=values, before=before, memory=memory, heavy=heavy,
        plain=plain, scores=scores, read=read, queries=queries, total=total, lost=lost, write=write,
        forgets=write + V * size, end=write + (V + job.T) * size,
    )  # fmt: skip


@kernel
def read_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `ReadJob`."""
    mode = flush_subnormals()
    size = item_bytes(zero)
    here = read_scratch(scratch, size=size, V=padded(zero, job.most), job=job)
    fill(zero, target=here.zeros, count=padded(zero, job.most) + job.E)
    for p in range(first, last):
        if job.w_in != 0:
            _prepare(zero, job, p, here)
        for b in range(job.B):
            drives = job.drives + (p * job.row_apart + b * job.sample_apart) * size
            own = load_int(job.lengths + p * 8) if job.each == 0 else load_int(job.each + (p * job.B + b) * 8)
            if job.w_in != 0:
                _make_drives(zero, job, p, b, job.T - own, drives, here)
            for n in range(job.N):
                _gates(zero, job, p, b, n, job.T - own, drives, here.forgets)
                if job.last == 0:
                    _sequence(zero, job, p, b, n, drives, here)
                # The last step anew: it shall have the same bits where it is shown alone.
                last_read(zero, job, (p * job.B + b) * job.N + n, _scale(zero, job), here.read)
    restore_mode(mode)


@inlined
def _prepare(zero, job, p, here):
    """Row p's w_in, packed, and its bias."""
    size, D = item_bytes(zero), 4 * job.N * job.D + 2 * job.N
    pack(
        zero, target=here.packed, source=job.w_in + p * job.I * D * size, inner=job.I, columns=D, inner_step=D,
        column_step=1, first=0, total=job.I,
    )  # fmt: skip
    fill(zero, target=here.bias, count=job.W)
    if job.bias != 0:
        copy(zero, target=here.bias, source=job.bias + p * D * size, count=D)


@inlined
def _make_drives(zero, job, p, b, begins, drives, here):  # noqa: PLR0913
    """Those of one sequence, one step behind the other; 0 before its own start.

    Where the last step alone is shown, nobody asks for other queries and output gates.
    """
    size, H, panel = item_bytes(zero), job.N * job.D, PANEL * vector_width(zero)
    whole = padded(zero, 4 * H + 2 * job.N)
    fill(zero, target=drives, count=begins * job.W)
    for which in range(3 if job.last != 0 else 1):  # one place to call from: copies of the product cost compile time
        first, end, step = 0, whole, begins
        if job.last != 0 and which == 0:  # keys and values, in whole panels
            first, end = H // panel * panel, min(whole, (3 * H + panel - 1) // panel * panel)
        elif which == 1:  # gates of heads
            first = 4 * H // panel * panel
        elif which == 2:
            step = job.T - 1
        made = Product(
            a1=job.inputs + ((p * job.T + step) * job.B + b) * job.I * size, lda1=job.B * job.I, k1=job.I,
            a2=here.zeros, lda2=0, k2=0, b=here.packed + first * job.I * size, ldb=0, start=here.bias + first * size,
            ldstart=0, c=drives + (step * job.W + first) * size, ldc=job.W, units=(end - first) // vector_width(zero),
        )  # fmt: skip
        times_packed(zero, rows=job.T - step, whole=made)


@part
def _larger(x, y):
    """As torch's maximum: NaN if either is."""
    return x if x > y or x != x else y


@part
def _log_sigmoids(x, first, end, zero):
    """Of each number: a loop by itself, as it becomes one of vectors."""
    for t in range(first, end):
        x[t] = -(_larger(-x[t], zero) + log1p(exponential(-abs(x[t]))))


@part
def _gates(zero, job, p, b, n, begins, drives, forgets):  # noqa: PLR0913
    """Logarithms of f' and i', and the stabiliser m = max(log f + m, i): see `memory_records.Gates`."""
    size, nothing = item_bytes(zero), number(job.nothing, zero)
    for t in range(begins, job.T):
        place = drives + (t * job.step_apart + 4 * job.N * job.D + job.N + n) * size
        store(zero, load(zero, place), forgets + t * size)
    if job.sigmoid != 0:
        _log_sigmoids(at(forgets, zero), begins, job.T, zero)
    m = load(zero, job.start_m + ((p * job.B + b) * job.N + n) * size)
    for t in range(job.T):
        here = (((p * job.T + t) * job.B + b) * job.N + n) * size
        if t >= begins:
            place = drives + (t * job.step_apart + 4 * job.N * job.D + n) * size
            i, kept = load(zero, place), load(zero, forgets + t * size)
            more = _larger(kept + m, i)
            store(zero, _larger(kept + m - more, nothing), job.keep + here)
            store(zero, _larger(i - more, nothing), job.write + here)
            m = more
        else:
            store(zero, zero, job.keep + here)
            store(zero, nothing, job.write + here)
        store(zero, m, job.m + here)


@part
def _sequence(zero, job, p, b, n, drives, here):  # noqa: PLR0913
    """All chunks of one head of one sequence."""
    size, x, memory = item_bytes(zero), (p * job.B + b) * job.N + n, job.K * job.E
    if job.carries != 0:
        fill(zero, target=here.memory, count=memory)
        if job.start != 0:
            copy(zero, target=here.memory, source=job.start + x * memory * size, count=memory)
    first, end, chunk = 0, job.first_end, 0
    while first < job.T:
        at = drives + (first * job.step_apart + n * job.D) * size
        _pack_chunk(zero, job, end - first, at, here)
        logs = (((p * job.T + first) * job.B + b) * job.N + n) * size
        decay = _read_chunk(zero, job, end - first, logs, at, here, x)
        if end < job.T:
            _write_chunk(zero, job, end - first, decay, at, here)
            to = job.memories + (chunk * job.P * job.B * job.N + x) * memory * size
            copy(zero, target=to, source=here.memory, count=memory)
        first, end, chunk = end, end + job.steps, chunk + 1


@part
def _pack_chunk(zero, job, count, at, here):
    """Keys and values of the chunk at `at`, and the memory before it, for products."""
    size, D, E, apart, one = item_bytes(zero), job.D, job.E, job.step_apart, number(1, zero)
    pack(
        zero, target=here.keys, source=at + job.N * D * size, inner=D, columns=count, inner_step=1, column_step=apart,
        first=0, total=D,
    )  # fmt: skip
    for s in range(count):
        line = here.plain + s * E * size
        copy(zero, target=line, source=at + (2 * job.N * D + s * apart) * size, count=D)
        fill(zero, target=line + D * size, count=E - D)
        store(zero, one, line + D * size)
    pack(
        zero, target=here.values, source=here.plain, inner=count, columns=E, inner_step=E, column_step=1, first=0,
        total=count,
    )  # fmt: skip
    if job.carries != 0:
        pack(
            zero, target=here.before, source=here.memory, inner=D, columns=E, inner_step=E, column_step=1, first=0,
            total=D,
        )  # fmt: skip


@part
def _read_chunk(zero, job, count, logs, at, here, x):  # noqa: PLR0913
    """What the chunk's lines read and show; returns e to the sum of its keep, by which a memory before it fades.

    Args:
        count: lines. logs: bytes before the first line's gates. at: its drives. x: the head of the sequence.
    """
    size, V, apart = item_bytes(zero), padded(zero, job.most), job.B * job.N * item_bytes(zero)
    # so large a sum has no digits of small terms, but then the memory has faded
    faded, lost = zero, zero
    fill(zero, target=here.total, count=V)
    fill(zero, target=here.lost, count=V)
    for s in range(count):
        store(zero, load(zero, job.write + logs + s * apart), here.write + s * size)
    fill(zero, target=here.write + count * size, count=V - count)
    # lines are counted from the end: idle steps before a sequence move no border
    first, end = 0, (count - 1) % LINES + 1
    while first < count:
        _score(zero, job, count, end, first, at, here)
        for t in range(first, end):
            scores, keep = here.scores + (t - first) * V * size, load(zero, job.keep + logs + t * apart)
            sums = (here.total, here.lost, here.write)
            weigh(scores, sums, t, padded(zero, end), keep, _scale(zero, job))
            faded, lost = added(faded, lost, keep)
            if job.carries != 0:
                _fade(zero, job, t - first, exponential(faded), at + t * job.step_apart * size, here)
        _read(zero, job, count, end, end - first, here)
        for t in range(first, end):
            _show(zero, job, logs + t * apart, t - first, at + (t * job.step_apart + 3 * job.N * job.D) * size, here, x)
        first, end = end, end + LINES
    return exponential(faded)


@inlined
def _scale(zero, job):
    """Of keys."""
    return number(1 / math.sqrt(job.D), zero)


@inlined
def _score(zero, job, count, end, first, at, here):  # noqa: PLR0913
    """q k of the lines first..end-1 with all keys up to the last of them, in whole panels."""
    size, V, panel = item_bytes(zero), padded(zero, job.most), PANEL * vector_width(zero)
    columns = min(padded(zero, count), (end + panel - 1) // panel * panel)
    scores = Product(
        a1=at + first * job.step_apart * size, lda1=job.step_apart, k1=job.D, a2=at, lda2=0, k2=0, b=here.keys, ldb=0,
        start=here.zeros, ldstart=0, c=here.scores, ldc=V, units=columns // vector_width(zero),
    )  # fmt: skip
    times_packed(zero, rows=end - first, whole=scores)


@inlined
def _fade(zero, job, line, decay, query, here):
    """The query with what is left of the memory before the chunk."""
    size, to = item_bytes(zero), here.queries + line * job.K * item_bytes(zero)
    for d in range(job.D):
        store(zero, load(zero, query + d * size) * decay, to + d * size)


@inlined
def _read(zero, job, count, end, lines, here):
    """C q and n q: weighed scores times values, and faded queries times the memory."""
    size, V, panel, width = item_bytes(zero), padded(zero, job.most), PANEL * vector_width(zero), vector_width(zero)
    for column in range(0, job.E, panel):
        wide, to = min(panel, job.E - column), here.read + column * size
        # a panel has all lines of the chunk, of which these see the first ones
        read = Product(
            a1=here.scores, lda1=V, k1=end, a2=here.scores, lda2=0, k2=0, b=here.values + column * count * size, ldb=0,
            start=here.zeros, ldstart=0, c=to, ldc=job.E, units=wide // width,
        )  # fmt: skip
        times_packed(zero, rows=lines, whole=read)
        if job.carries != 0:
            of_memory = Product(
                a1=here.queries, lda1=job.K, k1=job.D, a2=here.queries, lda2=0, k2=0,
                b=here.before + column * job.D * size, ldb=0, start=to, ldstart=job.E, c=to, ldc=job.E,
                units=wide // width,
            )  # fmt: skip
            times_packed(zero, rows=lines, whole=of_memory)


@inlined
def _show(zero, job, logs, line, gate, here, x):  # noqa: PLR0913
    """y = C q / max(|n q|, e^-m), and h = sigmoid(o) y; m counts up to +-`largest`."""
    size, E, D, largest = item_bytes(zero), job.E, job.D, number(job.largest, zero)
    seen, level = load(zero, here.read + (line * E + D) * size), load(zero, job.m + logs)
    divisor = divisor_of(seen, level, largest)
    store(zero, seen, job.inside + logs)
    # a row has one state more than steps
    behind = (x // (job.B * job.N) + 1) * job.B * job.N * D * size
    found, shown = job.y + logs * D, job.h + logs * D + behind
    gated_quotient((here.read, line * E), (gate, 0), (found, 0), (shown, 0), D, divisor)


@part
def _write_chunk(zero, job, count, decay, at, here):
    """The memory behind the chunk."""
    size, D, E, K = item_bytes(zero), job.D, job.E, job.K
    for i in range(K * E):
        store(zero, load(zero, here.memory + i * size) * decay, here.memory + i * size)
    for s in range(count):
        weight = exponential(
            load(zero, here.total + s * size) + (load(zero, here.write + s * size) - load(zero, here.lost + s * size))
        ) * _scale(zero, job)
        key = at + (job.N * D + s * job.step_apart) * size
        for d in range(D):
            store(zero, load(zero, key + d * size) * weight, here.heavy + (s * K + d) * size)
    outer = Outer(
        count=count, left=here.heavy, ldl=K, rows=D, right=here.plain, ldr=E, columns=E, c=here.memory
    )  # fmt: skip
    add_outer(zero, outer)
