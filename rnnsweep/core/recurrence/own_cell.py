"""Time loops of steps that only torch knows: any differentiable function of inputs, state and parameters of one row.

Such a step is run row by row, so that it sees the same memory whether its row is alone or packed: batched over rows
(`torch.func.vmap`), `sigmoid`, `softplus`, `pow` and others round differently with the width of a pack
(docs/decisions/0017-your-own-cell.md).

All parameters of a row are one line, which stands where other loops have their recurrent matrix: [P, 1, N]. So what
controllers do with "the recurrent matrix" is done with everything that the step reads, and what is a formula elsewhere
is autograd here. With J_t = ds_t/ds_{t-1} of the one step alone:

    x_t = J_t^T g_t        delta_t = g_t = dC/ds_t

Shapes: see `core.types`; N entries of a row's line.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.base import Tangent
from rnnsweep.core.recurrence.cells import Cell, CellRecord, State, whole_direct
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.sequence_lengths import own_steps, row_lengths
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record, Trace

RowStep = Callable[[Float[Tensor, " N"], Float[Tensor, "B I"], Float[Tensor, "B S"]], Float[Tensor, "B S"]]
"""(line [N], inputs [B, I], state [B, S]) -> next state [B, S], of one row."""


class Stepping(ABC):
    """What makes a row's step of the row's constants."""

    @abstractmethod
    def of_row(self, like: Float[Tensor, "... I"], constants: Mapping[str, Float[Tensor, ""]]) -> RowStep:
        """The step for inputs as wide as `like`, in its dtype and on its device."""


@dataclass(frozen=True)
class OwnCell(Cell):
    """A cell whose step is run row by row.

    Attributes:
        stepping: what makes its steps; hashable.
        states: number of state tensors, H wide each; the read-out sees the first.
    """

    stepping: Stepping
    states: int = 1

    @property
    def state(self) -> int:
        """All state tensors side by side."""
        return self.states * self.hidden

    @property
    def recurrent(self) -> int:
        """The whole state."""
        return self.state

    @property
    def product(self) -> int:
        """Deltas are errors of the state."""
        return self.state

    @property
    def kept(self) -> int:
        """Steps are run again on the way back."""
        return 0

    @property
    def record_width(self) -> int:
        """States, x, delta."""
        return 3 * self.state

    def engine(self) -> OwnCellEngine:
        """Row by row."""
        return OwnCellEngine(self)

    def moved(
        self,
        state: State,
        drive: Float[Tensor, "P B I"],
        matrix: Float[Tensor, "P 1 N"],
        own: Mapping[str, Float[Tensor, "P ..."]],
    ) -> tuple[State, Float[Tensor, "P B I"]]:
        """See `Cell.moved`."""
        # `unbind`: its gradient is put together again without a sum over rows.
        lines, drives, states = matrix.unbind(0), drive.unbind(0), state.unbind(0)
        copies = [(apart(lines[p][0]), apart(drives[p]), apart(states[p])) for p in range(len(lines))]
        new = [apart(self.row(p, drive, own)(*parts)) for p, parts in enumerate(copies)]
        return torch.stack(new), drive

    def row(self, p: int, like: Float[Tensor, "P ... I"], own: Mapping[str, Float[Tensor, "P ..."]]) -> RowStep:
        """The step of row p."""
        return self.stepping.of_row(like[p], {name: value[p].reshape(()) for name, value in own.items()})


class _Apart(torch.autograd.Function):
    """A copy whose gradient is a copy, and its gradient in turn."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        del ctx
        return x.clone(memory_format=torch.contiguous_format)

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        del ctx
        return apart(g)


def apart(x: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """x in memory of its own, in every derivative too: products may round by where a row begins in its pack."""
    copy = _Apart.apply(x)
    assert isinstance(copy, Tensor)
    return copy


@dataclass
class _Row:
    """One row of a record, in memory of its own: kernels may round by alignment.

    Attributes:
        p: its place. first: index of its first own step. step: how it steps.
        begun: bool [T, B, 1], own steps of each sequence; None where all begin together.
        line: [N]. inputs: [T, B, I]. h: [T + 1, B, S].
    """

    p: int
    first: int
    begun: Tensor | None
    step: RowStep
    line: Tensor
    inputs: Tensor
    h: Tensor

    def moved(self, t: int, line: Tensor, inputs: Tensor, state: Tensor) -> Tensor:
        """The states [B, S] after step index t; a sequence that has not begun keeps its own."""
        new = self.step(line, inputs, state)
        return new if self.begun is None else torch.where(self.begun[t], new, state)


class OwnCellEngine(ReferenceEngine):
    """Runs an `OwnCell` row by row; keeps the promises of `recurrence.base`.

    Numerics:
        A row's numbers are what its step gives on copies of its own memory: no neighbour can change a bit. Backward, a
        row's steps are run again as one graph, which is dropped with the row. Steps before a row's start are not run.
    """

    def __init__(self, cell: OwnCell) -> None:
        self.cell = cell

    def forward(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> CellRecord:
        """See `Engine.forward`; ``h`` holds whole states [P, T + 1, B, S]."""
        del activation
        P, T, B, _ = inputs.shape
        h = inputs.new_zeros(P, T + 1, B, self.cell.state)
        if weights.h0 is not None:  # carried over: whole states
            h[:] = weights.h0[:, None]
        record = CellRecord(inputs, h, None, weights, lengths, kept=h[:, 1:, :, :0], drive=inputs)
        with torch.no_grad():
            for row in self._rows(record):
                state = row.h[row.first].clone()
                for t in range(row.first, T):
                    state = row.moved(t, row.line, row.inputs[t], state)
                    h[row.p, t + 1] = state
        return record

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`; `direct` may cover the visible part of the state only."""
        del activation
        w, direct = record.weights, whole_direct(direct, self.cell.state)
        # Idle steps hand back g itself, which before a row's start is what reaches its first state.
        x = torch.zeros_like(record.h[:, 1:])
        line, drive = torch.zeros_like(w.w_rec), torch.zeros_like(record.inputs)
        for row in self._rows(record):
            last = record.h.shape[1] - 1
            steps = None if direct.steps is None else direct.steps[row.p, row.first :].clone()
            given = [direct.last[row.p].clone()] if direct.last is not None else list(_each(steps))
            line[row.p, 0], back, drives = _pulled(row, last, given)
            x[row.p, row.first :], drive[row.p, row.first :] = torch.stack(back), torch.stack(drives)
            x[row.p, : row.first] = back[0]
        trace = Trace(record, direct, x, x)
        trace.delta = trace.totals()
        trace.delta[~own_steps(record.lengths, x.shape[1]).expand(x.shape[:3])] = 0.0
        cell = {name: torch.zeros_like(value) for name, value in w.cell.items()}
        h0 = None if w.h0 is None else x[:, 0]
        return LoopGradients(line, h0=h0, inputs=drive, cell=cell), trace if keep else None

    def immediate(self, trace: Trace, coefficient: Float[Tensor, "P T B"]) -> Float[Tensor, "P 1 N"]:
        """See `recurrence.base.StepEngine`."""
        record, g = trace.record, trace.totals()
        total = torch.zeros_like(record.weights.w_rec)
        for row in self._rows(record):
            for t in range(row.first, g.shape[1]):
                line, _, back = _handed_back(row, t, g[row.p, t].clone())
                weight = coefficient[row.p, t, :, None] * back.detach()
                total[row.p, 0] += _grad(back, line, weight)
        return total

    def tangent(
        self, trace: Trace, step: Float[Tensor, "P 1 N"], horizon: Int64[Tensor, " P"], activation: Activation
    ) -> Tangent:
        """See `Engine.tangent`: here states and delta_T are frozen, and all of the step's parameters move."""
        del activation
        T = trace.x.shape[1]
        delta = trace.delta[:, -1].clone()
        ddelta, exponent = torch.zeros_like(delta), torch.zeros_like(trace.record.lengths)
        for row in self._rows(trace.record):
            g, dg, change = delta[row.p].clone(), ddelta[row.p].clone(), step[row.p, 0].clone()
            for back in range(int(horizon[row.p])):
                # Scaled before every step, so that deltas of 1e-80 survive in float32.
                power = numerics.exponent_of(g.abs().amax())
                g, dg = numerics.scale_by_power(g, -power), numerics.scale_by_power(dg, -power)
                g, dg = _pushed(row, T - 1 - back, (g, dg), change)
                exponent[row.p] += power
            delta[row.p], ddelta[row.p] = g, dg
        return Tangent(delta, ddelta, exponent)

    def _rows(self, record: Record) -> Iterator[_Row]:
        T = record.h.shape[1] - 1
        own, begun = record.weights.cell, own_steps(record.lengths, T)[..., None]  # P T S 1
        for p, length in enumerate(row_lengths(record.lengths).tolist()):
            step = self.cell.row(p, record.inputs, own)
            parts = (record.weights.w_rec[p, 0], record.inputs[p], record.h[p])
            each = begun[p] if record.lengths.ndim == 2 else None
            yield _Row(p, T - length, each, step, *(part.detach().clone() for part in parts))


def _each(steps: Tensor | None) -> Iterator[Tensor]:
    assert steps is not None  # one of the two direct parts is given
    return iter(steps.unbind(0))


def _pulled(row: _Row, last: int, given: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Gradients of a row's line, x of its own steps, and gradients of its inputs; `given`: of the last states."""
    with torch.enable_grad():
        line = row.line.requires_grad_()
        inputs = [row.inputs[t].clone().requires_grad_() for t in range(row.first, last)]
        state, before, after = row.h[row.first].clone().requires_grad_(), list[Tensor](), list[Tensor]()
        for t, u in enumerate(inputs, row.first):
            # A copy for the step alone: its gradient is what the step hands back, without the loss's own part.
            before.append(state.clone())
            state = row.moved(t, line, u, before[-1])
            after.append(state)
        leaves = [line, *before, *inputs]
        parts = torch.autograd.grad(after[-len(given) :], leaves, list(given), allow_unused=True)
    full = [torch.zeros_like(leaf) if part is None else part for leaf, part in zip(leaves, parts, strict=True)]
    count = 1 + len(before)
    return full[0], full[1:count], full[count:]


def _handed_back(row: _Row, t: int, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A row's line, g, and J_t^T g as a function of both."""
    with torch.enable_grad():
        line, state = row.line.detach().requires_grad_(), row.h[t].clone().requires_grad_()
        g = g.requires_grad_()
        new = row.step(line, row.inputs[t].clone(), state)
        (back,) = torch.autograd.grad(new, [state], g, create_graph=True, allow_unused=True)
    return line, g, torch.zeros_like(g) if back is None else back


def _pushed(row: _Row, t: int, pair: tuple[Tensor, Tensor], change: Tensor) -> tuple[Tensor, Tensor]:
    """J_t^T g, and its change where g moves by dg and the line by `change`."""
    line, g, back = _handed_back(row, t, pair[0])
    with torch.enable_grad():
        # Forward mode as the derivative of a pull-back, as in `families.mapping.push`.
        dummy = torch.zeros_like(back, requires_grad=True)
        if not back.requires_grad:
            return back, torch.zeros_like(back)
        parts = torch.autograd.grad(back, [line, g], dummy, create_graph=True, allow_unused=True)
        total = [(part * by).sum() for part, by in zip(parts, (change, pair[1]), strict=True) if part is not None]
        moved = _grad(torch.stack(total).sum(), dummy, None) if total else torch.zeros_like(dummy)
    return back.detach(), moved


def _grad(output: Tensor, leaf: Tensor, weight: Tensor | None) -> Tensor:
    """A gradient; 0 where the output does not depend on the leaf."""
    if not output.requires_grad:
        return torch.zeros_like(leaf)
    (part,) = torch.autograd.grad(output, [leaf], weight, allow_unused=True)
    return torch.zeros_like(leaf) if part is None else part
