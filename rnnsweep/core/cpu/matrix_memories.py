"""What is elementwise around a matrix memory's products, each in one pass; see `recurrence.memory_chunks`.

Shapes: P rows · T steps · B mini-batch · N heads of D units · X = P B N sequences of heads · L lines of a chunk.

Numerics:
    Exponentials are the loops' own (`cpu.emit.formulas`). Sums of logarithms have what was lost of each addition put
    back in the next: of float32 they have all digits, as with sums in float64. An entry depends on its own line alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.cpu.numbers import at, exponential, number, zero_of
from rnnsweep.core.host_graph import address_of, launch
from rnnsweep.core.recurrence.cpu.compiling import kernel, part
from rnnsweep.core.recurrence.cpu.engine.dispatch import TensorAddresses


@part
def added(total, lost, x):
    """The total with x, and what this addition made too much of; `lost` is that of the one before."""
    y = x - lost
    more = total + y
    return more, (more - total) - y


@part
def divisor_of(seen, level, largest):
    """max(|n q|, e^-m), m counts up to +-`largest`; see `memory_records.divisor_of`."""
    # compared, as NaN is to pass
    level = largest if level > largest else -largest if level < -largest else level
    size, bound = abs(seen), exponential(-level)
    return size if size >= bound else bound


@part
def _add(total, lost, x, count):
    """x to each of the first totals; `lost` is what the last addition made too much of."""
    for s in range(count):
        total[s], lost[s] = added(total[s], lost[s], x)


@kernel
def pair_weights_kernel(zero, keep, write, apart, out, X, end, first):  # noqa: PLR0913
    """W [X, t, s] for t = first..end-1 from logarithms whose lines are `apart`."""
    keep, write, out = at(keep, zero), at(write, zero), at(out, zero)
    total, lost = np.full(end, zero), np.full(end, zero)
    for x in range(X):
        total[:] = zero
        lost[:] = zero
        logs = x * apart
        for t in range(end):
            _add(total, lost, keep[logs + t], t)
            if t < first:
                continue
            line = (x * (end - first) + t - first) * end
            for s in range(t + 1):
                out[line + s] = exponential(total[s] + (write[logs + s] - lost[s]))
            for s in range(t + 1, end):
                out[line + s] = zero


class LinesJob(NamedTuple):
    """Arguments of `lines_kernel`: sizes and addresses.

    Read are drives, `*_apart` from one row, step and sequence to the next; their steps are first..end-1. Written are
    q, k [X, L, K] and v [X, L, E], the steps their last lines.
    """

    P: int
    B: int
    N: int
    D: int
    K: int
    E: int
    L: int
    first: int
    end: int
    drives: int
    row_apart: int
    step_apart: int
    sample_apart: int
    q: int
    k: int
    v: int


@part
def _line(source, begin, target, line, width, D, factor, zero):  # noqa: PLR0913
    """D numbers times a factor, and zeros up to the width."""
    for d in range(D):
        target[line * width + d] = source[begin + d] * factor
    for d in range(D, width):
        target[line * width + d] = zero


@part
def _clear(target, begin, count, zero):
    for i in range(begin, begin + count):
        target[i] = zero


@kernel
def lines_kernel(zero, job, scale):
    """Steps of each head of each sequence as lines: queries, keys times `scale`, values with a 1 behind them."""
    B, N, D, K, E, one = job.B, job.N, job.D, job.K, job.E, number(1, zero)
    drives, q, k, v = at(job.drives, zero), at(job.q, zero), at(job.k, zero), at(job.v, zero)
    idle = job.L - (job.end - job.first)
    for x in range(job.P * B * N):
        _clear(q, x * job.L * K, idle * K, zero)
        _clear(k, x * job.L * K, idle * K, zero)
        _clear(v, x * job.L * E, idle * E, zero)
    steps = job.end - job.first
    # in the order of the drives, which are more than a cache holds
    for place in range(job.P * steps * B):
        p, t, b = place // (steps * B), place // B % steps, place % B
        for n in range(N):
            line = ((p * B + b) * N + n) * job.L + idle + t
            begin = p * job.row_apart + (job.first + t) * job.step_apart + b * job.sample_apart + n * D
            _line(drives, begin, q, line, K, D, one, zero)
            _line(drives, begin + N * D, k, line, K, D, scale, zero)
            _line(drives, begin + 2 * N * D, v, line, E, D, one, zero)
            v[line * E + D] = one


def pair_weights(keep: Float[Tensor, "X end"], write: Float[Tensor, "X end"], first: int) -> Float[Tensor, "X t end"]:
    """See `memory_chunks.pair_weights`."""
    X, end = keep.shape
    out = keep.new_empty(X, end - first, end)
    at_ = TensorAddresses(keep.dtype)
    if keep.stride() != write.stride() or keep.stride(1) != 1:
        keep, write = keep.contiguous(), write.contiguous()
    launch(
        pair_weights_kernel, zero_of(keep.dtype), address_of(keep), address_of(write), keep.stride(0),
        at_.view("weights", out, (X, end - first, end)), X, end, first,
    )  # fmt: skip
    return out


def lines(
    drives: Float[Tensor, "P T B _"], sizes: tuple[int, int, int], widths: tuple[int, int], first: int, end: int
) -> tuple[Float[Tensor, "X L K"], Float[Tensor, "X L K"], Float[Tensor, "X L E"]]:
    """Queries, keys divided by sqrt(D), and values with a 1 behind them, of the steps first..end-1.

    Args:
        drives: of all steps, those of queries, keys and values first.
        sizes: N, D, and L. widths: K of queries and keys, E of values.
    """
    (P, _, B, _), (N, D, L), (K, E) = drives.shape, sizes, widths
    X, at_, new = P * B * N, TensorAddresses(drives.dtype), drives.new_empty
    q, k, v, zero = new(X, L, K), new(X, L, K), new(X, L, E), zero_of(drives.dtype)
    address, apart = steps_of(at_, drives)
    job = LinesJob(
        P, B, N, D, K, E, L, first, end, address, *apart,
        at_.view("q", q, (X, L, K)), at_.view("k", k, (X, L, K)), at_.view("v", v, (X, L, E)),
    )  # fmt: skip
    launch(lines_kernel, zero, job, type(zero)(D**-0.5))
    return q, k, v


def steps_of(at_: TensorAddresses, drives: Float[Tensor, "P T B _"]) -> tuple[int, tuple[int, int, int]]:
    """Address of drives [P, T, B, _] as they lie, and entries from one row, step and sequence to the next."""
    drives = drives if drives.stride(3) == 1 else drives.contiguous()
    row, step, sample, _ = drives.stride()
    return at_.view("drives", drives, tuple(drives.shape)), (row, step, sample)
