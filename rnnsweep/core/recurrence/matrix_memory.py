"""The loop of a matrix memory, chunk by chunk. Shapes: see `core.types`.

Over a chunk of steps all that reads the memory and all that is written to it are products (`recurrence.memory_chunks`);
records are in `recurrence.memory_records`. N heads of D units.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.activations import Activation
from rnnsweep.core.kernels import kernels_for
from rnnsweep.core.recurrence import memory_chunks
from rnnsweep.core.recurrence.cells import CellEngine, CellRecord
from rnnsweep.core.recurrence.head_memories import HeadMemories
from rnnsweep.core.recurrence.last_query import from_last, path_of_last, read_last, to_last
from rnnsweep.core.recurrence.memory_chunks import Memory
from rnnsweep.core.recurrence.memory_records import (
    MemoryRecord,
    Shown,
    Start,
    chunk_of,
    chunks,
    divisor_of,
    gates_of,
    is_whole,
    lines_of,
    logistic,
    masked,
    padded,
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

    tile: int | None = 4  # records are large: with 5 rows an update takes a third longer on a Xeon

    def __init__(self, cell: HeadMemories) -> None:
        super().__init__(cell)
        self.memory = cell

    @cached_property
    def _reader(self) -> Any:
        # made where it is first needed: it compiles
        kernels = kernels_for("memory_reads", torch.device("cpu"))
        return kernels and kernels.Reader()

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
        start, T = start_of(self.memory, inputs, weights.h0), inputs.shape[1]
        fused = kernels_for("memory_reads", inputs.device) is not None
        found = (self._read_fused if fused else self._read)(inputs, weights, lengths, start)
        found.h[:, 0] = start.state[..., : self.memory.hidden]
        if not is_whole(lengths, T):
            active = own_steps(lengths, T)[..., None]
            found.h[:, 1:] = torch.where(active, found.h[:, 1:], found.h[:, :1])
        return self._record(inputs, weights, lengths, start, found)

    def forward_last(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> CellRecord:
        """See `LastStepEngine.forward_last`: of all queries the last one is answered, by all that was written."""
        if weights.masks is not None:
            return self.forward(inputs, weights, activation, lengths)
        start = start_of(self.memory, inputs, weights.h0)
        if kernels_for("memory_reads", inputs.device) is not None:
            found = self._read_fused(inputs, weights, lengths, start, last=True)
        else:
            own, active = masked(_driven(inputs, weights), lengths), own_steps(lengths, inputs.shape[1])[..., None]
            found = read_last(self.memory, own, gates_of(self.memory, own, start, active), start)
        return self._record(inputs, weights, lengths, start, found)

    def _record(
        self, inputs: Tensor, weights: LoopWeights, lengths: Tensor, start: Start, found: Shown
    ) -> MemoryRecord:
        return MemoryRecord(
            inputs, found.h, None, weights, lengths, found.y, found.drive,
            inside=found.inside, gates=found.gates, start=start, memories=found.memories, query=found.query,
            cell=self.memory,
        )  # fmt: skip

    def _read_fused(
        self, inputs: Tensor, weights: LoopWeights, lengths: Tensor, start: Start, *, last: bool = False
    ) -> Shown:
        """What all steps show, or the last one, by a CPU's kernel."""
        path = weights.w_in, weights.bias
        if weights.w_in is None:
            inputs, path = masked(_driven(inputs, weights), lengths), (None, None)
        return self._reader.read(self.memory, inputs, path, lengths, start, last=last)

    def _read(self, inputs: Tensor, weights: LoopWeights, lengths: Tensor, start: Start) -> Shown:
        """What all steps show, chunk by chunk."""
        cell, (P, T, B, _) = self.memory, inputs.shape
        H, N, D = cell.hidden, cell.heads, cell.size
        own = masked(_driven(inputs, weights), lengths)
        gates = gates_of(cell, own, start, own_steps(lengths, T)[..., None])
        h, y = inputs.new_empty(P, T + 1, B, H), inputs.new_empty(P, T, B, N, D)
        inside, memories, memory = inputs.new_empty(P, T, B, N), list[Memory | None](), start.memory
        for first, end in chunks(cell, T):
            memories.append(memory)
            chunk, idle = chunk_of(cell, own, gates, first, end), padded(end - first) - (end - first)
            for a, b, z in memory_chunks.read(chunk, memory):
                steps = slice(first + max(0, a - idle), first + b - idle)
                read = steps_of(z, (P, B, N), steps.stop - steps.start)
                inside[:, steps] = read[..., D]
                divisor = divisor_of(inside[:, steps], gates.m[:, steps])
                torch.div(read[..., :D], divisor, out=y[:, steps])
                shown = h[:, steps.start + 1 : steps.stop + 1]
                torch.mul(logistic(own[:, steps, :, 3 * H : 4 * H]), y[:, steps].flatten(3), out=shown)
            memory = memory_chunks.written(chunk, memory) if end < T else memory
        # The last step anew: it shall have the same bits where it is shown alone.
        end = read_last(cell, own, gates, start)
        h[:, -1], y[:, -1], inside[:, -1] = end.h[:, 0], end.y.unflatten(3, (N, D))[:, 0], end.inside[:, 0]
        return Shown(own, h, y.flatten(3), inside, gates, end.query, tuple(memories))

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`; the trace's x [P, T, B, 1] is the norm of what a step hands back."""
        cell, errors = self.memory, direct.last if direct.steps is None else direct.steps
        assert errors is not None
        if not isinstance(record, MemoryRecord) or errors.shape[-1] > cell.hidden:
            whole = record.whole()
            return super().backward(whole, direct, activation, keep=keep)
        w, T, own = record.weights, record.inputs.shape[1], record.drive
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
