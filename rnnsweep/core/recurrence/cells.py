"""Time loops of cells that are not the simple one: gated, complex, second order. Shapes: see `core.types`.

A cell carries one state s [P, B, S]: all its tensors side by side, the visible ones first. One step is

    a_t = s_{t-1}[..., :R] U        d_t = u_t W_in + b        s_t = step(a_t, d_t, s_{t-1})

so that the recurrent matrix U [P, R, A] appears in one product only. `CellEngine` runs any such cell through one-step
vector-Jacobian products and leaves the same trace as the engines of the simple cell: delta_t = dC/da_t, and x_t, what
step t hands back to s_{t-1}. That is all that Omega needs (docs/maths.md#omega, last paragraph).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import pad

from rnnsweep.core import numerics
from rnnsweep.core.activations import Activation
from rnnsweep.core.host_graph import asked
from rnnsweep.core.recurrence.base import Engine, Tangent
from rnnsweep.core.recurrence.reference import ReferenceEngine, read_state, unzoned, zoned
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import Direct, LoopGradients, LoopMasks, LoopWeights, Record, Trace
from rnnsweep.errors import ConfigError

PreActivation = Float[Tensor, "P B A"]
Drive = Float[Tensor, "P B D"]
State = Float[Tensor, "P B S"]
Kept = Float[Tensor, "P B K"]
"""Of one step: a, d, s, and what `ProductCell.forward` keeps for `ProductCell.pull`."""
Own = Mapping[str, Float[Tensor, "P _ _"]]
"""A cell's own parameters by name, spread over the mini-batch."""


@dataclass(frozen=True)
class Pulled:
    """What one step hands back: gradients of its arguments.

    Attributes:
        a, d: dC/da and dC/dd. s: dC/ds_{t-1} without the way through a.
        own: [P, B, K] per vector, [P, M, N] per matrix.
    """

    a: PreActivation
    d: Drive
    s: State
    own: Own = field(default_factory=dict)


@dataclass(frozen=True)
class Cell(ABC):
    """A recurrent cell: how wide its parts are, what runs it, and one whole step.

    Attributes:
        hidden: H.
        additive: a and d enter as a + d only, so that their gradients are the same.
        apart: units see each other through a only: without it each has its own memory alone.
        fused: engines that run exactly this class's step: engine name -> ``module:Class``, built with the cell. It is
            not inherited: a subclass may compute something else.
    """

    hidden: int

    additive: ClassVar[bool] = False
    apart: ClassVar[bool] = True
    fused: ClassVar[Mapping[str, str]] = {}

    @property
    def state(self) -> int:
        """S, entries of the carried state."""
        return self.hidden

    @property
    def recurrent(self) -> int:
        """R: the leading entries of s that the recurrent matrix reads."""
        return self.hidden

    @property
    def product(self) -> int:
        """A, entries of a."""
        return self.hidden

    @property
    def drive(self) -> int:
        """D, entries of d."""
        return self.hidden

    @property
    def kept(self) -> int:
        """Entries of what a record keeps of a step for the way back."""
        return self.product

    @property
    def record_width(self) -> int:
        """Entries per step and sequence of a record with its trace: states, x, delta, what is kept, drives."""
        return 2 * self.state + self.product + self.kept + self.drive * (1 if self.additive else 2)

    @property
    def error_width(self) -> int:
        """Entries per step and sequence that a way back makes of given errors: those of whole states."""
        return self.state

    @abstractmethod
    def engine(self) -> Engine:
        """What runs the cell where no fused loop does."""

    @abstractmethod
    def moved(
        self, state: State, drive: Drive, matrix: Float[Tensor, "P R A"], own: Own
    ) -> tuple[State, PreActivation]:
        """(The next state, a) of a whole step, differentiable in everything; `own` is spread over the mini-batch."""

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"] | None:
        """f' of all nonlinearities of one step, [P, B, K], from what is kept; None: it has none that saturate."""
        del kept, d, s, own
        return None


@dataclass(frozen=True)
class ProductCell(Cell):
    """A cell that reads its state through one product with the recurrent matrix.

    Elementwise kernels only, and none whose vector tails round differently (sigmoid is (1 + tanh(x / 2)) / 2): then
    rows cannot mix. Vectors of the cell's own arrive as [P, 1, K] or [P, B, K], matrices as [P, M, N].
    """

    @abstractmethod
    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """The next state, by differentiable operations."""

    def engine(self) -> Engine:
        """One-step vector-Jacobian products."""
        return CellEngine(self)

    def moved(
        self, state: State, drive: Drive, matrix: Float[Tensor, "P R A"], own: Own
    ) -> tuple[State, PreActivation]:
        """See `Cell.moved`."""
        a = numerics.matmul(state[..., : self.recurrent], matrix)
        return self.step(a, drive, state, own), a

    def forward(self, a: PreActivation, d: Drive, s: State, own: Own) -> tuple[State, Kept]:
        """The next state, and what `pull` wants to see again: a itself, unless a cell knows better."""
        return self.step(a, d, s, own), a

    def pull(
        self,
        kept: Kept,
        d: Drive,
        s: State,
        own: Own,
        g: State,
    ) -> Pulled:
        """Vector-Jacobian product of one step with g [P, B, S]; by autograd unless a cell knows better.

        The result's tensors are new: they may be written to.
        """
        # The update runs without autograd; only this one step builds a graph, and drops it at once.
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in (kept, d, s, *own.values())]
            named = dict(zip(own, leaves[3:], strict=True))
            result = self.step(leaves[0], leaves[1], leaves[2], named)
            parts = torch.autograd.grad(result, leaves, g, allow_unused=True)
        # An argument that the step does not use has no gradient; its zero may be written to.
        full = [torch.zeros_like(x) if part is None else part for x, part in zip(leaves, parts, strict=True)]
        # Cloned: autograd may hand out g itself where s is only added, and the loop writes into it.
        return Pulled(full[0], full[1], full[2].clone(), dict(zip(own, full[3:], strict=True)))


@dataclass
class CellRecord(Record):
    """A record that also holds what one-step products need again.

    Attributes:
        kept: [P, T, B, ...], see `ProductCell.forward`. drive: [P, T, B, D].
    """

    kept: Float[Tensor, "P T B K"] = field(default_factory=lambda: torch.empty(0, 0, 0, 0))
    drive: Float[Tensor, "P T B D"] = field(default_factory=lambda: torch.empty(0, 0, 0, 0))


@dataclass
class KeptRecord(Record):
    """A record with what a fused backward loop wants to see again.

    Attributes:
        kept: [P, T, B, ...], as the cell's `forward` has it; with layer norm more, see `recurrence.normed_cells`.
    """

    kept: Float[Tensor, "P T B K"] = field(default_factory=lambda: torch.empty(0, 0, 0, 0))


class CellEngine(ReferenceEngine):
    """Runs any `ProductCell` step by step; keeps the promises of `recurrence.base`.

    Attributes:
        cell: what runs.

    Numerics:
        Products as in `numerics.matmul`, with the matrix padded once per loop. A step before a row's own start is
        selected away with `where`. A record holds T (S + A + D) B entries.
    """

    name = "reference"

    def __init__(self, cell: ProductCell) -> None:
        self.cell = cell

    def forward(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> CellRecord:
        """See `Engine.forward`; ``h`` holds whole states [P, T + 1, B, S]; without w_in, drives are given."""
        del activation
        P, T, B, _ = inputs.shape
        drive = _drive(inputs, weights)
        s = inputs.new_zeros(P, T + 1, B, self.cell.state)
        if weights.h0 is not None:
            # h_0 may be narrower than the state; what it leaves, a cell's memory, begins at 0.
            s[:, 0, :, : weights.h0.shape[-1]] = weights.h0 if weights.h0.ndim == 3 else weights.h0[:, None, :]
        # P K -> P 1 K; matrices go as they are.
        own = {name: value[:, None, :] if value.ndim == 2 else value for name, value in weights.cell.items()}
        product, R, masks = _Product(weights.w_rec), self.cell.recurrent, weights.masks or LoopMasks()
        # From step `whole` on all sequences are at work, and nothing has to be selected away.
        active, whole, kept = own_steps(lengths, T)[..., None], _whole_from(lengths, T), inputs.new_empty(0)
        for t in range(T):
            a = product(read_state(s[:, t, :, :R], masks))
            new, again = self.cell.forward(a, drive[:, t], s[:, t], own)
            new = zoned(new, s[:, t], masks, t)
            # Only now is it known how much a step keeps.
            if not t:
                kept = inputs.new_empty(P, T, *again.shape[1:])
            kept[:, t] = again
            s[:, t + 1] = new if t >= whole else torch.where(active[:, t], new, s[:, t])
        return CellRecord(inputs, s, None, weights, lengths, kept, drive)

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`; `direct` may cover the visible part of the state only."""
        del activation
        assert isinstance(record, CellRecord)
        w, cell, R, masks = record.weights, self.cell, self.cell.recurrent, record.weights.masks or LoopMasks()
        P, T, B = record.drive.shape[:3]
        direct = whole_direct(direct, cell.state)
        delta, x = record.h.new_empty(P, T, B, w.w_rec.shape[-1]), torch.empty_like(record.h[:, 1:])
        # a and d enter as a sum: one buffer holds both gradients.
        drive = delta if cell.additive else torch.empty_like(record.drive)
        # Vectors spread over samples, so that their gradients come per sample and are summed in one fixed order.
        own = {k: v[:, None, :].expand(-1, B, -1) if v.ndim == 2 else v for k, v in w.cell.items()}
        total = {name: torch.zeros_like(value) for name, value in own.items()}
        product, active = _Product(w.w_rec.transpose(1, 2)), own_steps(record.lengths, T)[..., None]
        whole = _whole_from(record.lengths, T)
        g = direct.last if direct.steps is None else direct.steps[:, -1]
        assert g is not None
        for t in range(T - 1, -1, -1):
            if direct.steps is not None and t < T - 1:
                g = x[:, t + 1] + direct.steps[:, t]
            # Only while some sequence has not begun: later steps are everybody's own.
            some = t < whole
            # Idle samples add 0 to what a pull sums over the batch.
            given, passed = unzoned(torch.where(active[:, t], g, torch.zeros_like(g)) if some else g, masks, t)
            part = cell.pull(record.kept[:, t], record.drive[:, t], record.h[:, t], own, given)
            # The way through a: what the closed forms leave out, as it is the same for all cells.
            part.s[..., :R] += read_state(product(part.a), masks)
            if passed is not None:
                part.s.add_(passed)
            if some:
                part = _selected(part, active[:, t], g, w.cell)
            delta[:, t], x[:, t] = part.a, part.s
            if not cell.additive:
                drive[:, t] = part.d
            g = x[:, t]
            for name, value in part.own.items():
                total[name] = total[name] + value
        trace = Trace(record, direct, delta, x)
        return self._of(trace, drive, total), trace if keep else None

    def _of(self, trace: Trace, drive: Tensor, total: Own) -> LoopGradients:
        record, w = trace.record, trace.record.weights
        seen = record.h[:, :-1, :, : self.cell.recurrent]
        if w.masks is not None and w.masks.recurrent is not None:
            seen = seen * w.masks.recurrent[:, None]
        return LoopGradients(
            w_rec=self.outer(seen, trace.delta),
            w_in=None if w.w_in is None else self.outer(record.inputs, drive),
            bias=None if w.bias is None else numerics.row_sum(drive.flatten(1, 2)),
            h0=None if w.h0 is None else numerics.row_sum(trace.x[:, 0, :, : w.h0.shape[-1]]),
            inputs=drive if w.w_in is None else None,
            cell={k: numerics.row_sum(v) if w.cell[k].ndim == 2 else v for k, v in total.items()},
        )

    def tangent(
        self, trace: Trace, step: Float[Tensor, "P R A"], horizon: Int64[Tensor, " P"], activation: Activation
    ) -> Tangent:
        """Refused: the recursion is defined for the simple cell only (configs are checked before)."""
        del trace, step, horizon, activation
        raise ConfigError(f"{type(self.cell).__name__} has no tangent recursion", key="controllers.sampling")


def _whole_from(lengths: Int64[Tensor, "P ..."], T: int) -> int:
    """The step from which on all sequences are known to be at work; T where that cannot be known without waiting."""
    return T - asked(lambda: int(lengths.min())) if numerics.readable(lengths) else T


class _Product:
    """x -> x M row by row, M padded once; see `numerics.matmul` for the reason of the padding."""

    def __init__(self, matrix: Tensor) -> None:
        K, self.width = matrix.shape[1:]
        self.inner = -K % numerics.LANES
        self.matrix = pad(matrix, (0, -self.width % numerics.LANES, 0, self.inner)).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        if not self.width:
            return x.new_zeros(*x.shape[:2], 0)
        # Padded on both sides of the product alike: see `numerics.matmul`.
        if self.inner:
            x = pad(x, (0, self.inner))
        return torch.bmm(numerics.line_by_line(x), self.matrix)[..., : self.width]


def _drive(inputs: Float[Tensor, "P T B I"], weights: LoopWeights) -> Float[Tensor, "P T B D"]:
    """u_t w_in + bias for all steps at once."""
    drive = inputs
    if weights.w_in is not None:
        drive = numerics.matmul(inputs.flatten(1, 2), weights.w_in).unflatten(1, inputs.shape[1:3])
    return drive if weights.bias is None else drive + weights.bias[:, None, None, :]


def _selected(part: Pulled, on: Bool[Tensor, "P S 1"], g: Tensor, cell: Mapping[str, Float[Tensor, "P ..."]]) -> Pulled:
    """What idle steps hand back: g itself, and zeros; selected, so that non-finite values there cannot leak."""
    # A matrix's gradient is a sum over the batch: it is idle where all samples are.
    begun = {name: on if value.ndim == 2 else on.any(1, keepdim=True) for name, value in cell.items()}
    own = {name: torch.where(begun[name], value, torch.zeros_like(value)) for name, value in part.own.items()}
    a, d = (torch.where(on, value, torch.zeros_like(value)) for value in (part.a, part.d))
    return Pulled(a, d, torch.where(on, part.s, g), own)


def whole_direct(direct: Direct, size: int) -> Direct:
    """The direct part of the whole state: zero beyond the visible part."""
    parts = [None if part is None else pad(part, (0, size - part.shape[-1])) for part in (direct.last, direct.steps)]
    return Direct(*parts)


def sigmoid(x: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """Logistic function as (1 + tanh(x / 2)) / 2: the same in every vector lane."""
    return 0.5 * (1 + torch.tanh(0.5 * x))


def softplus(x: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """log(1 + e^x) without overflow; torch's own kernel rounds differently at the ends of vectors."""
    return x.clamp_min(0) + torch.log1p(torch.exp(-x.abs()))
