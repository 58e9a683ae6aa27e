"""What the loop of a matrix memory records, and how its parts lie. Shapes: see `core.types`.

Gates, queries, keys and values see the input alone, so that only the memory itself goes from step to step: a record
has one memory per chunk of steps (`recurrence.memory_chunks`). N heads of D units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.activations import activation
from rnnsweep.core.kernels import kernels_for
from rnnsweep.core.recurrence import memory_chunks
from rnnsweep.core.recurrence.cells import CellEngine, CellRecord, State
from rnnsweep.core.recurrence.head_memories import HeadMemories
from rnnsweep.core.recurrence.memory_chunks import NOTHING, Chunk, Memory
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import Record

LARGEST = 80.0
"""Of |m| as the exponent of the divisor's bound: e^80 is finite in float32, and e^-80 is not 0."""
_NARROW = 48
"""Width of a head up to which chunks are short: there what is elementwise over pairs of steps takes the time."""
NO_ACTIVATION = activation("identity")


def bound_of(m: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """e^-m: 1, as it is carried."""
    return torch.exp(-m.clamp(-LARGEST, LARGEST))


def chunk_steps(cell: HeadMemories) -> int:
    """Steps of a whole chunk, a multiple of `numerics.LANES`."""
    return 32 if cell.size <= _NARROW else 64


def padded(size: int) -> int:
    """A size up to the next multiple of `numerics.LANES`."""
    return size + -size % numerics.LANES


def record_width(cell: HeadMemories) -> int:
    """See `Cell.record_width`: what is shown and read, drives and their gradients, of states one per chunk.

    Sizes are those of a CPU. A wide head of at most two chunks has no such state, and takes a sixth less.
    """
    memory = cell.heads * padded(cell.size) * padded(cell.size + 1)
    return 2 * cell.hidden + 2 * padded(cell.drive) + 5 * cell.heads + -(-memory // chunk_steps(cell))


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
class LastQuery:
    """What the last step's query meets.

    Attributes:
        weights: of each step's write, i' f' .. f'; 0 before a sequence's start.
        shares: each times k q / sqrt(D), which is what its value has of what is read.
        faded: what is left of the memory that sequences begin with.
    """

    weights: Float[Tensor, "P B N T"]
    shares: Float[Tensor, "P B N T"]
    faded: Float[Tensor, "P B N"]


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
        kept: C q / divisor. inside: n q. Of `forward_last` these and h have the last step alone.
        memories: before each chunk of steps; None: nothing. Of `forward_last`: ().
        drive: of all steps, 0 before a sequence's start; of `forward_last`, queries and output gates of the last alone.
        query: of the last step.
    """

    kept: Float[Tensor, "P steps B K"] = field(default_factory=lambda: torch.empty(0, 0, 0, 0))
    inside: Float[Tensor, "P steps B N"] = field(kw_only=True)
    gates: Gates = field(kw_only=True)
    start: Start = field(kw_only=True)
    memories: tuple[Memory | None, ...] = field(kw_only=True)
    query: LastQuery = field(kw_only=True)
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
        found = memory_chunks.written(self.chunk(self.drive, first, t), memory)
        found = found[:, :D, : D + 1].unflatten(0, (*state.shape[:2], self.cell.heads))  # P B N D E
        m, before = self.gates.m[:, t - 1], self.cell.memory(state)[2][..., 0]
        m = torch.where(m == -torch.inf, before, m)
        parts = (found[..., :D].transpose(3, 4), found[..., D], m)
        return torch.cat([self.h[:, t], *(part.flatten(2) for part in parts)], -1)

    def whole(self) -> CellRecord:
        """See `Record.whole`: step by step."""
        weights = replace(self.weights.without_inputs(), h0=self.start.state)
        found = CellEngine(self.cell).forward(self.drive, weights, NO_ACTIVATION, self.lengths)
        return replace(found, inputs=self.inputs, weights=self.weights)

    def between(self, start: int, end: int) -> Record:
        """See `Record.between`: chunks are cut anew."""
        cut = Record.between(Record(self.drive, self.h, None, self.weights, self.lengths), start, end)
        weights = replace(self.weights.without_inputs(), h0=self.at(start))
        found = self.cell.engine().forward(cut.inputs, weights, NO_ACTIVATION, cut.lengths)
        # what is shown as it was: the idle step that a later sequence keeps has run
        return replace(found, inputs=self.inputs[:, start:end].contiguous(), weights=cut.weights, h=cut.h)

    def chunk(self, drive: Float[Tensor, "P T B _"], first: int, end: int) -> Chunk:
        """Of some steps."""
        return chunk_of(self.cell, drive, self.gates, first, end)


@dataclass(frozen=True)
class Shown:
    """What steps show, and what it was found with.

    Attributes:
        drive, query: as in `MemoryRecord`. h: what is shown, from index 1 on. y: C q / divisor. inside: n q.
        memories: before each chunk of steps; None: nothing.

    Where the last step alone is shown: h, y, inside [P, 1, B, _], and no memories.
    """

    drive: Float[Tensor, "P T B _"]
    h: Float[Tensor, "P T1 B H"]
    y: Float[Tensor, "P steps B H"]
    inside: Float[Tensor, "P steps B N"]
    gates: Gates
    query: LastQuery
    memories: tuple[Memory | None, ...]


@dataclass(frozen=True)
class ToRead:
    """Gradients of what is read, C q / divisor.

    Attributes:
        y: of C q. inside: of n q. o: of the output gate's drive.
    """

    y: Float[Tensor, "P t B N D"]
    inside: Float[Tensor, "P t B N"]
    o: Float[Tensor, "P t B H"]


def to_read(
    record: MemoryRecord, own: Float[Tensor, "P T B _"], g: Float[Tensor, "P t B H"], first: int, end: int
) -> ToRead:
    """Of errors [P, t, B, H] of what is shown."""
    cell, H, behind = record.cell, record.cell.hidden, own.shape[1] - end
    # counted from the end: a record may have the last step alone
    y, inside = (x[:, x.shape[1] - behind - (end - first) : x.shape[1] - behind] for x in (record.kept, record.inside))
    o, m = logistic(own[:, first:end, :, 3 * H : 4 * H]), record.gates.m[:, first:end]
    go = g * o
    to_o = (go * y).mul_(1 - o)
    go, y = (x.unflatten(3, (cell.heads, cell.size)) for x in (go, y))
    to_y = go.div_(divisor_of(inside, m))
    # |n q| is the divisor where it is the larger one, else e^-m
    by_n = inside.abs() >= bound_of(m)
    to_inside = -(to_y * y).sum(4) * torch.sign(inside)
    return ToRead(to_y, torch.where(by_n, to_inside, torch.zeros_like(to_inside)), to_o)


def to_forget(
    cell: HeadMemories, own: Float[Tensor, "P T B _"], to_keep: Float[Tensor, "P T B N"]
) -> Float[Tensor, "P T B N"]:
    """Gradients of the forget gates' drives from those of log f."""
    f = own[..., 4 * cell.hidden + cell.heads :]
    return to_keep * logistic(-f) if cell.sigmoid_forget else to_keep


def chunks(cell: HeadMemories, T: int) -> Iterator[tuple[int, int]]:
    """First step and end of each, counted from the end, so that idle steps before a sequence move no border."""
    L = chunk_steps(cell)
    # two chunks that a memory would join cost more than one without it, unless that is small
    most = L if cell.size <= _NARROW else 2 * L
    ends = [T] if most >= T else [*range(T % L or L, T + 1, L)]
    return zip([0, *ends[:-1]], ends, strict=True)


def masked(x: Float[Tensor, "P T B K"], lengths: Int64[Tensor, "P ..."]) -> Float[Tensor, "P T B K"]:
    """What stands at steps [P, T, B, _]; 0 before a sequence's start."""
    T = x.shape[1]
    return x if is_whole(lengths, T) else torch.where(own_steps(lengths, T)[..., None], x, torch.zeros_like(x))


def is_whole(lengths: Int64[Tensor, "P ..."], T: int) -> bool:
    """Whether all sequences are known to have all steps."""
    return numerics.known_all(lengths == T)


def start_of(cell: HeadMemories, like: Float[Tensor, "P T B _"], h0: Float[Tensor, "P ... S"] | None) -> Start:
    """Of sequences of drives `like` [P, T, B, _]."""
    P, B, N, D = len(like), like.shape[2], cell.heads, cell.size
    if h0 is None:
        # one zero for all: a state has as many entries as a memory
        return Start(like.new_zeros(1).expand(P, B, cell.state), None, like.new_full((P, B, N), -torch.inf))
    state = like.new_zeros(P, B, cell.state)
    # h_0 may be narrower than the state; what it leaves begins at 0
    state[..., : h0.shape[-1]] = h0 if h0.ndim == 3 else h0[:, None]
    memory, n, m = cell.memory(state)
    found = like.new_zeros(P, B, N, padded(D), padded(D + 1))
    found[..., :D, :D], found[..., :D, D] = memory.transpose(3, 4), n
    m = torch.where(cell.empty(state), torch.full_like(m, -torch.inf), m)
    return Start(state, found.flatten(0, 2), m[..., 0])


def gates_of(cell: HeadMemories, own: Float[Tensor, "P T B _"], start: Start, active: Bool[Tensor, "P T _ 1"]) -> Gates:
    """Of all steps: active ones [P, T, 1 or B, 1]."""
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


def logistic(x: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """Of torch's elementwise kernels exp is three times as fast as tanh, and as equal in every vector lane."""
    return torch.exp(-x).add_(1).reciprocal_()


def divisor_of(inside: Float[Tensor, "P t B N"], m: Float[Tensor, "P t B N"]) -> Float[Tensor, "P t B N 1"]:
    """max(|n q|, e^-m)."""
    size, bound = inside.abs(), bound_of(m)
    return torch.where(size >= bound, size, bound)[..., None]


def later(x: Float[Tensor, "P T B N"]) -> Float[Tensor, "P T B N"]:
    """Sums of what comes later."""
    later = torch.cat((x[:, 1:], torch.zeros_like(x[:, :1])), 1)
    return later.flip(1).cumsum(1).flip(1)


def chunk_of(cell: HeadMemories, own: Float[Tensor, "P T B _"], gates: Gates, first: int, end: int) -> Chunk:
    """The steps first..end-1 of drives [P, T, B, _] as lines."""
    N, D, steps = cell.heads, cell.size, slice(first, end)
    keep, write = lines_of(gates.keep[:, steps, ..., None], 1), lines_of(gates.write[:, steps, ..., None], 1, NOTHING)
    logs = {"keep": keep[..., 0], "write": write[..., 0]}
    if (kernels := kernels_for("matrix_memories", own.device)) is not None:
        widths = padded(D), padded(D + 1)
        return Chunk(*kernels.lines(own, (N, D, padded(end - first)), widths, first, end), **logs)
    q, k, v = own[:, first:end, :, : 3 * cell.hidden].unflatten(3, (3, N, D)).unbind(3)
    values = lines_of(v, padded(D + 1))
    values[:, first - end :, D].fill_(1)
    return Chunk(lines_of(q, padded(D)), lines_of(k, padded(D)).mul_(D**-0.5), values, **logs)


def lines_of(x: Float[Tensor, "P t B N K"], width: int, fill: float = 0.0) -> Float[Tensor, "X L W"]:
    """Steps of each head of each sequence as lines, behind what fills them up."""
    P, L, B, N, K = x.shape
    found = x.new_full((P, B, N, padded(L), width), fill)
    found[:, :, :, -L:, :K] = x.permute(0, 2, 3, 1, 4)
    return found.flatten(0, 2)


def steps_of(x: Float[Tensor, "X L ..."], sizes: tuple[int, int, int], L: int) -> Float[Tensor, "P t B N ..."]:
    """A view of lines as steps."""
    return x[:, -L:].unflatten(0, sizes).movedim(3, 1)
