"""An error at the last step alone, of a matrix memory, in two passes; see `recurrence.last_query`.

Shapes: P rows · T steps · B mini-batch · N heads of D units · X = P B N sequences of heads.

Numerics:
    Sums over steps and units are of one order. No bit of a sequence depends on others.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.cpu.lines import add_scaled, dot
from rnnsweep.core.cpu.matrix_memories import divisor_of, steps_of
from rnnsweep.core.cpu.numbers import at, exponential, number, zero_of
from rnnsweep.core.host_graph import launch
from rnnsweep.core.recurrence.cpu.compiling import kernel, part
from rnnsweep.core.recurrence.cpu.emit.vectors import Ahead, fetch_ahead, item_bytes, load_int
from rnnsweep.core.recurrence.cpu.engine.dispatch import TensorAddresses
from rnnsweep.core.recurrence.cpu.host import VECTOR_BYTES
from rnnsweep.core.recurrence.last_query import ToLast
from rnnsweep.core.recurrence.memory_records import LastQuery

AVAILABLE = VECTOR_BYTES > 0
"""Whether this machine has vectors with fused multiply-add."""
AHEAD = 8
"""Steps that keys and values are fetched ahead: each step's lie far from the next one's."""


class QueryJob(NamedTuple):
    """Arguments of `last_query_kernel`: sizes, addresses (0 = absent).

    Read are drives, `*_apart` from one row, step and sequence to the next, errors [P, B, N D], what is read and n q of
    the last step [P, B, N D] and [P, B, N], m of the last step [P, B, N], what `memory_records.LastQuery` has, and the
    memory that sequences begin with [X, K, E]. Written is what `last_query.ToLast` has.
    """

    P: int
    T: int
    B: int
    N: int
    D: int
    K: int
    E: int
    largest: int
    drives: int
    row_apart: int
    step_apart: int
    sample_apart: int
    errors: int
    read: int
    seen: int
    m: int
    weights: int
    shares: int
    faded: int
    memory: int
    query: int
    to_query: int
    to_read: int
    to_gate: int
    of_keys: int
    of_values: int
    to_write: int
    to_keep: int


@kernel
def last_query_kernel(zero, job, scale):
    """`scale`: of keys, as the query has it."""
    T, B, N, D = job.T, job.B, job.N, job.D
    to_keep = at(job.to_keep, zero)
    for x in range(job.P * B * N):
        p, b, n = x // (B * N), x // N % B, x % N
        begin = p * job.row_apart + b * job.sample_apart + n * D
        inside = _to_read(zero, job, x, begin + (T - 1) * job.step_apart, scale)
        for t in range(T - 1, -1, -1):
            _answer(zero, job, x, t, ((p * T + t) * B + b) * N + n, begin + t * job.step_apart, inside)
        of_memory = zero
        if job.memory != 0:
            of_memory = _answer_of_memory(zero, job, x, at(job.faded, zero)[x], inside)
        before = zero
        to_query, to_write = at(job.to_query, zero), at(job.to_write, zero)
        for d in range(x * D, x * D + D):
            to_query[d] *= scale
        for t in range(T):
            here = ((p * T + t) * B + b) * N + n
            to_keep[here] = before + of_memory
            before += to_write[here]


@part
def _to_read(zero, job, x, last, scale):
    """Gradients of what the last step reads and of its output gate; returns that of n q, and begins that of q."""
    N, D, one = job.N, job.D, number(1, zero)
    drives, errors, read = at(job.drives, zero), at(job.errors, zero), at(job.read, zero)
    query, to_query = at(job.query, zero), at(job.to_query, zero)
    to_read, to_gate, seen = at(job.to_read, zero), at(job.to_gate, zero), at(job.seen, zero)[x]
    divisor, total = divisor_of(seen, at(job.m, zero)[x], number(job.largest, zero)), zero
    for d in range(D):
        g, y, i = errors[x * D + d], read[x * D + d], x * D + d
        o = one / (exponential(-drives[last + 3 * N * D + d]) + one)
        to_gate[i] = g * o * y * (one - o)
        to_read[i] = g * o / divisor
        total += to_read[i] * y
        query[i], to_query[i] = drives[last + d] * scale, zero
    # |n q| is the divisor where it is the larger one, else e^-m
    if abs(seen) != divisor or seen == 0:
        return zero
    return -total if seen > 0 else total


@part
def _answer(zero, job, x, t, here, step, inside):  # noqa: PLR0913
    """What step t has of the query: shares of its key, its value and its gate."""
    N, D, place = job.N, job.D, x * job.T + t
    k, v = step + N * D, step + 2 * N * D
    for line in (k, v):
        ahead = job.drives + (line - AHEAD * job.step_apart) * item_bytes(zero)
        fetch_ahead(zero, Ahead(address=ahead, count=D, write=0))
    error = dot(job.drives, v, job.to_read, x * D, D, zero) + inside
    weight, share = at(job.weights, zero)[place], at(job.shares, zero)[place]
    at(job.of_keys, zero)[here], at(job.of_values, zero)[here] = error * weight, share
    at(job.to_write, zero)[here] = error * share
    add_scaled(job.to_query, x * D, job.drives, k, D, error * weight)


@part
def _answer_of_memory(zero, job, x, weight, inside):
    """What the memory before the first step has of the query; returns the gradient of each keep."""
    D, K, E, memory, to_query = job.D, job.K, job.E, at(job.memory, zero), at(job.to_query, zero)
    query, total = at(job.query, zero), zero
    for d in range(D):
        line = (x * K + d) * E
        share = (dot(job.memory, line, job.to_read, x * D, D, zero) + memory[line + D] * inside) * weight
        # keys are divided by sqrt(D), as this query is, and a memory is not
        share *= number(np.sqrt(D), zero)
        to_query[x * D + d] += share
        total += query[x * D + d] * share
    return total


class PathJob(NamedTuple):
    """Arguments of `path_kernel`: as `QueryJob`, of which it reads what was written, with `of_keys` and what follows.

    Read are inputs [P, T, B, I] as well, and lengths: of rows, or `each` sequence's where those of a row differ;
    written is the path [P, 1 + I, W], whose first line is the bias's.
    """

    P: int
    T: int
    B: int
    N: int
    D: int
    I: int  # noqa: E741 - inputs
    W: int
    sigmoid: int
    inputs: int
    lengths: int
    each: int
    drives: int
    row_apart: int
    step_apart: int
    sample_apart: int
    query: int
    to_query: int
    to_read: int
    to_gate: int
    of_keys: int
    of_values: int
    to_write: int
    to_keep: int
    path: int


@kernel
def path_kernel(zero, job):
    """Gradients of [bias, w_in]: a sequence's inputs are added up with its shares, and meet query and errors once."""
    B, N, D, I, one = job.B, job.N, job.D, job.I, number(1, zero)  # noqa: E741
    sums, path = np.full(4 * (1 + I), zero), at(job.path, zero)
    inputs = at(job.inputs, zero)
    for i in range(job.P * (1 + I) * job.W):
        path[i] = zero
    for x in range(job.P * B * N):
        p, b, n = x // (B * N), x // N % B, x % N
        own = load_int(job.lengths + p * 8) if job.each == 0 else load_int(job.each + (p * B + b) * 8)
        _add_up(zero, job, x, job.T - own, sums)
        for i in range(1 + I):
            line, last = (p * (1 + I) + i) * job.W, one
            if i > 0:
                last = inputs[((p * job.T + job.T - 1) * B + b) * I + i - 1]
            at_head = line + n * D
            add_scaled(job.path, at_head, job.to_query, x * D, D, last)
            add_scaled(job.path, at_head + N * D, job.query, x * D, D, sums[4 * i])
            add_scaled(job.path, at_head + 2 * N * D, job.to_read, x * D, D, sums[4 * i + 1])
            add_scaled(job.path, at_head + 3 * N * D, job.to_gate, x * D, D, last)
            path[line + 4 * N * D + n] += sums[4 * i + 2]
            path[line + 4 * N * D + N + n] += sums[4 * i + 3]


@part
def _add_up(zero, job, x, first, sums):
    """[1, inputs] times shares of keys and values and gradients of i and f, over a sequence's own steps."""
    T, B, N, I, one = job.T, job.B, job.N, job.I, number(1, zero)  # noqa: E741
    p, b, n = x // (B * N), x // N % B, x % N
    inputs, drives, to_keep = at(job.inputs, zero), at(job.drives, zero), at(job.to_keep, zero)
    of_keys, of_values, to_write = at(job.of_keys, zero), at(job.of_values, zero), at(job.to_write, zero)
    sums[:] = zero
    for t in range(first, T):
        here = ((p * T + t) * B + b) * N + n
        to_forget = to_keep[here]
        if job.sigmoid:
            f = drives[p * job.row_apart + t * job.step_apart + b * job.sample_apart + 4 * N * job.D + N + n]
            to_forget *= one / (exponential(f) + one)
        for i in range(1 + I):
            fed = one
            if i > 0:
                fed = inputs[((p * T + t) * B + b) * I + i - 1]
            sums[4 * i] += fed * of_keys[here]
            sums[4 * i + 1] += fed * of_values[here]
            sums[4 * i + 2] += fed * to_write[here]
            sums[4 * i + 3] += fed * to_forget


def answers(
    drives: Float[Tensor, "P T B _"],
    errors: Float[Tensor, "P B H"],
    read: tuple[Float[Tensor, "P B H"], Float[Tensor, "P B N"], Float[Tensor, "P B N"]],
    query: LastQuery,
    memory: Float[Tensor, "X K E"] | None,
    largest: float,
) -> ToLast:
    """What the last step's error is for its query and for all that answered it.

    Args:
        drives: those of queries, keys, values and output gates first.
        errors: of what is shown.
        read: y, n q and m of the last step.
        query: what it has met.
        memory: that sequences begin with.
        largest: of |m| as an exponent.
    """
    (y, seen, m), (P, B, N, T) = read, query.weights.shape
    D = errors.shape[2] // N
    at_, steps, units, zero = TensorAddresses(drives.dtype), (P, T, B, N), (P, B, N, D), zero_of(drives.dtype)
    address, apart = steps_of(at_, drives)
    new = drives.new_empty
    q, to_query, to_read, to_gate = new(units), new(units), new(units), new(P, B, N * D)
    of_keys, of_values, to_write, to_keep = (new(steps) for _ in range(4))
    _, K, E = (1, 0, 0) if memory is None else memory.shape
    job = QueryJob(
        *steps, D, K, E, int(largest), address, *apart, at_.read("errors", errors, (P, B, N * D)),
        at_.read("read", y, (P, B, N * D)), at_.read("seen", seen, (P, B, N)), at_.read("m", m, (P, B, N)),
        at_.read("weights", query.weights, (P, B, N, T)), at_.read("shares", query.shares, (P, B, N, T)),
        at_.read("faded", query.faded, (P, B, N)), at_.read("memory", memory, (P * B * N, K, E)),
        at_.view("query", q, units), at_.view("to_query", to_query, units), at_.view("to_read", to_read, units),
        at_.view("to_gate", to_gate, (P, B, N * D)), at_.view("of_keys", of_keys, steps),
        at_.view("of_values", of_values, steps), at_.view("to_write", to_write, steps),
        at_.view("to_keep", to_keep, steps),
    )  # fmt: skip
    launch(last_query_kernel, zero, job, type(zero)(D**-0.5))
    return ToLast(q, to_query, to_read, to_gate, of_keys, of_values, to_write, to_keep)


def path(
    drives: Float[Tensor, "P T B D"],
    inputs: Float[Tensor, "P T B I"],
    lengths: Int64[Tensor, "P ..."],
    found: ToLast,
    sigmoid: bool,
) -> Float[Tensor, "P I1 D"]:
    """See `last_query.path_of_last`."""
    (P, T, B, I), N, D = inputs.shape, found.k.shape[3], found.q.shape[3]  # noqa: E741
    at_, W, dtype = TensorAddresses(drives.dtype), drives.shape[3], drives.dtype
    address, apart = steps_of(at_, drives)
    out = drives.new_empty(P, 1 + I, W)
    job = PathJob(
        P, T, B, N, D, I, W, int(sigmoid), at_.read("inputs", inputs, (P, T, B, I)),
        *at_.lengths(lengths, P, B, T), address, *apart,
        *(at_.read(name, x, tuple(x.shape)) for name, x in vars(found).items()),
        path=at_.view("path", out, (P, 1 + I, W)),
    )  # fmt: skip
    launch(path_kernel, zero_of(dtype), job)
    return out
