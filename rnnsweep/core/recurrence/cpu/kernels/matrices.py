"""Matrices in the kernels' memory: copied, padded, packed, multiplied; and the kernels that are made of these alone.

Addresses are in bytes, sizes in elements. A padded matrix is [rows, W], W the width rounded up to whole units of a
vector; what lies beyond the true width is zero. Pieces are called with their arguments by name.

Where the sequences of a row differ in length a job has `each`, the address of int64 [P, B] lengths (else 0), and
samples that have not begun are put back to where they were after every step.
"""

# pyright: reportIncompatibleMethodOverride=false
# Named tuples have a field `count`, as loops have; nobody asks them for tuple.count.

from __future__ import annotations

from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map, part
from rnnsweep.core.recurrence.cpu.emit.products import Product, product_cols, product_rows
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.sums import Reduction, squares
from rnnsweep.core.recurrence.cpu.emit.vectors import (
    Blank,
    Move,
    Multiple,
    blank,
    item_bytes,
    load,
    load_int,
    move,
    scale,
    store,
    vector_width,
)
from rnnsweep.core.recurrence.cpu.host import PANEL, TILES

BLOCK = 96
"""Rows of `left` and `right` per block of an outer product: both blocks stay in the L1 and L2 caches."""


@inlined
def fill(zero, target, count):
    """Write `count` zeros."""
    blank(zero, Blank(target=target, count=count))


@inlined
def copy(zero, target, source, count):
    """Copy `count` entries."""
    move(zero, Move(target=target, source=source, count=count))


@inlined
def padded(zero, n):
    """Width n rounded up to whole units of a vector."""
    # Loops over vectors then have no tail; a tail would round differently from the rest.
    width = vector_width(zero)
    return (n + width - 1) // width * width


@part
def copy_in(zero, target, source, rows, columns, stride):
    """Copy [rows, columns] at `source`, `stride` entries from one row to the next, into a padded matrix."""
    size, full = item_bytes(zero), padded(zero, columns)
    for r in range(rows):
        to = target + r * full * size
        copy(zero, target=to, source=source + r * stride * size, count=columns)
        fill(zero, target=to + columns * size, count=full - columns)


@part
def copy_out(zero, target, source, rows, columns):
    """Copy a padded matrix into [rows, columns] without gaps."""
    size, full = item_bytes(zero), padded(zero, columns)
    for r in range(rows):
        copy(zero, target=target + r * columns * size, source=source + r * full * size, count=columns)


@inlined
def begun(job, p, t, b):
    """Whether step t is sample b's own, of those that are row p's."""
    return job.each == 0 or t >= job.T - load_int(job.each + (p * job.B + b) * 8)


@inlined
def hold(zero, job, p, t, target, source, width):
    """Copy what lies at `source` to `target`, both [B, width], for the samples that have not begun."""
    size = item_bytes(zero)
    for b in range(job.B if job.each != 0 else 0):
        if not begun(job, p, t, b):
            copy(zero, target=target + b * width * size, source=source + b * width * size, count=width)


@inlined
def clear(zero, job, p, t, target, width):
    """Put 0 at `target` [B, width] for the samples that have not begun."""
    size = item_bytes(zero)
    for b in range(job.B if job.each != 0 else 0):
        if not begun(job, p, t, b):
            fill(zero, target=target + b * width * size, count=width)


@inlined
def own_samples(job, p):
    """Own steps of all samples of row p."""
    if job.each == 0:
        return job.B * load_int(job.lengths + p * 8)
    count = 0
    for b in range(job.B):
        count += load_int(job.each + (p * job.B + b) * 8)
    return count


@part
def pack(zero, target, source, inner, columns, inner_step, column_step, first, total):
    """Pack a matrix [inner, columns], element (k, n) at k * inner_step + n * column_step, for `times_packed`.

    It fills the inner indices from `first` on of `total`, so that two matrices can lie one over the other:

        target:  panel 0                       panel 1
                 k = 0:       | PANEL units    k = 0: | ...
                 k = 1:       | PANEL units
                 ...
                 k = total-1: | PANEL units

    The product reads a panel from its first to its last byte: one stream, whatever the matrix's own layout. The last
    panel is as narrow as what is left.
    """
    size, width = item_bytes(zero), vector_width(zero)
    # A panel is two vectors wide: as many columns as one register tile takes at a time.
    full = padded(zero, columns)
    for column in range(0, full, PANEL * width):
        wide = min(PANEL * width, full - column)
        own = min(wide, columns - column)
        for k in range(inner):
            to = target + (column * total + (first + k) * wide) * size
            at = source + (k * inner_step + column * column_step) * size
            if column_step == 1:
                copy(zero, target=to, source=at, count=own)
            else:
                for n in range(own):
                    store(zero, load(zero, at + n * column_step * size), to + n * size)
            # Zeros beyond the true width: they reach the padding of the result only, and keep it zero.
            fill(zero, target=to + own * size, count=wide - own)


@inlined
def _tile_height(rows):
    """The tallest register tile that fits, but no single row is left over where that can be helped.

    A tile of one row loads a whole panel for one product per vector: the loads, not the arithmetic, would be the price.
    """
    for height in TILES:
        if height <= rows and (rows - height != 1 or height <= 2):
            return height
    return 1


@inlined
def times_packed(zero, rows, whole):
    """The `Product` c = start + a1 B1 + a2 B2 of all rows, tile by tile; `b` is packed."""
    size = item_bytes(zero)
    done = 0
    while done < rows:
        height = _tile_height(rows - done)
        tile = Product(
            a1=whole.a1 + done * whole.lda1 * size,
            lda1=whole.lda1,
            k1=whole.k1,
            a2=whole.a2 + done * whole.lda2 * size,
            lda2=whole.lda2,
            k2=whole.k2,
            b=whole.b,
            ldb=0,
            start=whole.start + done * whole.ldstart * size,
            ldstart=whole.ldstart,
            c=whole.c + done * whole.ldc * size,
            ldc=whole.ldc,
            units=whole.units,
        )
        product_rows(zero, height, tile)
        done += height


@part
def multiply(zero, left, rows, right, inner, columns, packed, zeros, out):
    """out [rows, W] = left [rows, inner] right [inner, columns], all padded; left's lines are W apart too.

    `packed`: room for the right one in column panels; `zeros`: W zeros.
    """
    full = padded(zero, columns)
    pack(
        zero, target=packed, source=right, inner=inner, columns=columns, inner_step=full, column_step=1, first=0,
        total=inner,
    )  # fmt: skip
    whole = Product(
        a1=left, lda1=full, k1=inner, a2=left, lda2=0, k2=0, b=packed, ldb=0, start=zeros, ldstart=0, c=out, ldc=full,
        units=full // vector_width(zero),
    )  # fmt: skip
    times_packed(zero, rows=rows, whole=whole)


class Outer(NamedTuple):
    """c += left^T right over `count` rows.

    Attributes:
        left, ldl, rows: its address, entries from one row to the next, its columns: the rows of c.
        right, ldr, columns: likewise; `columns` is padded: what lies beyond the true ones is read, and reaches the
            padding of c only.
        c: [rows, columns].
    """

    count: int
    left: int
    ldl: int
    rows: int
    right: int
    ldr: int
    columns: int
    c: int


@inlined
def add_outer(zero, outer):
    """See `Outer`."""
    size, width = item_bytes(zero), vector_width(zero)
    done = 0
    while done < outer.rows:
        height = _tile_height(outer.rows - done)
        place = outer.c + done * outer.columns * size
        tile = Product(
            a1=outer.left + done * size,
            lda1=outer.ldl,
            k1=outer.count,
            a2=0,
            lda2=0,
            k2=0,
            b=outer.right,
            ldb=outer.ldr,
            # The sums so far are both start and result: the tile keeps them in registers over the whole block.
            start=place,
            ldstart=outer.columns,
            c=place,
            ldc=outer.columns,
            units=outer.columns // width,
        )
        product_cols(zero, height, tile)
        done += height


@inlined
def weigh(zero, target, source, stride, weights, count, width):
    """target[n] = weights[n] * source[n] for `count` rows of padded width; `stride`: of the source's rows."""
    size, vectors = item_bytes(zero), width // vector_width(zero)
    for n in range(count):
        row = Multiple(
            out=target + n * width * size, factor=weights + n * size, x=source + n * stride * size, count=vectors
        )
        scale(zero, row)


class OuterJob(NamedTuple):
    """Arguments of `outer_rows`: out = sum_n weight[n] left[n] (x) right[n].

    Attributes:
        n, K, M: left is [n, K], right [n, M], out [K, M].
        left, left_row, ldl: address, entries from one row of the pack to the next, from one row of the matrix to the
            next; right_row, ldr likewise. Rows of right may be read up to the padded width.
        weight: [n], or 0 for none. out: without gaps.
    """

    n: int
    K: int
    M: int
    left: int
    left_row: int
    ldl: int
    right: int
    right_row: int
    ldr: int
    weight: int
    out: int


class OuterScratch(NamedTuple):
    """One thread's memory in `outer_rows`; W = padded M.

    sums      [K, W]
    weighted  [BLOCK, W]    a block of right, times its weights
    """

    sums: int
    weighted: int
    end: int


@memory_map
def outer_scratch(start, size, width, job):
    """The map of `OuterScratch` from `start` on; `end` - `start` is its size in bytes."""
    weighted = start + job.K * width * size
    return OuterScratch(sums=start, weighted=weighted, end=weighted + BLOCK * width * size)


@kernel
def outer_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `OuterJob`."""
    mode = flush_subnormals()
    size, full = item_bytes(zero), padded(zero, job.M)
    here = outer_scratch(scratch, size=size, width=full, job=job)
    for p in range(first, last):
        fill(zero, target=here.sums, count=job.K * full)
        # Block by block, since the sums [K, M] are read and written once per block: more rows share that.
        for begin in range(0, job.n, BLOCK):
            count = min(BLOCK, job.n - begin)
            right, ldr = job.right + (p * job.right_row + begin * job.ldr) * size, job.ldr
            if job.weight != 0:
                weights = job.weight + (p * job.n + begin) * size
                weigh(zero, target=here.weighted, source=right, stride=ldr, weights=weights, count=count, width=full)
                # From here on the weighted copy stands for `right`; it is padded, whatever the original was.
                right, ldr = here.weighted, full
            left = job.left + (p * job.left_row + begin * job.ldl) * size
            block = Outer(
                count=count, left=left, ldl=job.ldl, rows=job.K, right=right, ldr=ldr, columns=full, c=here.sums
            )
            add_outer(zero, block)
        copy_out(zero, target=job.out + p * job.K * job.M * size, source=here.sums, rows=job.K, columns=job.M)
    restore_mode(mode)


class MatmulJob(NamedTuple):
    """Arguments of `matmul_rows`: out = left right, [M, K] x [K, N], all without gaps."""

    M: int
    K: int
    N: int
    left: int
    right: int
    out: int


class MatmulScratch(NamedTuple):
    """One thread's memory in `matmul_rows`; W = padded N.

    packed   [K, W]        right, in column panels
    zeros    [W]           what the products begin with
    product  [BLOCK, W]
    """

    packed: int
    zeros: int
    product: int
    end: int


@memory_map
def matmul_scratch(start, size, width, job):
    """The map of `MatmulScratch` from `start` on; `end` - `start` is its size in bytes."""
    zeros = start + job.K * width * size
    product = zeros + width * size
    return MatmulScratch(packed=start, zeros=zeros, product=product, end=product + BLOCK * width * size)


@kernel
def matmul_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `MatmulJob`."""
    mode = flush_subnormals()
    size, full = item_bytes(zero), padded(zero, job.N)
    here = matmul_scratch(scratch, size=size, width=full, job=job)
    # Products always begin with something; here with one row of zeros, by row stride 0.
    fill(zero, target=here.zeros, count=full)
    for p in range(first, last):
        right = job.right + p * job.K * job.N * size
        pack(
            zero, target=here.packed, source=right, inner=job.K, columns=job.N, inner_step=job.N, column_step=1,
            first=0, total=job.K,
        )  # fmt: skip
        for begin in range(0, job.M, BLOCK):
            count = min(BLOCK, job.M - begin)
            left = job.left + (p * job.M + begin) * job.K * size
            block = Product(
                a1=left, lda1=job.K, k1=job.K, a2=left, lda2=0, k2=0, b=here.packed, ldb=0, start=here.zeros,
                ldstart=0, c=here.product, ldc=full, units=full // vector_width(zero),
            )  # fmt: skip
            times_packed(zero, rows=count, whole=block)
            out = job.out + (p * job.M + begin) * job.N * size
            copy_out(zero, target=out, source=here.product, rows=count, columns=job.N)
    restore_mode(mode)


class NormsJob(NamedTuple):
    """Arguments of `norms_rows`: out[i] = |x[i]|^2.

    Attributes:
        n, width: x is [n, width], with `x_row` entries from one row of the pack to the next, `ldx` from one of its own
            rows to the next. out: [n].
    """

    n: int
    width: int
    x: int
    x_row: int
    ldx: int
    out: int


class NormsScratch(NamedTuple):
    """One thread's memory in `norms_rows`: lanes [one vector]."""

    lanes: int
    end: int


@memory_map
def norms_scratch(start):
    """The map of `NormsScratch` from `start` on; `end` - `start` is its size in bytes."""
    return NormsScratch(lanes=start, end=start + 64)


@kernel
def norms_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `NormsJob`: sums of squares, lane by lane, then over the lanes and the tail in order."""
    mode = flush_subnormals()
    size, width = item_bytes(zero), vector_width(zero)
    here = norms_scratch(scratch)
    whole = job.width // width
    for p in range(first, last):
        for n in range(job.n):
            row = job.x + (p * job.x_row + n * job.ldx) * size
            # Whole vectors lane by lane, the rest one by one: an order that does not depend on where the row lies.
            squares(zero, Reduction(out=here.lanes, x=row, count=whole))
            total = zero
            for lane in range(width):
                total += load(zero, here.lanes + lane * size)
            for i in range(whole * width, job.width):
                total += load(zero, row + i * size) ** 2
            store(zero, total, job.out + (p * job.n + n) * size)
    restore_mode(mode)
