"""The last step alone of a matrix memory, and an error of it: one query, which all that was written answers.

Shapes: see `core.types`; N heads of D units.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.kernels import kernels_for
from rnnsweep.core.recurrence.head_memories import HeadMemories
from rnnsweep.core.recurrence.memory_records import (
    LARGEST,
    Gates,
    LastQuery,
    MemoryRecord,
    Shown,
    Start,
    divisor_of,
    is_whole,
    later,
    logistic,
    to_forget,
    to_read,
)
from rnnsweep.core.sequence_lengths import own_steps


@dataclass(frozen=True)
class ToLast:
    """Gradients.

    Attributes:
        query: q / sqrt(D), of the last step. q, y, o: of that step's query, of what it read, of its output gate.
        k, v: what keys have of the query, and values of y. write, keep: of the logarithms of i' and f.
    """

    query: Float[Tensor, "P B N D"]
    q: Float[Tensor, "P B N D"]
    y: Float[Tensor, "P B N D"]
    o: Float[Tensor, "P B H"]
    k: Float[Tensor, "P T B N"]
    v: Float[Tensor, "P T B N"]
    write: Float[Tensor, "P T B N"]
    keep: Float[Tensor, "P T B N"]


def read_last(cell: HeadMemories, own: Float[Tensor, "P T B _"], gates: Gates, start: Start) -> Shown:
    """What the last step shows, of drives."""
    H, N, D = cell.hidden, cell.heads, cell.size
    q, k, v = own[..., : 3 * H].unflatten(3, (3, N, D)).unbind(3)
    q, m = q[:, -1:], gates.m[:, -1:]
    weights, faded = (gates.write + later(gates.keep)).exp_(), gates.keep.sum(1).exp()  # P T B N, P B N
    shares = (k * q).sum(4).mul_(D**-0.5).mul_(weights)
    read, inside = (v * shares[..., None]).sum(1, keepdim=True), shares.sum(1, keepdim=True)
    if start.memory is not None:
        left = (q * faded[:, None, ..., None]).flatten(0, 3)[:, None]
        seen = numerics.matmul(left, start.memory[:, :D, : D + 1]).unflatten(0, inside.shape)[..., 0, :]
        read, inside = read + seen[..., :D], inside + seen[..., D]
    y = read.div_(divisor_of(inside, m)).flatten(3)
    query = LastQuery(weights.movedim(1, 3).contiguous(), shares.movedim(1, 3).contiguous(), faded)
    return Shown(own, logistic(own[:, -1:, :, 3 * H : 4 * H]) * y, y, inside, gates, query, ())


def to_last(record: MemoryRecord, own: Float[Tensor, "P T B _"], error: Float[Tensor, "P B H"]) -> ToLast:
    """Of an error [P, B, H] of what the last step shows."""
    cell, (P, T, B, _) = record.cell, own.shape
    if (kernels := kernels_for("last_queries", own.device)) is not None:
        read = record.kept[:, -1], record.inside[:, -1], record.gates.m[:, -1]
        return kernels.answers(own, error, read, record.query, record.start.memory, LARGEST)
    H, N, D = cell.hidden, cell.heads, cell.size
    to = to_read(record, own, error[:, None], T - 1, T)
    (q, k, v), query = own[..., : 3 * H].unflatten(3, (3, N, D)).unbind(3), record.query
    weights, shares, q = query.weights.movedim(3, 1), query.shares.movedim(3, 1), q[:, -1] * D**-0.5
    to_weights = (v * to.y).sum(4).add_(to.inside)  # P T B N, as what follows
    to_products, to_write = to_weights * weights, to_weights * shares
    to_q = (k * to_products[..., None]).sum(1)
    to_keep = to_write.cumsum(1) - to_write
    if record.start.memory is not None:
        to_z = torch.cat((to.y[:, 0], to.inside[:, 0, ..., None]), -1) * query.faded[..., None]  # P B N E
        memory = record.start.memory[:, :D, : D + 1].transpose(1, 2)
        seen = numerics.matmul(to_z.flatten(0, 2)[:, None], memory).unflatten(0, (P, B, N))[:, :, :, 0]
        to_q = to_q + seen * D**0.5
        to_keep = to_keep + (q * seen).sum(3)[:, None] * D**0.5
    return ToLast(q, to_q * D**-0.5, to.y[:, 0], to.o[:, 0], to_products, shares.contiguous(), to_write, to_keep)


def from_last(
    record: MemoryRecord,
    own: Float[Tensor, "P T B D"],
    error: Float[Tensor, "P B H"],
    drive: Float[Tensor, "P T B D"],
) -> Float[Tensor, "P T B N"]:
    """Write what drives get; returns the gradients of log f."""
    cell = record.cell
    H, N, D = cell.hidden, cell.heads, cell.size
    last, parts = to_last(record, own, error), drive[..., : 3 * H].unflatten(3, (3, N, D))
    parts[:, -1, :, 0] = last.q
    parts[:, :, :, 1] = last.k[..., None] * last.query[:, None]
    parts[:, :, :, 2] = last.v[..., None] * last.y[:, None]
    drive[:, -1, :, 3 * H : 4 * H] = last.o
    drive[..., 4 * H : 4 * H + N] = last.write
    return last.keep


def path_of_last(record: MemoryRecord, own: Float[Tensor, "P T B D"], last: ToLast) -> Float[Tensor, "P I1 D"]:
    """Gradients of [bias, w_in], without those of drives: what a step's key gets is a multiple of the last query.

    So each sequence's inputs are added up with those multiples, and meet the query once.
    """
    cell, (P, T, B, _) = record.cell, own.shape
    N = cell.heads
    if (kernels := kernels_for("last_queries", own.device)) is not None:
        return kernels.path(own, record.inputs, record.lengths, last, cell.sigmoid_forget)
    shares = torch.cat((last.k, last.v, last.write, to_forget(cell, own, last.keep)), 3)  # P T B 4N
    if not is_whole(record.lengths, T):
        shares = torch.where(own_steps(record.lengths, T)[..., None], shares, torch.zeros_like(shares))
    fed = torch.cat((torch.ones_like(record.inputs[..., :1]), record.inputs), 3)
    one = 1 + record.inputs.shape[3]
    lines = (x.transpose(1, 2).flatten(0, 1) for x in (fed, shares))  # PB T _
    sums = numerics.matmul(next(lines).transpose(1, 2), next(lines)).unflatten(0, (P, B))  # P B I1 4N
    ends = fed[:, -1]  # P B I1
    sides = [(ends[:, :, None].expand(P, B, N, one), last.q)]
    sides += [(sums[..., k * N : (k + 1) * N].transpose(2, 3), right) for k, right in enumerate((last.query, last.y))]
    found = [_over_sequences(left, right) for left, right in sides]
    found += [numerics.matmul(ends.transpose(1, 2), last.o), sums[..., 2 * N :].sum(1)]
    return torch.cat([x if x.ndim == 3 else x.flatten(2) for x in found], 2)


def _over_sequences(left: Float[Tensor, "P B N I"], right: Float[Tensor, "P B N D"]) -> Float[Tensor, "P I N D"]:
    """Sums of outer products, head by head."""
    P, _, N, _ = left.shape
    left, right = (x.transpose(1, 2).flatten(0, 1) for x in (left, right))  # PN B _
    return numerics.matmul(left.transpose(1, 2), right).unflatten(0, (P, N)).transpose(1, 2)
