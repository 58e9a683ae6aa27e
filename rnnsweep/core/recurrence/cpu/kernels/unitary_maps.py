"""The scaled Cayley map to unitary matrices and its pull-back, row after row: the steps of `core.families.unitary_map`.

A complex matrix X is [Re X, Im X], [H, 2H]; its real form [[Re X, Im X], [-Im X, Re X]], [2H, 2H], is what another one
is multiplied with from the right.
"""

from __future__ import annotations

from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map, part
from rnnsweep.core.recurrence.cpu.emit.pivots import SIDE
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.vectors import item_bytes, load, number, store
from rnnsweep.core.recurrence.cpu.kernels.inverses import eliminate, inverse_scratch
from rnnsweep.core.recurrence.cpu.kernels.matrices import copy, fill, multiply, padded


class UnitaryJob(NamedTuple):
    """Arguments of `unitary_rows`: addresses and sizes.

    Attributes:
        H, N: complex units, and 2 H.
        skew, symmetric: [H, H] of which the strict upper triangle and the upper one count; skew_row, symmetric_row:
            entries from one row's to the next one's.
        cos, sin: of theta [H]. out: the real form of W, [N, N] without gaps. growth: see `inverses`.
    """

    H: int
    N: int
    skew: int
    skew_row: int
    symmetric: int
    symmetric_row: int
    cos: int
    sin: int
    out: int
    growth: int


@kernel
def unitary_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `UnitaryJob`: W = (2 K - I) D, K = (I + A)^-1. Its scratch is an inverse's."""
    mode = flush_subnormals()
    size = item_bytes(zero)
    here = inverse_scratch(scratch, size=size, width=padded(zero, job.N), job=job)
    fill(zero, target=here.zeros, count=SIDE)
    for p in range(first, last):
        skew, symmetric = job.skew + p * job.skew_row * size, job.symmetric + p * job.symmetric_row * size
        _skew_hermitian(zero, job, skew, symmetric, matrix=here.matrix)
        eliminate(zero, job, p, here)
        _write(zero, job, p, here.matrix)
    restore_mode(mode)


@part
def _skew_hermitian(zero, job, skew, symmetric, matrix):
    """The real form of I + A into the padded matrix; by strips of columns, as entries are written across too."""
    size, H, full = item_bytes(zero), job.H, padded(zero, job.N)
    fill(zero, target=matrix, count=job.N * full)
    for begin in range(0, H, SIDE):
        for i in range(H):
            for j in range(max(begin, i), min(begin + SIDE, H)):
                s, y = load(zero, skew + (i * H + j) * size), load(zero, symmetric + (i * H + j) * size)
                if i == j:
                    s = number(zero, 1.0)
                else:
                    _put(zero, job, matrix, i=j, j=i, re=zero - s, im=y)
                _put(zero, job, matrix, i, j, re=s, im=y)


@inlined
def _put(zero, job, matrix, i, j, re, im):
    """Entry (i, j) of a complex matrix into its padded real form."""
    size, H, full = item_bytes(zero), job.H, padded(zero, job.N)
    top, bottom = matrix + (i * full + j) * size, matrix + ((H + i) * full + j) * size
    store(zero, re, top)
    store(zero, im, top + H * size)
    store(zero, zero - im, bottom)
    store(zero, re, bottom + H * size)


@part
def _write(zero, job, p, matrix):
    """(2 K - I) D of the real form of K."""
    size, N, H, full = item_bytes(zero), job.N, job.H, padded(zero, job.N)
    two = number(zero, 2.0)
    for i in range(H):
        row, top, bottom = matrix + i * full * size, (p * N + i) * N * size, (p * N + H + i) * N * size
        for j in range(H):
            re, im = load(zero, row + j * size) * two, load(zero, row + (H + j) * size) * two
            if i == j:
                re -= number(zero, 1.0)
            at = (p * H + j) * size
            cos, sin = load(zero, job.cos + at), load(zero, job.sin + at)
            real, imaginary = re * cos - im * sin, re * sin + im * cos
            store(zero, real, job.out + top + j * size)
            store(zero, imaginary, job.out + top + (H + j) * size)
            store(zero, zero - imaginary, job.out + bottom + j * size)
            store(zero, real, job.out + bottom + (H + j) * size)


class UnitaryBackJob(NamedTuple):
    """Arguments of `unitary_back_rows`: addresses and sizes.

    Attributes:
        H, N: complex units, and 2 H.
        w, gradient: the real form of W, and the gradient of all its entries, [N, N] without gaps. cos, sin: [H].
        skew, symmetric, theta: gradients of what is stored, [H, H] without gaps, and [H].
    """

    H: int
    N: int
    w: int
    gradient: int
    cos: int
    sin: int
    skew: int
    symmetric: int
    theta: int


class UnitaryBackScratch(NamedTuple):
    """One thread's memory in `unitary_back_rows`; W = padded N.

    k         [N, W]    K^H, real form
    packed    [N, W]    the right operand of a product, in column panels
    given     [H, W]    G D^H
    between   [N, W]    that times K^H, real form
    a         [H, W]    K^H times that
    zeros     [W]
    """

    k: int
    packed: int
    given: int
    between: int
    a: int
    zeros: int
    end: int


@memory_map
def unitary_back_scratch(start, size, width, job):
    """The map of `UnitaryBackScratch` from `start` on; `end` - `start` is its size in bytes."""
    half = job.H * width * size
    packed = start + 2 * half
    given = packed + 2 * half
    between = given + half
    a = between + 2 * half
    zeros = a + half
    return UnitaryBackScratch(
        k=start, packed=packed, given=given, between=between, a=a, zeros=zeros, end=zeros + width * size
    )


@kernel
def unitary_back_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `UnitaryBackJob`: dC/dA = -2 K^H G D^H K^H, and dC/dtheta."""
    mode = flush_subnormals()
    size = item_bytes(zero)
    here = unitary_back_scratch(scratch, size=size, width=padded(zero, job.N), job=job)
    fill(zero, target=here.zeros, count=padded(zero, job.N))
    for p in range(first, last):
        square = p * job.N * job.N * size
        _adjoint_resolvent(zero, job, p, w=job.w + square, k=here.k)
        _turned_back(zero, job, p, gradient=job.gradient + square, given=here.given)
        _times(zero, job, left=here.given, right=here.k, out=here.between, here=here)
        for i in range(job.H):
            _lower_half(zero, job, here.between, i)
        _times(zero, job, left=here.k, right=here.between, out=here.a, here=here)
        _write_back(zero, job, p, here.a)
    restore_mode(mode)


@part
def _adjoint_resolvent(zero, job, p, w, k):
    """The real form of K^H, K = (W D^H + I) / 2, padded; by strips, as it is written across."""
    size, N, H, full = item_bytes(zero), job.N, job.H, padded(zero, job.N)
    half = number(zero, 0.5)
    fill(zero, target=k, count=N * full)
    for begin in range(0, H, SIDE):
        for j in range(H):
            for i in range(begin, min(begin + SIDE, H)):
                re, im = load(zero, w + (j * N + i) * size), load(zero, w + (j * N + H + i) * size)
                cos, sin = load(zero, job.cos + (p * H + i) * size), load(zero, job.sin + (p * H + i) * size)
                back = re * cos + im * sin
                if i == j:
                    back += number(zero, 1.0)
                _put(zero, job, k, i, j, re=back * half, im=(re * sin - im * cos) * half)


@part
def _turned_back(zero, job, p, gradient, given):
    """G D^H, padded, and dC/dtheta_j = sum_i Re(conj(G_ij) i W_ij)."""
    size, N, H, full = item_bytes(zero), job.N, job.H, padded(zero, job.N)
    theta = job.theta + p * H * size
    fill(zero, target=theta, count=H)
    for i in range(H):
        top, bottom, w = gradient + i * N * size, gradient + (H + i) * N * size, job.w + (p * N + i) * N * size
        to = given + i * full * size
        for j in range(H):
            at, across = j * size, (H + j) * size
            re = load(zero, top + at) + load(zero, bottom + across)
            im = load(zero, top + across) - load(zero, bottom + at)
            own = im * load(zero, w + at) - re * load(zero, w + across)
            store(zero, load(zero, theta + at) + own, theta + at)
            cos, sin = load(zero, job.cos + (p * H + j) * size), load(zero, job.sin + (p * H + j) * size)
            store(zero, re * cos + im * sin, to + at)
            store(zero, im * cos - re * sin, to + across)
        fill(zero, target=to + N * size, count=full - N)


@inlined
def _times(zero, job, left, right, out, here):
    """out = left times right: [H, W] times a real form."""
    multiply(
        zero, left=left, rows=job.H, right=right, inner=job.N, columns=job.N, packed=here.packed, zeros=here.zeros,
        out=out,
    )  # fmt: skip


@inlined
def _lower_half(zero, job, matrix, i):
    """[-Im, Re] of row i of a padded [Re, Im], H rows below it."""
    size, H, full = item_bytes(zero), job.H, padded(zero, job.N)
    row, to = matrix + i * full * size, matrix + (H + i) * full * size
    for j in range(H):
        store(zero, zero - load(zero, row + (H + j) * size), to + j * size)
    copy(zero, target=to + H * size, source=row, count=H)
    fill(zero, target=to + job.N * size, count=full - job.N)


@part
def _write_back(zero, job, p, a):
    """Gradients of what is stored from dC/dA = -2 a, of which an entry off the diagonal stands in A twice."""
    size, H, full = item_bytes(zero), job.H, padded(zero, job.N)
    two, minus = number(zero, 2.0), number(zero, -2.0)
    for i in range(H):
        to = (p * H + i) * H * size
        fill(zero, target=job.skew + to, count=i + 1)
        fill(zero, target=job.symmetric + to, count=i)
        store(zero, load(zero, a + (i * full + H + i) * size) * minus, job.symmetric + to + i * size)
    for begin in range(0, H, SIDE):
        for j in range(begin + 1, H):
            for i in range(begin, min(begin + SIDE, j)):
                own, across, to = a + (i * full + j) * size, a + (j * full + i) * size, ((p * H + i) * H + j) * size
                store(zero, (load(zero, across) - load(zero, own)) * two, job.skew + to)
                im = load(zero, own + H * size) + load(zero, across + H * size)
                store(zero, im * minus, job.symmetric + to)
