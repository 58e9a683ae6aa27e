"""What is elementwise around a matrix memory's products, each in one pass; see `recurrence.memory_chunks`.

Shapes: P rows · T steps · B mini-batch · N heads of D units · X = P B N sequences of heads · L lines of a chunk.

Numerics:
    Exponentials are the loops' own (`cpu.emit.formulas`). Sums of logarithms have what was lost of each addition put
    back in the next: of float32 they have all digits, as with sums in float64. An entry depends on its own line alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnsweep.core.cpu.lines import add_scaled, dot, gated_quotient
from rnnsweep.core.cpu.numbers import at, exponential, log1p, number, zero_of
from rnnsweep.core.recurrence.cpu.compiling import kernel, part
from rnnsweep.core.recurrence.cpu.engine.dispatch import TensorAddresses
from rnnsweep.core.recurrence.memory_records import Shown


@part
def _add(total, lost, x, count):
    """x to each of the first totals; `lost` is what the last addition made too much of."""
    for s in range(count):
        y = x - lost[s]
        more = total[s] + y
        lost[s] = (more - total[s]) - y
        total[s] = more


@kernel
def pair_weights_kernel(zero, keep, write, apart, out, X, end, first, times):  # noqa: PLR0913
    """W [X, t, s] for t = first..end-1 from logarithms whose lines are `apart`; where `times`, out is multiplied."""
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
            if times:
                for s in range(t + 1):
                    out[line + s] *= exponential(total[s] + (write[logs + s] - lost[s]))
            else:
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


class ShowJob(NamedTuple):
    """Arguments of `show_kernel`: as `LinesJob`, of all T steps.

    Read are z [X, L, E], the gates' drives, m [P, T, B, N]; written are y [P, T, B, N D], inside [P, T, B, N] and
    h [P, T + 1, B, N D], of which the first is left alone.
    """

    P: int
    T: int
    B: int
    N: int
    D: int
    E: int
    L: int
    first: int
    end: int
    drives: int
    row_apart: int
    step_apart: int
    sample_apart: int
    z: int
    m: int
    y: int
    inside: int
    h: int


@kernel
def show_kernel(zero, job, largest):
    """y = C q / max(|n q|, e^-m), and h = sigmoid(o) y; m counts up to +-`largest`."""
    P, T, B, N, D, E = job.P, job.T, job.B, job.N, job.D, job.E
    z, m, inside = at(job.z, zero), at(job.m, zero), at(job.inside, zero)
    idle = job.L - (job.end - job.first)
    # in the order of what is written
    for step in range(P * (job.end - job.first) * B):
        p, t, b = step // ((job.end - job.first) * B), job.first + step // B % (job.end - job.first), step % B
        for n in range(N):
            line, place = (((p * B + b) * N + n) * job.L + idle + t - job.first) * E, (p * T + t) * B + b
            begin = p * job.row_apart + t * job.step_apart + b * job.sample_apart + n * D
            seen, level = z[line + D], m[place * N + n]
            # compared, as NaN is to pass
            level = largest if level > largest else -largest if level < -largest else level
            bound = exponential(-level)
            divisor = abs(seen) if abs(seen) >= bound else bound
            inside[place * N + n] = seen
            into, shown = (place * N + n) * D, ((p * (T + 1) + t + 1) * B + b) * N * D + n * D
            gated_quotient((job.z, line), (job.drives, begin), (job.y, into), (job.h, shown), D, divisor)


class GatesJob(NamedTuple):
    """Arguments of `gates_kernel`.

    Read are drives of i and f, `*_apart` from one row, step and sequence to the next, m before the first step
    [P, B, N], and which steps are active [P, T, B], int8; written are keep, write and m [P, T, B, N].
    """

    P: int
    T: int
    B: int
    N: int
    sigmoid: int
    drives: int
    row_apart: int
    step_apart: int
    sample_apart: int
    start: int
    active: int
    keep: int
    write: int
    m: int


@part
def _larger(x, y):
    """As torch's maximum: NaN if either is."""
    return x if x > y or x != x else y


@kernel
def gates_kernel(zero, job, nothing):
    """Logarithms of f' and i', and the stabiliser m = max(log f + m, i): see `memory_records.Gates`."""
    P, T, B, N = job.P, job.T, job.B, job.N
    drives, start, active = at(job.drives, zero), at(job.start, zero), at(job.active, np.int8(0))
    keep, write, stabiliser = at(job.keep, zero), at(job.write, zero), at(job.m, zero)
    for x in range(P * B * N):
        p, b, n = x // (B * N), x // N % B, x % N
        m = start[x]
        for t in range(T):
            place = (p * T + t) * B + b
            here = place * N + n
            if active[place]:
                begin = p * job.row_apart + t * job.step_apart + b * job.sample_apart + n
                i, f = drives[begin], drives[begin + N]
                kept = f
                if job.sigmoid:
                    kept = -(_larger(-f, zero) + log1p(exponential(-abs(f))))
                more = _larger(kept + m, i)
                keep[here], write[here] = _larger(kept + m - more, nothing), _larger(i - more, nothing)
                m = more
            else:
                keep[here], write[here] = zero, nothing
            stabiliser[here] = m


class AnswersJob(NamedTuple):
    """Arguments of `answers_kernel`: as `LinesJob`, of all steps.

    Read are drives, query and y [P, B, N, D], inside [P, B, N], weights [P, T, B, N]; written are products and shares
    [P, T, B, N], and the gradients of the query [P, B, N, D].
    """

    P: int
    T: int
    B: int
    N: int
    D: int
    drives: int
    row_apart: int
    step_apart: int
    sample_apart: int
    query: int
    y: int
    inside: int
    weights: int
    products: int
    shares: int
    to_query: int


@kernel
def answers_kernel(zero, job):
    """Products k q of a query with all keys, shares (v y + inside) times their weights, and the query's gradient."""
    P, T, B, N, D = job.P, job.T, job.B, job.N, job.D
    inside, weights, to_query = at(job.inside, zero), at(job.weights, zero), at(job.to_query, zero)
    products, shares = at(job.products, zero), at(job.shares, zero)
    for x in range(P * B * N):
        p, b, n = x // (B * N), x // N % B, x % N
        _clear(to_query, x * D, D, zero)
        for t in range(T):
            begin = p * job.row_apart + t * job.step_apart + b * job.sample_apart + n * D
            k, v, here = begin + N * D, begin + 2 * N * D, ((p * T + t) * B + b) * N + n
            share = (dot(job.drives, v, job.y, x * D, D, zero) + inside[x]) * weights[here]
            products[here], shares[here] = dot(job.drives, k, job.query, x * D, D, zero), share
            add_scaled(job.to_query, x * D, job.drives, k, D, share)


def pair_weights(
    keep: Float[Tensor, "X end"], write: Float[Tensor, "X end"], first: int, times: Float[Tensor, "X t end"] | None
) -> Float[Tensor, "X t end"]:
    """See `memory_chunks.pair_weights`."""
    X, end = keep.shape
    out = keep.new_empty(X, end - first, end) if times is None else times
    at_ = TensorAddresses(keep.dtype)
    if keep.stride() != write.stride() or keep.stride(1) != 1:
        keep, write = keep.contiguous(), write.contiguous()
    pair_weights_kernel(
        zero_of(keep.dtype), keep.data_ptr(), write.data_ptr(), keep.stride(0),
        at_.view("weights", out, (X, end - first, end)), X, end, first, times is not None,
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
    address, apart = _steps(at_, drives)
    job = LinesJob(
        P, B, N, D, K, E, L, first, end, address, *apart,
        at_.view("q", q, (X, L, K)), at_.view("k", k, (X, L, K)), at_.view("v", v, (X, L, E)),
    )  # fmt: skip
    lines_kernel(zero, job, type(zero)(D**-0.5))
    return q, k, v


def show(
    z: Float[Tensor, "X L E"],
    gates: Float[Tensor, "P T B H"],
    m: Float[Tensor, "P T B N"],
    steps: tuple[int, int],
    into: Shown,
    largest: float,
) -> None:
    """What the steps first..end-1 show of what was read.

    Args:
        z: C q and n q, the steps its last lines.
        gates: drives of the output gates. m: the stabilisers.
        steps: first and end.
        into: what is written.
        largest: of |m| as an exponent.
    """
    (P, T, B, N, D), at_, zero = into.y.shape, TensorAddresses(z.dtype), zero_of(z.dtype)
    address, apart = _steps(at_, gates)
    job = ShowJob(
        P, T, B, N, D, z.shape[2], z.shape[1], *steps, address, *apart, at_.read("z", z, tuple(z.shape)),
        at_.read("m", m, (P, T, B, N)), at_.view("y", into.y, (P, T, B, N, D)),
        at_.view("inside", into.inside, (P, T, B, N)), at_.view("h", into.h, (P, T + 1, B, N * D)),
    )  # fmt: skip
    show_kernel(zero, job, type(zero)(largest))


def _steps(at_: TensorAddresses, drives: Tensor) -> tuple[int, tuple[int, int, int]]:
    """Address of drives [P, T, B, _] as they lie, and entries from one row, step and sequence to the next."""
    drives = drives if drives.stride(3) == 1 else drives.contiguous()
    row, step, sample, _ = drives.stride()
    return at_.view("drives", drives, tuple(drives.shape)), (row, step, sample)


def gates(
    drives: Float[Tensor, "P T B N2"],
    start: Float[Tensor, "P B N"],
    active: Bool[Tensor, "P T _ 1"],
    sigmoid: bool,
    nothing: float,
) -> tuple[Float[Tensor, "P T B N"], Float[Tensor, "P T B N"], Float[Tensor, "P T B N"]]:
    """keep, write and m of all steps, see `memory_records.Gates`.

    Args:
        drives: of i and f. start: m before the first step.
        active: steps of a sequence; sequences of a row may share them.
        sigmoid: whether f is one, else an exponential. nothing: logarithm of what weighs nothing.
    """
    (P, T, B, _), N = drives.shape, start.shape[2]
    at_, zero, sizes = TensorAddresses(drives.dtype), zero_of(drives.dtype), (P, T, B, N)
    address, apart = _steps(at_, drives)
    keep, write, m = (drives.new_empty(sizes) for _ in range(3))
    steps = active[..., 0].expand(P, T, B).to(torch.int8)
    job = GatesJob(
        *sizes, int(sigmoid), address, *apart, at_.read("start", start, (P, B, N)),
        at_.read("active", steps, (P, T, B), torch.int8),
        at_.view("keep", keep, sizes), at_.view("write", write, sizes), at_.view("m", m, sizes),
    )  # fmt: skip
    gates_kernel(zero, job, type(zero)(nothing))
    return keep, write, m


def answers(
    drives: Float[Tensor, "P T B _"],
    query: Float[Tensor, "P B N D"],
    y: Float[Tensor, "P B N D"],
    inside: Float[Tensor, "P B N"],
    weights: Float[Tensor, "P T B N"],
) -> tuple[Float[Tensor, "P T B N"], Float[Tensor, "P T B N"], Float[Tensor, "P B N D"]]:
    """What all that was written answers to one query, and the query's gradient.

    Args:
        drives: those of queries, keys and values first. query: divided by sqrt(D).
        y, inside: gradients of what the query reads of values, and of the 1 behind them.
        weights: of what was written.

    Returns:
        Products k q; (v y + inside) weights; the sum over steps of k times that.
    """
    (P, T, B, N), D = weights.shape, query.shape[3]
    at_, wide, narrow = TensorAddresses(drives.dtype), (P, B, N, D), (P, T, B, N)
    address, apart = _steps(at_, drives)
    products, shares, to_query = drives.new_empty(narrow), drives.new_empty(narrow), drives.new_empty(wide)
    job = AnswersJob(
        *narrow, D, address, *apart, at_.read("query", query, wide), at_.read("y", y, wide),
        at_.read("inside", inside, (P, B, N)), at_.read("weights", weights, narrow),
        at_.view("products", products, narrow), at_.view("shares", shares, narrow),
        at_.view("to_query", to_query, wide),
    )  # fmt: skip
    answers_kernel(zero_of(drives.dtype), job)
    return products, shares, to_query
