"""Leading eigenvalues by repeated squaring, row after row: the steps of `core.families.leading_powers`, in float64.

At N = 40 a matrix is 13 KB: all of a row's lie in the L1 and L2 caches.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from rnnsweep.core.recurrence.cpu.compiling import inlined, kernel, memory_map, part
from rnnsweep.core.recurrence.cpu.emit.subnormals import flush_subnormals, restore_mode
from rnnsweep.core.recurrence.cpu.emit.vectors import item_bytes, load, store
from rnnsweep.core.recurrence.cpu.kernels.matrices import copy, copy_in, fill, multiply, padded

_LEAST = 1e-300
"""Largest entry below which a matrix is not scaled: what it is divided by would leave the range."""


class LeadersJob(NamedTuple):
    """Arguments of `leaders_rows`: addresses and sizes.

    Attributes:
        N: of [N, N]. squarings: up to where ties are judged. most: all.
        given: matrices, [N, N] without gaps.
        limits: three numbers: d / t^2 below which the leader is real; the least square of |Im lambda| / rho of a pair;
            the share of M that may be left beside the leader at `squarings`.
        rho, simple: a number per row; simple: 1, or 0, and then nothing is promised of the others.
        slope: d rho / d matrix, [N, N] without gaps.
    """

    N: int
    squarings: int
    most: int
    given: int
    limits: int
    rho: int
    simple: int
    slope: int


class LeadersScratch(NamedTuple):
    """One thread's memory in `leaders_rows`; W = padded N.

    t        [N, W]    the matrix, scaled
    at_tie   [N, W]    its power where ties are judged
    s        [N, W]    the projector
    first, second [N, W]    powers by turns, then other products
    packed   [N, W]    the right operand of a product, in column panels
    zeros    [W]
    """

    t: int
    at_tie: int
    s: int
    first: int
    second: int
    packed: int
    zeros: int
    end: int


@memory_map
def leaders_scratch(start, size, width, job):
    """The map of `LeadersScratch` from `start` on; `end` - `start` is its size in bytes."""
    square = job.N * width * size
    zeros = start + 6 * square
    return LeadersScratch(
        t=start, at_tie=start + square, s=start + 2 * square, first=start + 3 * square, second=start + 4 * square,
        packed=start + 5 * square, zeros=zeros, end=zeros + width * size,
    )  # fmt: skip


@kernel
def leaders_rows(zero, job, first, last, thread, scratch):
    """Rows [first, last) of `LeadersJob`."""
    mode = flush_subnormals()
    size, full = item_bytes(zero), padded(zero, job.N)
    here = leaders_scratch(scratch, size=size, width=full, job=job)
    fill(zero, target=here.zeros, count=full)
    for p in range(first, last):
        given = job.given + p * job.N * job.N * size
        copy_in(zero, target=here.t, source=given, rows=job.N, columns=job.N, stride=job.N)
        power = _normalise(zero, job, here.t)
        m, other = here.first, here.second
        copy(zero, target=m, source=here.t, count=job.N * full)
        for squaring in range(1, job.most + 1):
            _times(zero, job, left=m, right=m, out=other, here=here)
            m, other = other, m
            # two squarings move the largest entry by far less than the type's range
            if squaring % 2 == 0 or squaring == job.squarings or squaring == job.most:
                _normalise(zero, job, m)
            if squaring == job.squarings:
                copy(zero, target=here.at_tie, source=m, count=job.N * full)
        _lead(zero, job, p, m, other, power, here)
    restore_mode(mode)


@inlined
def _times(zero, job, left, right, out, here):
    """out = left right."""
    multiply(
        zero, left=left, rows=job.N, right=right, inner=job.N, columns=job.N, packed=here.packed, zeros=here.zeros,
        out=out,
    )  # fmt: skip


@part
def _normalise(zero, job, matrix):
    """Divide a padded matrix by 2^e, so that its largest entry is in [1/2, 1); e. One that has vanished stays."""
    size, count = item_bytes(zero), job.N * padded(zero, job.N)
    largest = zero
    for i in range(count):
        largest = max(largest, abs(load(zero, matrix + i * size)))
    if not (largest > _LEAST and largest - largest == zero):
        return 0
    _, power = math.frexp(largest)
    # in two factors, as in `numerics.scale_by_power`
    half = power // 2
    one, two = math.ldexp(1.0, -half), math.ldexp(1.0, half - power)
    for i in range(count):
        store(zero, load(zero, matrix + i * size) * one * two, matrix + i * size)
    return power


@inlined
def _trace(zero, job, matrix):
    """Sum of the diagonal."""
    step, total = (padded(zero, job.N) + 1) * item_bytes(zero), zero
    for i in range(job.N):
        total += load(zero, matrix + i * step)
    return total


@inlined
def _inner(zero, job, left, right):
    """Sum over i, j of left_ji right_ij."""
    size, full, total = item_bytes(zero), padded(zero, job.N), zero
    for i in range(job.N):
        for j in range(job.N):
            total += load(zero, left + (j * full + i) * size) * load(zero, right + (i * full + j) * size)
    return total


@inlined
def _combine(zero, job, a, x, b, y, out):
    """out = a x + b y."""
    size = item_bytes(zero)
    for i in range(job.N * padded(zero, job.N)):
        store(zero, a * load(zero, x + i * size) + b * load(zero, y + i * size), out + i * size)


@part
def _lead(zero, job, p, m, other, power, here):
    """The leader, if it is one real eigenvalue or one pair, by M, a high power; see `leading_powers._simple`."""
    size = item_bytes(zero)
    trace = _trace(zero, job, m)
    _times(zero, job, left=m, right=m, out=other, here=here)
    d = (trace * trace - _trace(zero, job, other)) / 2
    real = abs(d) <= load(zero, job.limits) * trace * trace
    if real:
        _combine(zero, job, a=1 / trace, x=m, b=zero, y=m, out=here.s)
    else:
        _combine(zero, job, a=trace / d, x=m, b=-1 / d, y=other, out=here.s)
    _times(zero, job, left=here.t, right=here.s, out=other, here=here)
    twice = _trace(zero, job, other)  # of a pair: 2 Re lambda
    square = (twice * twice - _inner(zero, job, left=here.t, right=other)) / 2
    turns = square > 0 and square - twice * twice / 4 > load(zero, job.limits + size) * square
    rho = abs(twice) if real else math.sqrt(max(square, zero))
    # d rho = Re(conj(lambda) y^T dT x) / |lambda|, with S and T S in the place of the pair's vectors.
    of_s, of_moved = math.copysign(1.0, twice), zero
    if not real:
        of_s, of_moved = twice / (2 * rho), -1 / (2 * rho)
    _combine(zero, job, a=of_s, x=here.s, b=of_moved, y=other, out=m)
    _write_turned(zero, job, matrix=m, out=job.slope + p * job.N * job.N * size)
    _times(zero, job, left=here.s, right=here.at_tie, out=other, here=here)
    _combine(zero, job, a=1.0, x=here.at_tie, b=-1.0, y=other, out=m)
    # As much as would be left of an eigenvalue that is just not tied.
    alone = _size(zero, job, m) <= load(zero, job.limits + 2 * size) * _size(zero, job, here.at_tie)
    simple = (real or turns) and alone and rho > 0
    store(zero, math.ldexp(rho, power), job.rho + p * size)
    store(zero, 1.0 if simple else 0.0, job.simple + p * size)


@inlined
def _size(zero, job, matrix):
    """Frobenius norm, of entries near 1."""
    size, total = item_bytes(zero), zero
    for i in range(job.N * padded(zero, job.N)):
        total += load(zero, matrix + i * size) ** 2
    return math.sqrt(total)


@inlined
def _write_turned(zero, job, matrix, out):
    """The transpose, without padding."""
    size, full = item_bytes(zero), padded(zero, job.N)
    for i in range(job.N):
        for j in range(job.N):
            store(zero, load(zero, matrix + (j * full + i) * size), out + (i * job.N + j) * size)
