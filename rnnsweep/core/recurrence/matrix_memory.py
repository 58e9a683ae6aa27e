"""The loop of a matrix memory, chunk by chunk. Shapes: see `core.types`.

Over a chunk of steps all that reads the memory and all that is written to it are products (`recurrence.memory_chunks`);
records are in `recurrence.memory_records`. N heads of D units.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.activations import Activation
from rnnsweep.core.kernels import kernels_for
from rnnsweep.core.recurrence import memory_chunks
from rnnsweep.core.recurrence.cells import CellEngine, CellRecord
from rnnsweep.core.recurrence.head_memories import HeadMemories
from rnnsweep.core.recurrence.last_query import from_last, path_of_last, to_last
from rnnsweep.core.recurrence.memory_chunks import Memory
from rnnsweep.core.recurrence.memory_records import (
    LARGEST,
    Gates,
    MemoryRecord,
    Shown,
    chunk_of,
    chunks,
    divisor_of,
    gates_of,
    is_whole,
    lines_of,
    logistic,
    masked,
    memory_of,
    own_drives,
    padded,
    rows_at_once,
    start_of,
    steps_of,
    to_forget,
    to_read,
)
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record, Trace


class MatrixMemoryEngine(CellEngine):
    """Runs a `MatrixMemoryCell`; keeps the promises of `recurrence.base`.

    Numerics:
        Products over chunks of steps, counted from the end. m is a constant on the way back: what goes through it
        cancels, but for where its bound divides and is cut at e^80 or e^-80, and there that is left out. Errors of
        whole states, masks of the loop, and `MemoryRecord.whole` go step by step.
    """

    def __init__(self, cell: HeadMemories) -> None:
        super().__init__(cell)
        self.memory = cell

    def forward(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> CellRecord:
        """See `Engine.forward`."""
        if weights.masks is not None:
            return super().forward(inputs, weights, activation, lengths)
        cell, (P, T, B, _) = self.memory, inputs.shape
        H, N, D = cell.hidden, cell.heads, cell.size
        drive = _driven(inputs, weights)
        start, active = start_of(cell, inputs, weights.h0), own_steps(lengths, T)[..., None]
        own = masked(drive, lengths)
        gates = gates_of(cell, own, start, active)
        h, y = inputs.new_empty(P, T + 1, B, H), inputs.new_empty(P, T, B, N, D)
        inside, memories, memory = inputs.new_empty(P, T, B, N), list[Memory | None](), start.memory
        for first, end in chunks(cell, T):
            memories.append(memory)
            behind: list[Memory] = []
            idle = padded(end - first) - (end - first)
            for rows in rows_at_once(cell, own, end - first):
                mine, some = own[rows], gates.of(rows)
                chunk, before = chunk_of(cell, mine, some, first, end), memory_of(memory, rows, B * N)
                for a, b, z in memory_chunks.read(chunk, before):
                    steps = first + max(0, a - idle), first + b - idle
                    _show(z, mine, some, steps, Shown(h[rows], y[rows], inside[rows]))
                if end < T:
                    behind.append(memory_chunks.written(chunk, before))
            memory = torch.cat(behind) if behind else memory
        y = y.flatten(3)
        h[:, 0] = start.state[..., :H]
        if not is_whole(lengths, T):
            h[:, 1:] = torch.where(active, h[:, 1:], h[:, :1])
        return MemoryRecord(
            inputs, h, None, weights, lengths, y, drive,
            inside=inside, gates=gates, start=start, memories=tuple(memories), cell=cell,
        )  # fmt: skip

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`; the trace's x [P, T, B, 1] is the norm of what a step hands back."""
        cell, errors = self.memory, direct.last if direct.steps is None else direct.steps
        assert errors is not None
        if not isinstance(record, MemoryRecord) or errors.shape[-1] > cell.hidden:
            whole = record.whole()
            return super().backward(whole, direct, activation, keep=keep)
        w, T, own = record.weights, record.inputs.shape[1], own_drives(record)
        if direct.steps is None and w.w_in is not None:
            last = to_last(record, own, errors)
            path, drive, to_keep = path_of_last(record, own, last), None, last.keep
        else:
            fed, whole, drive = _fed(record)
            by = from_last if direct.steps is None else _from_steps
            to_keep = by(record, own, errors, drive)
            drive[..., 4 * cell.hidden + cell.heads :] = to_forget(cell, own, to_keep)
            if not is_whole(record.lengths, T):
                drive.masked_fill_(~own_steps(record.lengths, T)[..., None], 0)
            path = numerics.matmul(fed.transpose(1, 2), whole)[..., : drive.shape[3]]
        gradients = LoopGradients(
            w_rec=torch.zeros_like(w.w_rec),
            w_in=None if w.w_in is None else path[:, 1:].contiguous(),
            bias=None if w.bias is None else path[:, 0].contiguous(),
            h0=None if w.h0 is None else torch.zeros_like(w.h0),  # shown, or a constant
            inputs=None if drive is None or w.w_in is not None else drive.contiguous(),
        )
        if not keep:
            return gradients, None
        delta = record.h.new_zeros(*record.inputs.shape[:3], 0)
        return gradients, Trace(record, direct, delta, _handed(record, own, direct, to_keep))


def _driven(inputs: Tensor, weights: LoopWeights) -> Tensor:
    """Drives [P, T, B, D] of all steps; the bias is one more line of the product, whose inner size is padded anyway."""
    w_in, bias = weights.w_in, weights.bias
    if w_in is None:
        return inputs if bias is None else inputs + bias[:, None, None]
    if bias is not None:
        w_in = torch.cat((bias[:, None], w_in), 1)
        inputs = torch.cat((torch.ones_like(inputs[..., :1]), inputs), 3)
    return numerics.matmul(inputs.flatten(1, 2), w_in).unflatten(1, inputs.shape[1:3])


def _show(z: Tensor, own: Tensor, gates: Gates, steps: tuple[int, int], into: Shown) -> None:
    """Write what was read [X, L, E] into what the steps show."""
    (first, end), (P, _, B, N, D), H = steps, into.y.shape, into.h.shape[3]
    out = own[..., 3 * H : 4 * H]
    if (kernels := kernels_for("matrix_memories", z.device)) is not None:
        kernels.show(z, out, gates.m, steps, into, LARGEST)
        return
    read = steps_of(z, (P, B, N), end - first)
    into.inside[:, first:end] = read[..., D]
    torch.div(read[..., :D], divisor_of(into.inside, gates, first, end), out=into.y[:, first:end])
    torch.mul(logistic(out[:, first:end]), into.y[:, first:end].flatten(3), out=into.h[:, first + 1 : end + 1])


def _fed(record: MemoryRecord) -> tuple[Tensor, Tensor, Tensor]:
    """[1, inputs] of all steps and sequences, and room for the gradients of drives: whole, [P, T, B, D].

    Both with zeros as products would add them: one product makes the gradients of the input path, without copies.
    """
    (P, T, B, I), D = record.inputs.shape, record.drive.shape[3]  # noqa: E741
    whole = record.drive.new_zeros(P, padded(T * B), padded(D))
    fed = whole.new_zeros(P, padded(T * B), 1 if record.weights.w_in is None else 1 + I)
    fed[:, : T * B, 0].fill_(1)
    if record.weights.w_in is not None:
        fed[:, : T * B, 1:] = record.inputs.flatten(1, 2)
    return fed, whole, whole[:, : T * B, :D].unflatten(1, (T, B))


def _from_steps(record: MemoryRecord, own: Tensor, errors: Tensor, drive: Tensor) -> Tensor:
    """Write what drives get of errors at every step; returns the gradients of log f."""
    cell, (P, T, B, _) = record.cell, errors.shape
    H, N, D = cell.hidden, cell.heads, cell.size
    active = own_steps(record.lengths, T)[..., None]
    errors = errors if is_whole(record.lengths, T) else torch.where(active, errors, torch.zeros_like(errors))
    to_keep, to_memory = torch.empty_like(record.inside), None
    parts = drive[..., : 3 * H].unflatten(3, (3, N, D))
    for (first, end), memory in reversed([*zip(chunks(cell, T), record.memories, strict=True)]):
        to = to_read(record, own, errors[:, first:end], first, end)
        chunk, at = record.chunk(own, first, end), slice(first, end)
        to_z = lines_of(to.y, padded(D + 1))
        steps_of(to_z, (P, B, N), end - first)[..., D] = to.inside
        found = memory_chunks.backward(chunk, memory, to_z, to_memory)
        for index, part in enumerate((found.q, found.k.mul_(D**-0.5), found.v)):
            parts[:, at, :, index] = steps_of(part, (P, B, N), end - first)[..., :D]
        drive[:, at, :, 3 * H : 4 * H] = to.o
        drive[:, at, :, 4 * H : 4 * H + N] = steps_of(found.write, (P, B, N), end - first)
        to_keep[:, at] = steps_of(found.keep, (P, B, N), end - first)
        to_memory = found.memory
    return to_keep


def _handed(record: MemoryRecord, own: Tensor, direct: Direct, to_keep: Tensor) -> Float[Tensor, "P T B 1"]:
    """Norms of what steps hand back, of the memory as it is carried, and m: step by step, one memory at a time."""
    cell, (P, T, B, _) = record.cell, own.shape
    H, N, D = cell.hidden, cell.heads, cell.size
    errors, active = direct.steps, own_steps(record.lengths, T)[..., None]
    if errors is None:
        assert direct.last is not None
        errors = torch.cat((own.new_zeros(P, T - 1, B, H), direct.last[:, None]), 1)
    to = to_read(record, own, torch.where(active, errors, torch.zeros_like(errors)), 0, T)
    q, to_z = own[..., :H].unflatten(3, (N, D)), torch.cat((to.y, to.inside[..., None]), -1)
    # the first step has nothing to keep, and hands on what it gets
    before = torch.cat((record.start.m[:, None], record.gates.m[:, :-1]), 1)
    keep = torch.where(before == -torch.inf, torch.ones_like(to_keep), record.gates.keep.exp())
    g, g_m, norms = own.new_zeros(P, B, N, D, D + 1), own.new_zeros(P, B, N), list[Tensor]()
    for t in range(T - 1, -1, -1):
        g = g.addcmul_(q[:, t, ..., None], to_z[:, t, ..., None, :]).mul_(keep[:, t, ..., None, None])
        g_m = torch.where(active[:, t], to_keep[:, t], g_m)
        # in float64: squares of small errors are no float32
        norms.append(g.flatten(2).double().square().sum(2) + g_m.double().square().sum(2))
    return torch.stack(norms[::-1], 1)[..., None].sqrt().to(own.dtype)
