"""The exponential of skew matrices and its pull-back, row after row: the steps of `core.families.exponential_map`.

A row's matrices lie side by side, 42 KB each at N = 100: a step reads from the caches what the one before it wrote.
"""

from __future__ import annotations

from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map, part
from rnnsweep.core.recurrence.cpu.emit.pivots import SIDE
from rnnsweep.core.recurrence.cpu.emit.products import Product
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.vectors import (
    Multiple,
    Sum,
    combine,
    item_bytes,
    load,
    load_int,
    number,
    scale,
    store,
    store_int,
    vector_width,
)
from rnnsweep.core.recurrence.cpu.kernels.inverses import InverseScratch, eliminate, inverse_scratch
from rnnsweep.core.recurrence.cpu.kernels.matrices import (
    Outer,
    add_outer,
    copy_in,
    copy_out,
    fill,
    pack,
    padded,
    times_packed,
)

KEPT = 6
"""Matrices that a row keeps for its pull-back, beside one for every squaring: see `ExponentialJob.kept`."""


class ExponentialJob(NamedTuple):
    """Arguments of `exponential_rows` and of `exponential_back_rows`: addresses and sizes; W = padded N.

    Attributes:
        N: of [N, N]. most: halvings at most.
        given: of skew matrices, or gradients of their exponentials, [N, N] without gaps.
        largest: the number that |A^2|_1 must be below. even, odd: coefficients of the approximant, four each.
        kept: [KEPT + most, N, W]: A / 2^s, its second and fourth power, U / A, the inverse of N = V - U, and the
            approximant, then after each of its squarings.
        halvings: int64, s of each row. growth: see `inverses`.
        out: exponentials, or gradients of matrices, [N, N] without gaps.
    """

    N: int
    most: int
    given: int
    largest: int
    even: int
    odd: int
    kept: int
    halvings: int
    growth: int
    out: int


class ExponentialScratch(NamedTuple):
    """One thread's memory in both kernels; W = padded N.

    numbers   [64 bytes]    factors, see `_ONE` and its neighbours
    zeros     [W]
    packed    [N, W]        the right operand of a product, in column panels
    first, second, third, fourth, fifth, sixth   [N, W]
    inverse   what an elimination needs; its matrix is where the inverse comes to be
    """

    numbers: int
    zeros: int
    packed: int
    first: int
    second: int
    third: int
    fourth: int
    fifth: int
    sixth: int
    inverse: InverseScratch
    end: int


_ONE, _TWO, _MINUS, _POWER = 0, 1, 2, 3
"""Places of numbers: 1, 2, -1, and a power of two."""


@memory_map
def exponential_scratch(start, size, width, job):
    """The map of `ExponentialScratch` from `start` on; `end` - `start` is its size in bytes."""
    square = job.N * width * size
    zeros = start + 64
    packed = zeros + width * size
    first = packed + square
    inverse = inverse_scratch(first + 6 * square, size, width, job)
    return ExponentialScratch(
        numbers=start, zeros=zeros, packed=packed, first=first, second=first + square, third=first + 2 * square,
        fourth=first + 3 * square, fifth=first + 4 * square, sixth=first + 5 * square, inverse=inverse,
        end=inverse.end,
    )  # fmt: skip


@inlined
def _begin(zero, here):
    """The numbers, and a row of zeros."""
    size = item_bytes(zero)
    store(zero, number(zero, 1.0), here.numbers + _ONE * size)
    store(zero, number(zero, 2.0), here.numbers + _TWO * size)
    store(zero, number(zero, -1.0), here.numbers + _MINUS * size)
    fill(zero, target=here.zeros, count=(here.packed - here.zeros) // size)
    fill(zero, target=here.inverse.zeros, count=SIDE)


@inlined
def _kept_places(zero, job, kept):
    """Addresses of a row's first `KEPT` matrices; those of its squarings lie behind the last one."""
    square = job.N * padded(zero, job.N) * item_bytes(zero)
    return kept, kept + square, kept + 2 * square, kept + 3 * square, kept + 4 * square, kept + 5 * square


@inlined
def _entries(zero, job):
    """Vectors of a padded matrix."""
    return job.N * padded(zero, job.N) // vector_width(zero)


@part
def _pack(zero, job, source, here, turned):
    """The right operand of the products that follow, or (`turned`) its transpose."""
    full = padded(zero, job.N)
    row, column = full, full // full
    if turned:
        row, column = column, row
    pack(
        zero, target=here.packed, source=source, inner=job.N, columns=job.N, inner_step=row, column_step=column,
        first=0, total=job.N,
    )  # fmt: skip


@part
def _times(zero, job, left, start, out, here):
    """out = start + left times what is packed; `start` 0: nothing."""
    full = padded(zero, job.N)
    begin, stride = start, full
    if start == 0:
        begin, stride = here.zeros, 0 * full
    whole = Product(
        a1=left, lda1=full, k1=job.N, a2=left, lda2=0, k2=0, b=here.packed, ldb=0, start=begin, ldstart=stride, c=out,
        ldc=full, units=full // vector_width(zero),
    )  # fmt: skip
    times_packed(zero, rows=job.N, whole=whole)


@part
def _turned_times(zero, job, left, right, out):
    """out = left^T right."""
    full = padded(zero, job.N)
    fill(zero, target=out, count=job.N * full)
    add_outer(zero, Outer(count=job.N, left=left, ldl=full, rows=job.N, right=right, ldr=full, columns=full, c=out))


@inlined
def _add(zero, job, factor, x, y, out):
    """out = factor x + y; the factor by its address."""
    combine(zero, Sum(out=out, factor=factor, x=x, y=y, count=_entries(zero, job)))


@inlined
def _multiply(zero, job, factor, x, out):
    """out = factor x; the factor by its address."""
    scale(zero, Multiple(out=out, factor=factor, x=x, count=_entries(zero, job)))


@inlined
def _add_diagonal(zero, job, matrix, value):
    """Add a number to the diagonal."""
    size, full = item_bytes(zero), padded(zero, job.N)
    for i in range(job.N):
        at = matrix + i * (full + 1) * size
        store(zero, load(zero, at) + value, at)


@part
def _polynomial(zero, job, coefficients, second, fourth, sixth, out):
    """c_0 I + c_1 A^2 + c_2 A^4 + c_3 A^6."""
    size = item_bytes(zero)
    _multiply(zero, job, factor=coefficients + size, x=second, out=out)
    _add(zero, job, factor=coefficients + 2 * size, x=fourth, y=out, out=out)
    _add(zero, job, factor=coefficients + 3 * size, x=sixth, y=out, out=out)
    _add_diagonal(zero, job, matrix=out, value=load(zero, coefficients))


@part
def _largest_column(zero, job, matrix, sums):
    """|M|_1: the largest sum of magnitudes of a column; NaN where there is one. `sums`: room for a row."""
    size, full = item_bytes(zero), padded(zero, job.N)
    fill(zero, target=sums, count=full)
    for i in range(job.N):
        for j in range(job.N):
            at = sums + j * size
            store(zero, load(zero, at) + abs(load(zero, matrix + (i * full + j) * size)), at)
    largest = zero
    for j in range(job.N):
        total = load(zero, sums + j * size)
        if not total <= largest and largest == largest:
            largest = total
    return largest


@inlined
def _halvings(zero, job, size):
    """So many that `size` is below 1 when it is divided by four as often; 0 of what is not finite."""
    count = 0
    left = size
    if size - size == zero:
        while count < job.most and left >= number(zero, 1.0):
            left *= number(zero, 0.25)
            count += 1
    return count


@inlined
def _power_of_two(zero, count):
    """2^-count."""
    power = number(zero, 1.0)
    for _ in range(count):
        power *= number(zero, 0.5)
    return power


@part
def _symmetric_sum(zero, job, x, out):
    """out = x + x^T, by strips of columns, as what is read across lies in few cache lines."""
    size, full = item_bytes(zero), padded(zero, job.N)
    fill(zero, target=out, count=job.N * full)
    for begin in range(0, job.N, SIDE):
        for i in range(job.N):
            for j in range(begin, min(begin + SIDE, job.N)):
                own, across = load(zero, x + (i * full + j) * size), load(zero, x + (j * full + i) * size)
                store(zero, own + across, out + (i * full + j) * size)


@kernel
def exponential_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `ExponentialJob`: exp(A), and what its pull-back reads."""
    mode = flush_subnormals()
    size, full = item_bytes(zero), padded(zero, job.N)
    here = exponential_scratch(scratch, size=size, width=full, job=job)
    _begin(zero, here)
    square = job.N * full * size
    for p in range(first, last):
        kept = job.kept + p * (KEPT + job.most) * square
        _approximate(zero, job, p, kept, here)
        value = kept + 5 * square
        for _ in range(load_int(job.halvings + p * 8)):
            _pack(zero, job, source=value, here=here, turned=False)
            _times(zero, job, left=value, start=0, out=value + square, here=here)
            value += square
        copy_out(zero, target=job.out + p * job.N * job.N * size, source=value, rows=job.N, columns=job.N)
    restore_mode(mode)


@inlined
def _approximate(zero, job, p, kept, here):
    """N^-1 (V + U) = I + 2 N^-1 U of A / 2^s."""
    size = item_bytes(zero)
    a, second, fourth, factor, inverse, value = _kept_places(zero, job, kept)
    sixth, odd, matrix = here.first, here.second, here.inverse.matrix
    copy_in(zero, target=a, source=job.given + p * job.N * job.N * size, rows=job.N, columns=job.N, stride=job.N)
    _pack(zero, job, source=a, here=here, turned=False)
    _times(zero, job, left=a, start=0, out=second, here=here)
    largest = _largest_column(zero, job, matrix=second, sums=here.first)
    count = _halvings(zero, job, size=largest / load(zero, job.largest))
    store_int(count, job.halvings + p * 8)
    if count > 0:
        power = _power_of_two(zero, count)
        store(zero, power, here.numbers + _POWER * size)
        _multiply(zero, job, factor=here.numbers + _POWER * size, x=a, out=a)
        store(zero, power * power, here.numbers + _POWER * size)
        _multiply(zero, job, factor=here.numbers + _POWER * size, x=second, out=second)
    _pack(zero, job, source=second, here=here, turned=False)
    _times(zero, job, left=second, start=0, out=fourth, here=here)
    _times(zero, job, left=fourth, start=0, out=sixth, here=here)
    _polynomial(zero, job, coefficients=job.odd, second=second, fourth=fourth, sixth=sixth, out=factor)
    _pack(zero, job, source=factor, here=here, turned=False)
    _times(zero, job, left=a, start=0, out=odd, here=here)
    _polynomial(zero, job, coefficients=job.even, second=second, fourth=fourth, sixth=sixth, out=matrix)
    _add(zero, job, factor=here.numbers + _MINUS * size, x=odd, y=matrix, out=matrix)
    eliminate(zero, job, p, here.inverse)
    _multiply(zero, job, factor=here.numbers, x=matrix, out=inverse)
    _pack(zero, job, source=odd, here=here, turned=False)
    _times(zero, job, left=inverse, start=0, out=value, here=here)
    _multiply(zero, job, factor=here.numbers + _TWO * size, x=value, out=value)
    _add_diagonal(zero, job, matrix=value, value=number(zero, 1.0))


@kernel
def exponential_back_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `ExponentialJob`: gradients of A from those of exp(A), up to a symmetric part."""
    mode = flush_subnormals()
    size, full = item_bytes(zero), padded(zero, job.N)
    here = exponential_scratch(scratch, size=size, width=full, job=job)
    _begin(zero, here)
    square = job.N * full * size
    for p in range(first, last):
        kept, count = job.kept + p * (KEPT + job.most) * square, load_int(job.halvings + p * 8)
        g, other = here.first, here.second
        copy_in(zero, target=g, source=job.given + p * job.N * job.N * size, rows=job.N, columns=job.N, stride=job.N)
        for done in range(count, 0, -1):
            before = kept + (4 + done) * square
            _turned_times(zero, job, left=before, right=g, out=other)
            _pack(zero, job, source=before, here=here, turned=True)
            _times(zero, job, left=g, start=other, out=other, here=here)
            g, other = other, g
        _pull(zero, job, g, kept, here)
        store(zero, _power_of_two(zero, count), here.numbers + _POWER * size)
        _multiply(zero, job, factor=here.numbers + _POWER * size, x=here.sixth, out=here.sixth)
        copy_out(zero, target=job.out + p * job.N * job.N * size, source=here.sixth, rows=job.N, columns=job.N)
    restore_mode(mode)


@inlined
def _pull(zero, job, g, kept, here):
    """Into `here.sixth` the gradient of A / 2^s from that of the approximant; see `Exponential.pullback`."""
    size = item_bytes(zero)
    a, second, fourth, factor, inverse, value = _kept_places(zero, job, kept)
    left, odd, even = here.third, here.fourth, here.fifth
    _turned_times(zero, job, left=inverse, right=g, out=left)
    _pack(zero, job, source=value, here=here, turned=True)
    _times(zero, job, left=left, start=0, out=odd, here=here)
    _add(zero, job, factor=here.numbers + _MINUS * size, x=odd, y=left, out=even)
    _add(zero, job, factor=here.numbers, x=left, y=odd, out=odd)
    # minus A times odd: kept with the other sign, and taken off below
    to_factor, to_second, to_fourth, to_sixth = here.third, here.first, here.second, here.sixth
    _pack(zero, job, source=odd, here=here, turned=False)
    _times(zero, job, left=a, start=0, out=to_factor, here=here)
    _multiply(zero, job, factor=here.numbers + _MINUS * size, x=to_factor, out=to_factor)
    _both(zero, job, which=1, even=even, factor=to_factor, out=to_second)
    _both(zero, job, which=2, even=even, factor=to_factor, out=to_fourth)
    _both(zero, job, which=3, even=even, factor=to_factor, out=to_sixth)
    _pack(zero, job, source=to_sixth, here=here, turned=False)
    _times(zero, job, left=fourth, start=to_second, out=to_second, here=here)
    _pack(zero, job, source=second, here=here, turned=False)
    _times(zero, job, left=to_sixth, start=to_fourth, out=to_fourth, here=here)
    # of the gradient of a symmetric matrix the symmetric part; twice that, as it has two factors
    _symmetric_sum(zero, job, x=to_fourth, out=to_factor)
    _times(zero, job, left=to_factor, start=to_second, out=to_second, here=here)
    _symmetric_sum(zero, job, x=to_second, out=to_factor)
    _multiply(zero, job, factor=here.numbers + _MINUS * size, x=to_factor, out=to_factor)
    _pack(zero, job, source=factor, here=here, turned=False)
    _times(zero, job, left=odd, start=0, out=here.sixth, here=here)
    _pack(zero, job, source=a, here=here, turned=False)
    _times(zero, job, left=to_factor, start=here.sixth, out=here.sixth, here=here)


@inlined
def _both(zero, job, which, even, factor, out):
    """out = even e + factor o: what a power of A gets by way of V and of U / A."""
    size = item_bytes(zero)
    _multiply(zero, job, factor=job.even + which * size, x=even, out=out)
    _add(zero, job, factor=job.odd + which * size, x=factor, y=out, out=out)
