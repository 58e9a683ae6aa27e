"""Inverses of I + A with skew A, row after row, and the scaled Cayley map and its pull-back made of them.

Blocked Gauss-Jordan elimination in place, without pivoting: a block of columns takes its place by one product over the
whole matrix. The symmetric part of I + A is the identity, so that every pivot block has a symmetric part of at least
the identity too. What can go wrong is growth: `growth` is the largest entry that the diagonal has had, which bounds
the symmetric part of what is left to be eliminated, and the caller judges by it.

References:
    Golub, Van Loan (2013), Matrix Computations, section 4.3.3: elimination of a matrix with a positive definite
    symmetric part, and how far it may grow.
"""

from __future__ import annotations

from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map
from rnnsweep.core.recurrence.cpu.emit.pivots import SIDE, Pivots, invert_block
from rnnsweep.core.recurrence.cpu.emit.products import Product
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.vectors import item_bytes, load, number, store, vector_width
from rnnsweep.core.recurrence.cpu.kernels.matrices import (
    Outer,
    add_outer,
    copy,
    copy_in,
    fill,
    pack,
    padded,
    times_packed,
)


class InverseJob(NamedTuple):
    """Arguments of `inverse_rows`: addresses (0 = absent) and sizes.

    Attributes:
        N: of [N, N]. stored: matrices whose strict upper triangle U gives A = U - U^T, or I + A itself.
        stored_row: entries from one row's matrix to the next one's.
        diagonal: D [N]: then out = (2 (I + A)^-1 - I) D, and `stored` holds U. 0: out = stored^-1.
        out: [N, N] without gaps. growth: one number per row.
    """

    N: int
    stored: int
    stored_row: int
    diagonal: int
    out: int
    growth: int


class InverseScratch(NamedTuple):
    """One thread's memory in `inverse_rows`; W = padded N, SIDE as in `Pivots`.

    block    [SIDE, SIDE]   a diagonal block, then its inverse
    turned   [SIDE, SIDE]   minus the inverse
    small    [SIDE, SIDE]   that again, in column panels
    zeros    [SIDE]
    matrix   [N, W]
    factors  [N, SIDE]      what every row takes of the pivot rows
    packed   [SIDE, W]      the pivot rows, in column panels
    """

    block: int
    turned: int
    small: int
    zeros: int
    matrix: int
    factors: int
    packed: int
    end: int


@memory_map
def inverse_scratch(start, size, width, job):
    """The map of `InverseScratch` from `start` on; `end` - `start` is its size in bytes."""
    square = SIDE * SIDE * size
    turned = start + square
    small = turned + square
    zeros = small + square
    matrix = zeros + SIDE * size
    factors = matrix + job.N * width * size
    packed = factors + job.N * SIDE * size
    return InverseScratch(
        block=start, turned=turned, small=small, zeros=zeros, matrix=matrix, factors=factors, packed=packed,
        end=packed + SIDE * width * size,
    )  # fmt: skip


@kernel
def inverse_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `InverseJob`."""
    mode = flush_subnormals()
    size, full = item_bytes(zero), padded(zero, job.N)
    here = inverse_scratch(scratch, size=size, width=full, job=job)
    fill(zero, target=here.zeros, count=SIDE)
    for p in range(first, last):
        stored = job.stored + p * job.stored_row * size
        if job.diagonal != 0:
            _skew(zero, job, stored, here)
        else:
            copy_in(zero, target=here.matrix, source=stored, rows=job.N, columns=job.N, stride=job.N)
        eliminate(zero, job, p, here)
        _write(zero, job, p, here)
    restore_mode(mode)


@inlined
def eliminate(zero, job, p, here):
    """The inverse of `here.matrix` in its place; `job` tells N and where row p's growth goes."""
    growth = job.growth + p * item_bytes(zero)
    store(zero, zero, growth)
    for begin in range(0, job.N, SIDE):
        _eliminate(zero, job, begin, growth, here)


@inlined
def _skew(zero, job, stored, here):
    """I + U - U^T into the padded matrix."""
    size, full = item_bytes(zero), padded(zero, job.N)
    for i in range(job.N):
        row = here.matrix + i * full * size
        store(zero, number(zero, 1.0), row + i * size)
        copy(zero, target=row + (i + 1) * size, source=stored + (i * job.N + i + 1) * size, count=job.N - i - 1)
        fill(zero, target=row + job.N * size, count=full - job.N)
    # By strips of columns: what is read across lies in few cache lines, row after row.
    for begin in range(0, job.N, SIDE):
        for i in range(begin + 1, job.N):
            row = here.matrix + i * full * size
            for j in range(begin, min(begin + SIDE, i)):
                store(zero, zero - load(zero, stored + (j * job.N + i) * size), row + j * size)


@inlined
def _largest(zero, job, begin, growth, here):
    """Raise `growth` to the largest of what is left of the diagonal; NaN stays."""
    size, full = item_bytes(zero), padded(zero, job.N)
    largest = load(zero, growth)
    for i in range(begin, job.N):
        own = abs(load(zero, here.matrix + i * (full + 1) * size))
        # Not "own > largest": NaN must get in, and must not get out again.
        if not own <= largest and largest == largest:
            largest = own
    store(zero, largest, growth)


@inlined
def _eliminate(zero, job, begin, growth, here):
    """Let the columns from `begin` on take their place: rows of the block times its inverse, and off all others."""
    size, full, width = item_bytes(zero), padded(zero, job.N), vector_width(zero)
    count = min(SIDE, job.N - begin)
    _largest(zero, job, begin, growth, here)
    pivots, columns = here.matrix + begin * full * size, here.matrix + begin * size
    fill(zero, target=here.block, count=SIDE * SIDE)
    for i in range(count):
        own = pivots + (i * full + begin) * size
        copy(zero, target=here.block + i * SIDE * size, source=own, count=count)
    invert_block(zero, Pivots(block=here.block, count=count, growth=growth))
    for i in range(SIDE * SIDE):
        store(zero, zero - load(zero, here.block + i * size), here.turned + i * size)
    pack(
        zero, target=here.small, source=here.turned, inner=count, columns=SIDE, inner_step=SIDE, column_step=1, first=0,
        total=count,
    )  # fmt: skip
    factors = Product(
        a1=columns, lda1=full, k1=count, a2=columns, lda2=0, k2=0, b=here.small, ldb=0, start=here.zeros, ldstart=0,
        c=here.factors, ldc=SIDE, units=SIDE // width,
    )  # fmt: skip
    times_packed(zero, rows=job.N, whole=factors)
    copy(zero, target=here.factors + begin * SIDE * size, source=here.block, count=count * SIDE)
    # The identity beside the matrix, of which only these columns are ever there: they lie where the block was.
    for i in range(job.N):
        fill(zero, target=columns + i * full * size, count=count)
    for i in range(count):
        store(zero, number(zero, 1.0), pivots + (i * (full + 1) + begin) * size)
    pack(
        zero, target=here.packed, source=pivots, inner=count, columns=full, inner_step=full, column_step=1, first=0,
        total=count,
    )  # fmt: skip
    fill(zero, target=pivots, count=count * full)
    whole = Product(
        a1=here.factors, lda1=SIDE, k1=count, a2=here.factors, lda2=0, k2=0, b=here.packed, ldb=0, start=here.matrix,
        ldstart=full, c=here.matrix, ldc=full, units=full // width,
    )  # fmt: skip
    times_packed(zero, rows=job.N, whole=whole)


@inlined
def _write(zero, job, p, here):
    """The inverse K, or (2 K - I) D, without padding."""
    size, N, full = item_bytes(zero), job.N, padded(zero, job.N)
    for i in range(N):
        row, to = here.matrix + i * full * size, job.out + (p * N + i) * N * size
        if job.diagonal == 0:
            copy(zero, target=to, source=row, count=N)
        else:
            own = load(zero, row + i * size) * number(zero, 2.0) - number(zero, 1.0)
            for j in range(N):
                d = load(zero, job.diagonal + (p * N + j) * size)
                store(zero, load(zero, row + j * size) * number(zero, 2.0) * d, to + j * size)
            store(zero, own * load(zero, job.diagonal + (p * N + i) * size), to + i * size)


class CayleyBackJob(NamedTuple):
    """Arguments of `cayley_back_rows`: the pull-back of W = (2 K - I) D to U, of K = (I + U - U^T)^-1.

    Attributes:
        N: of [N, N]. w, gradient, out: [N, N] each without gaps. diagonal: D [N].
    """

    N: int
    w: int
    diagonal: int
    gradient: int
    out: int


class CayleyBackScratch(NamedTuple):
    """One thread's memory in `cayley_back_rows`; W = padded N.

    k         [N, W]    K
    packed    [N, W]    its transposed, in column panels
    given     [N, W]    the gradient times 2 D
    between   [N, W]    that times K^T
    v         [N, W]    K^T times that
    zeros     [W]
    """

    k: int
    packed: int
    given: int
    between: int
    v: int
    zeros: int
    end: int


@memory_map
def cayley_back_scratch(start, size, width, job):
    """The map of `CayleyBackScratch` from `start` on; `end` - `start` is its size in bytes."""
    square = job.N * width * size
    packed = start + square
    given = packed + square
    between = given + square
    v = between + square
    zeros = v + square
    return CayleyBackScratch(
        k=start, packed=packed, given=given, between=between, v=v, zeros=zeros, end=zeros + width * size
    )


@kernel
def cayley_back_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `CayleyBackJob`: out = triu(V^T - V, 1), V = 2 K^T G D K^T."""
    mode = flush_subnormals()
    size, full = item_bytes(zero), padded(zero, job.N)
    here = cayley_back_scratch(scratch, size=size, width=full, job=job)
    fill(zero, target=here.zeros, count=full)
    for p in range(first, last):
        _prepare_back(zero, job, p, here)
        pack(
            zero, target=here.packed, source=here.k, inner=job.N, columns=job.N, inner_step=1, column_step=full,
            first=0, total=job.N,
        )  # fmt: skip
        right = Product(
            a1=here.given, lda1=full, k1=job.N, a2=here.given, lda2=0, k2=0, b=here.packed, ldb=0, start=here.zeros,
            ldstart=0, c=here.between, ldc=full, units=full // vector_width(zero),
        )  # fmt: skip
        times_packed(zero, rows=job.N, whole=right)
        fill(zero, target=here.v, count=job.N * full)
        left = Outer(
            count=job.N, left=here.k, ldl=full, rows=job.N, right=here.between, ldr=full, columns=full, c=here.v
        )
        add_outer(zero, left)
        _write_back(zero, job, p, here)
    restore_mode(mode)


@inlined
def _prepare_back(zero, job, p, here):
    """K = (W D + I) / 2 and 2 G D, padded."""
    size, N, full = item_bytes(zero), job.N, padded(zero, job.N)
    diagonal = job.diagonal + p * N * size
    for i in range(N):
        at = (p * N + i) * N * size
        k, given = here.k + i * full * size, here.given + i * full * size
        for j in range(N):
            d = load(zero, diagonal + j * size)
            store(zero, load(zero, job.w + at + j * size) * d * number(zero, 0.5), k + j * size)
            store(zero, load(zero, job.gradient + at + j * size) * d * number(zero, 2.0), given + j * size)
        own = load(zero, job.w + at + i * size) * load(zero, diagonal + i * size)
        store(zero, (own + number(zero, 1.0)) * number(zero, 0.5), k + i * size)
        fill(zero, target=k + N * size, count=full - N)
        fill(zero, target=given + N * size, count=full - N)


@inlined
def _write_back(zero, job, p, here):
    """The strict upper triangle of V^T - V; zeros below."""
    size, N, full = item_bytes(zero), job.N, padded(zero, job.N)
    for i in range(N):
        fill(zero, target=job.out + (p * N + i) * N * size, count=i + 1)
    # By strips of rows, for the same reason as in `_skew`.
    for begin in range(0, N, SIDE):
        for j in range(begin + 1, N):
            across = here.v + j * full * size
            for i in range(begin, min(begin + SIDE, j)):
                own = load(zero, here.v + (i * full + j) * size)
                store(zero, load(zero, across + i * size) - own, job.out + ((p * N + i) * N + j) * size)
