"""The loop of a matrix memory, chunk by chunk. Shapes: see `core.types`.

Gates, queries, keys and values see the input alone, so that only the memory itself goes from step to step: over a
chunk of steps all that reads it and all that is written to it are products (`recurrence.memory_chunks`), and a record
has one memory per chunk. N heads of D units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.activations import Activation, activation
from rnnsweep.core.recurrence import memory_chunks
from rnnsweep.core.recurrence.base import driven
from rnnsweep.core.recurrence.cells import CellEngine, CellRecord, State
from rnnsweep.core.recurrence.head_memories import HeadMemories
from rnnsweep.core.recurrence.memory_chunks import NOTHING, Chunk, Memory
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record, Trace

LARGEST = 80.0
"""Of |m| as the exponent of the divisor's bound: e^80 is finite in float32, and e^-80 is not 0."""
_NARROW = 48
"""Width of a head up to which chunks are short: there what is elementwise over pairs of steps takes the time."""


_NO_ACTIVATION = activation("identity")


def bound_of(m: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """e^-m: 1, as it is carried."""
    return torch.exp(-m.clamp(-LARGEST, LARGEST))


def chunk_steps(cell: HeadMemories) -> int:
    """Steps of a whole chunk, a multiple of `numerics.LANES`."""
    return 32 if cell.size <= _NARROW else 64


def _padded(size: int) -> int:
    return size + -size % numerics.LANES


def record_width(cell: HeadMemories) -> int:
    """See `Cell.record_width`: what is shown and read, drives and their gradients, of states one per chunk.

    Sizes are those of a CPU. A wide head of at most two chunks has no such state, and takes a sixth less.
    """
    memory = cell.heads * _padded(cell.size) * _padded(cell.size + 1)
    return 2 * cell.hidden + 2 * _padded(cell.drive) + 5 * cell.heads + -(-memory // chunk_steps(cell))


@dataclass(frozen=True)
class Gates:
    """Of all steps.

    Attributes:
        keep, write: logarithms of f' and i'; before a sequence's start all is kept and nothing written.
        m: the stabiliser, -inf while there is nothing.
    """

    keep: Float[Tensor, "P T B N"]
    write: Float[Tensor, "P T B N"]
    m: Float[Tensor, "P T B N"]


@dataclass(frozen=True)
class Start:
    """What sequences begin with.

    Attributes:
        state: whole. memory: of it; None: nothing. m: -inf where nothing is written yet.
    """

    state: Float[Tensor, "P B S"]
    memory: Memory | None
    m: Float[Tensor, "P B N"]


@dataclass
class MemoryRecord(CellRecord):
    """``h`` is what is shown [P, T + 1, B, H]; whole states are formed where they are asked for.

    Attributes:
        kept: C q / divisor. inside: n q.
        memories: before each chunk of steps; None: nothing.
    """

    inside: Float[Tensor, "P T B N"] = field(kw_only=True)
    gates: Gates = field(kw_only=True)
    start: Start = field(kw_only=True)
    memories: tuple[Memory | None, ...] = field(kw_only=True)
    cell: HeadMemories = field(kw_only=True)

    def at(self, t: int) -> State:
        """See `Record.at`: from the memory before its chunk."""
        if t == 0:
            return self.start.state
        D, state = self.cell.size, self.start.state
        (first, _), memory = next(
            (steps, found)
            for steps, found in zip(chunks(self.cell, self.inputs.shape[1]), self.memories, strict=True)
            if steps[0] < t <= steps[1]
        )
        found = memory_chunks.written(self.chunk(own_drives(self), first, t), memory)
        found = found[:, :D, : D + 1].unflatten(0, (*state.shape[:2], self.cell.heads))  # P B N D E
        m, before = self.gates.m[:, t - 1], self.cell.memory(state)[2][..., 0]
        m = torch.where(m == -torch.inf, before, m)
        parts = (found[..., :D].transpose(3, 4), found[..., D], m)
        return torch.cat([self.h[:, t], *(part.flatten(2) for part in parts)], -1)

    def whole(self) -> CellRecord:
        """See `Record.whole`: step by step."""
        weights = replace(self.weights.without_inputs(), h0=self.start.state)
        found = CellEngine(self.cell).forward(self.drive, weights, _NO_ACTIVATION, self.lengths)
        return replace(found, inputs=self.inputs, weights=self.weights)

    def between(self, start: int, end: int) -> Record:
        """See `Record.between`: chunks are cut anew."""
        cut = Record.between(Record(self.drive, self.h, None, self.weights, self.lengths), start, end)
        weights = replace(self.weights.without_inputs(), h0=self.at(start))
        found = MatrixMemoryEngine(self.cell).forward(cut.inputs, weights, _NO_ACTIVATION, cut.lengths)
        # what is shown as it was: the idle step that a later sequence keeps has run
        return replace(found, inputs=self.inputs[:, start:end].contiguous(), weights=cut.weights, h=cut.h)

    def chunk(self, drive: Float[Tensor, "P T B _"], first: int, end: int) -> Chunk:
        """Of some steps."""
        return _chunk(self.cell, drive, self.gates, first, end)


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
        drive = driven(inputs, weights, self)
        if weights.w_in is None and weights.bias is not None:
            drive = drive + weights.bias[:, None, None]
        start, active = _start(cell, inputs, weights.h0), own_steps(lengths, T)[..., None]
        own = _own(drive, lengths)
        gates = _gates(cell, own, start, active)
        h, y = inputs.new_empty(P, T + 1, B, H), inputs.new_empty(P, T, B, N, D)
        inside, memories, memory = inputs.new_empty(P, T, B, N), list[Memory | None](), start.memory
        for first, end in chunks(cell, T):
            chunk = _chunk(cell, own, gates, first, end)
            memories.append(memory)
            z = _steps(memory_chunks.read(chunk, memory), (P, B, N), end - first)
            inside[:, first:end] = z[..., D]
            torch.div(z[..., :D], _divisor(inside, gates, first, end), out=y[:, first:end])
            if end < T:
                memory = memory_chunks.written(chunk, memory)
        y = y.flatten(3)
        h[:, 0] = start.state[..., :H]
        shown = torch.mul(_logistic(own[..., 3 * H : 4 * H]), y, out=h[:, 1:])
        if not _whole(lengths, T):
            h[:, 1:] = torch.where(active, shown, h[:, :1])
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
        w, T = record.weights, record.inputs.shape[1]
        own, (fed, padded, drive) = own_drives(record), _fed(record)
        by = _from_last if direct.steps is None else _from_steps
        to_keep = by(record, own, errors, drive)
        f = own[..., 4 * cell.hidden + cell.heads :]
        drive[..., 4 * cell.hidden + cell.heads :] = to_keep * _logistic(-f) if cell.sigmoid_forget else to_keep
        if not _whole(record.lengths, T):
            drive.masked_fill_(~own_steps(record.lengths, T)[..., None], 0)
        path = numerics.matmul(fed.transpose(1, 2), padded)[..., : drive.shape[3]]
        gradients = LoopGradients(
            w_rec=torch.zeros_like(w.w_rec),
            w_in=None if w.w_in is None else path[:, 1:].contiguous(),
            bias=None if w.bias is None else path[:, 0].contiguous(),
            h0=None if w.h0 is None else torch.zeros_like(w.h0),  # shown, or a constant
            inputs=drive.contiguous() if w.w_in is None else None,
        )
        if not keep:
            return gradients, None
        delta = record.h.new_zeros(*record.inputs.shape[:3], 0)
        return gradients, Trace(record, direct, delta, _handed(record, own, direct, to_keep))


def _fed(record: MemoryRecord) -> tuple[Tensor, Tensor, Tensor]:
    """[1, inputs] of all steps and sequences, and room for the gradients of drives: whole, [P, T, B, D].

    Both with zeros as products would add them: one product makes the gradients of the input path, without copies.
    """
    (P, T, B, I), D = record.inputs.shape, record.drive.shape[3]  # noqa: E741
    padded = record.drive.new_zeros(P, _padded(T * B), _padded(D))
    fed = padded.new_zeros(P, _padded(T * B), 1 if record.weights.w_in is None else 1 + I)
    fed[:, : T * B, 0].fill_(1)
    if record.weights.w_in is not None:
        fed[:, : T * B, 1:] = record.inputs.flatten(1, 2)
    return fed, padded, padded[:, : T * B, :D].unflatten(1, (T, B))


@dataclass(frozen=True)
class _ToRead:
    """Gradients of what is read, C q / divisor: of C q [P, t, B, N, D], of n q [P, t, B, N], of the output gate."""

    y: Tensor
    inside: Tensor
    o: Tensor


def _to_read(record: MemoryRecord, own: Tensor, g: Tensor, first: int, end: int) -> _ToRead:
    """Of errors [P, t, B, H] of what is shown."""
    cell, H = record.cell, record.cell.hidden
    o, y = _logistic(own[:, first:end, :, 3 * H : 4 * H]), record.kept[:, first:end]
    go = g * o
    to_o = (go * y).mul_(1 - o)
    go, y = (x.unflatten(3, (cell.heads, cell.size)) for x in (go, y))
    divisor = _divisor(record.inside, record.gates, first, end)
    to_y, inside = go.div_(divisor), record.inside[:, first:end]
    # |n q| is the divisor where it is the larger one, else e^-m
    by_n = inside.abs() >= bound_of(record.gates.m[:, first:end])
    to_inside = -(to_y * y).sum(4) * torch.sign(inside)
    return _ToRead(to_y, torch.where(by_n, to_inside, torch.zeros_like(to_inside)), to_o)


def _from_steps(record: MemoryRecord, own: Tensor, errors: Tensor, drive: Tensor) -> Tensor:
    """Write what drives get of errors at every step; returns the gradients of log f."""
    cell, (P, T, B, _) = record.cell, errors.shape
    H, N, D = cell.hidden, cell.heads, cell.size
    active = own_steps(record.lengths, T)[..., None]
    errors = errors if _whole(record.lengths, T) else torch.where(active, errors, torch.zeros_like(errors))
    to_keep, to_memory = torch.empty_like(record.inside), None
    parts = drive[..., : 3 * H].unflatten(3, (3, N, D))
    for (first, end), memory in reversed([*zip(chunks(cell, T), record.memories, strict=True)]):
        to = _to_read(record, own, errors[:, first:end], first, end)
        chunk, at = record.chunk(own, first, end), slice(first, end)
        to_z = _lines(to.y, _padded(D + 1))
        _steps(to_z, (P, B, N), end - first)[..., D] = to.inside
        found = memory_chunks.backward(chunk, memory, to_z, to_memory)
        for index, part in enumerate((found.q, found.k.mul_(D**-0.5), found.v)):
            parts[:, at, :, index] = _steps(part, (P, B, N), end - first)[..., :D]
        drive[:, at, :, 3 * H : 4 * H] = to.o
        drive[:, at, :, 4 * H : 4 * H + N] = _steps(found.write, (P, B, N), end - first)
        to_keep[:, at] = _steps(found.keep, (P, B, N), end - first)
        to_memory = found.memory
    return to_keep


def _from_last(record: MemoryRecord, own: Tensor, error: Tensor, drive: Tensor) -> Tensor:
    """As `_from_steps`, of an error at the last step alone: one query, which all that was written answers."""
    cell, (P, T, B, _) = record.cell, own.shape
    H, N, D = cell.hidden, cell.heads, cell.size
    to = _to_read(record, own, error[:, None], T - 1, T)
    (q, k, v), keep = own[..., : 3 * H].unflatten(3, (3, N, D)).unbind(3), record.gates.keep
    q = q[:, -1:] * D**-0.5
    weights = (record.gates.write + _later(keep)).exp_()
    products = (k * q).sum(4)
    to_products = (v * to.y).sum(4).add_(to.inside).mul_(weights)
    parts = drive[..., : 3 * H].unflatten(3, (3, N, D))
    to_q = (k * to_products[..., None]).sum(1)
    parts[:, :, :, 1] = to_products[..., None] * q
    parts[:, :, :, 2] = (weights * products)[..., None] * to.y
    drive[:, -1:, :, 3 * H : 4 * H] = to.o
    to_write = to_products * products
    drive[..., 4 * H : 4 * H + N] = to_write
    to_keep = to_write.cumsum(1) - to_write
    if record.start.memory is not None:
        to_z = torch.cat((to.y[:, 0], to.inside[:, 0, ..., None]), -1) * keep.sum(1).exp()[..., None]  # P B N E
        memory = record.start.memory[:, :D, : D + 1].transpose(1, 2)
        seen = numerics.matmul(to_z.flatten(0, 2)[:, None], memory).unflatten(0, (P, B, N))[:, :, :, 0]
        to_q = to_q + seen * D**0.5
        to_keep = to_keep + (q[:, 0] * seen).sum(3)[:, None] * D**0.5
    parts[:, -1, :, 0] = to_q * D**-0.5
    return to_keep


def _handed(record: MemoryRecord, own: Tensor, direct: Direct, to_keep: Tensor) -> Float[Tensor, "P T B 1"]:
    """Norms of what steps hand back, of the memory as it is carried, and m: step by step, one memory at a time."""
    cell, (P, T, B, _) = record.cell, own.shape
    H, N, D = cell.hidden, cell.heads, cell.size
    errors, active = direct.steps, own_steps(record.lengths, T)[..., None]
    if errors is None:
        assert direct.last is not None
        errors = torch.cat((own.new_zeros(P, T - 1, B, H), direct.last[:, None]), 1)
    to = _to_read(record, own, torch.where(active, errors, torch.zeros_like(errors)), 0, T)
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


def chunks(cell: HeadMemories, T: int) -> Iterator[tuple[int, int]]:
    """First step and end of each, counted from the end, so that idle steps before a sequence move no border."""
    L = chunk_steps(cell)
    # two chunks that a memory would join cost more than one without it, unless that is small
    most = L if cell.size <= _NARROW else 2 * L
    ends = [T] if most >= T else [*range(T % L or L, T + 1, L)]
    return zip([0, *ends[:-1]], ends, strict=True)


def own_drives(record: MemoryRecord) -> Float[Tensor, "P T B _"]:
    """Its drives; 0 before a sequence's start."""
    return _own(record.drive, record.lengths)


def _own(x: Tensor, lengths: Tensor) -> Tensor:
    T = x.shape[1]
    return x if _whole(lengths, T) else torch.where(own_steps(lengths, T)[..., None], x, torch.zeros_like(x))


def _whole(lengths: Tensor, T: int) -> bool:
    """Whether all sequences are known to have all steps."""
    return numerics.known_all(lengths == T)


def _start(cell: HeadMemories, like: Tensor, h0: Tensor | None) -> Start:
    P, B, N, D = len(like), like.shape[2], cell.heads, cell.size
    state = like.new_zeros(P, B, cell.state)
    if h0 is None:
        return Start(state, None, like.new_full((P, B, N), -torch.inf))
    # h_0 may be narrower than the state; what it leaves begins at 0
    state[..., : h0.shape[-1]] = h0 if h0.ndim == 3 else h0[:, None]
    memory, n, m = cell.memory(state)
    padded = like.new_zeros(P, B, N, _padded(D), _padded(D + 1))
    padded[..., :D, :D], padded[..., :D, D] = memory.transpose(3, 4), n
    m = torch.where(cell.empty(state), torch.full_like(m, -torch.inf), m)
    return Start(state, padded.flatten(0, 2), m[..., 0])


def _gates(cell: HeadMemories, own: Tensor, start: Start, active: Tensor) -> Gates:
    H, N = cell.hidden, cell.heads
    write, log_f = own[..., 4 * H : 4 * H + N], cell.log_forget(own[..., 4 * H + N :])
    write = torch.where(active, write, torch.full_like(write, -torch.inf)).transpose(0, 1).contiguous()
    log_f = torch.where(active, log_f, torch.zeros_like(log_f)).transpose(0, 1).contiguous()
    found = [start.m]
    for t in range(len(write)):
        found.append(torch.maximum(log_f[t] + found[-1], write[t]))
    m = torch.stack(found)
    # -inf - -inf while there is nothing: selected away
    keep = (log_f + m[:-1] - m[1:]).clamp_min_(NOTHING).transpose(0, 1)
    write = (write - m[1:]).clamp_min_(NOTHING).transpose(0, 1)
    keep = torch.where(active, keep, torch.zeros_like(keep))
    return Gates(keep, torch.where(active, write, torch.full_like(write, NOTHING)), m[1:].transpose(0, 1).contiguous())


def _logistic(x: Tensor) -> Tensor:
    """Of torch's elementwise kernels exp is three times as fast as tanh, and as equal in every vector lane."""
    return torch.exp(-x).add_(1).reciprocal_()


def _divisor(inside: Tensor, gates: Gates, first: int, end: int) -> Float[Tensor, "P t B N 1"]:
    size, bound = inside[:, first:end].abs(), bound_of(gates.m[:, first:end])
    return torch.where(size >= bound, size, bound)[..., None]


def _later(x: Float[Tensor, "P T B N"]) -> Float[Tensor, "P T B N"]:
    """Sums of what comes later."""
    later = torch.cat((x[:, 1:], torch.zeros_like(x[:, :1])), 1)
    return later.flip(1).cumsum(1).flip(1)


def _chunk(cell: HeadMemories, own: Tensor, gates: Gates, first: int, end: int) -> Chunk:
    N, D = cell.heads, cell.size
    q, k, v = own[:, first:end, :, : 3 * cell.hidden].unflatten(3, (3, N, D)).unbind(3)
    values = _lines(v, _padded(D + 1))
    values[:, first - end :, D].fill_(1)
    keep, write = gates.keep[:, first:end, ..., None], gates.write[:, first:end, ..., None]
    return Chunk(
        _lines(q, _padded(D)), _lines(k, _padded(D)).mul_(D**-0.5), values,
        keep=_lines(keep, 1)[..., 0], write=_lines(write, 1, NOTHING)[..., 0],
    )  # fmt: skip


def _lines(x: Float[Tensor, "P t B N K"], width: int, fill: float = 0.0) -> Float[Tensor, "X L W"]:
    """Steps of each head of each sequence as lines, behind what fills them up."""
    P, L, B, N, K = x.shape
    found = x.new_full((P, B, N, _padded(L), width), fill)
    found[:, :, :, -L:, :K] = x.permute(0, 2, 3, 1, 4)
    return found.flatten(0, 2)


def _steps(x: Float[Tensor, "X L ..."], sizes: tuple[int, int, int], L: int) -> Float[Tensor, "P t B N ..."]:
    """A view of lines as steps."""
    return x[:, -L:].unflatten(0, sizes).movedim(3, 1)
