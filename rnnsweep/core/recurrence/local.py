"""Derivatives of a loop's single steps, at the states that it went through: what rules carry forward in time.

Parameters enter a step through columns: entry c of a pre-activation, a drive or a vector of the cell's own. All that
leads into one of them with the same kind of signal is a `Source`: C columns, each fed by M lines (states, inputs, 1):

    ds_t / d theta[c, m] = G_t[:, c] x_t[m]        G_t = ds_t / d column, s_{t-1} held

Shapes: see `core.types`; S entries of a state, Q vectors per sequence, N = sum of C M over the sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.cells import Cell, ProductCell
from rnnsweep.core.recurrence.reference import slope_at
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import LoopGradients, Record

RECURRENT, DRIVE, START = "w_rec", "drive", "h0"
"""Names of sources; others have the names of the loop's vectors."""


@dataclass(frozen=True)
class Source:
    """Parameters that enter a step side by side.

    Attributes:
        name: ``w_rec``; ``drive`` (w_in and bias); ``h0``; ``act_bias``, or the name of one of the cell's own.
        columns: C. lines: M.
    """

    name: str
    columns: int
    lines: int

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.columns * self.lines


@dataclass
class StepPull:
    """Vector-Jacobian products of one step with Q vectors per sequence.

    Attributes:
        own: for s_{t-1}, without the way through the recurrent matrix: a cell's own memory, a leak.
        columns: for the columns of every source.
    """

    own: Float[Tensor, "P B Q S"]
    columns: dict[str, Float[Tensor, "P B Q C"]]


class LocalSteps:
    """Derivatives of the steps of a forward record; step indices count from 0.

    Attributes:
        record: of any engine; drives that were given instead of inputs are refused.
        sources: all but those that a cell's closed form knows to be untrained; a step's, then ``h0``.
        rows, steps, batch, size: P, T, B and S.
        active: bool [P, T, S], a sequence's own steps.

    Numerics:
        Elementwise kernels and `numerics.matmul` only. Steps before a row's own start have derivatives too, of no
        meaning: the caller selects them away. Memory: Q times one step's, and Q matrices per sequence where the cell
        has a matrix of its own.
    """

    def __init__(self, record: Record, activation: Activation, cell: Cell | None, *, trained_start: bool) -> None:
        record, w = record.whole(), record.weights
        assert cell is None or isinstance(cell, ProductCell)  # own cells are refused
        assert w.w_in is not None  # families with a filter of their own are refused
        self.record, self.activation, self.cell = record, activation, cell
        self.rows, last, self.batch, self.size = record.h.shape
        self.steps = last - 1
        self.active = own_steps(record.lengths, self.steps)
        # P T B M: what the drive's columns are fed with.
        one = [] if w.bias is None else [record.h.new_ones(*record.inputs.shape[:3], 1)]
        self._fed = torch.cat((record.inputs, *one), -1)
        self._drive = None if cell is None else self._drives()
        none = record.h.new_zeros(self.rows, self.batch, 1, self.size)
        sizes = {name: part.shape[-1] for name, part in self.pull(self.steps - 1, none).columns.items()}
        lines = {RECURRENT: w.w_rec.shape[1], DRIVE: self._fed.shape[-1]}
        named = [Source(name, columns, lines.get(name, 1)) for name, columns in sizes.items()]
        if trained_start and w.h0 is not None and w.h0.ndim == 2:
            named.append(Source(START, w.h0.shape[-1], 1))
        self.sources = tuple(source for source in named if source.size)

    @property
    def parameters(self) -> int:
        """N."""
        return sum(source.size for source in self.sources)

    def pull(self, t: int, g: Float[Tensor, "P B Q S"]) -> StepPull:
        """J_t^T g for step index t, with respect to the state before it and to all columns."""
        return self._pull_simple(t, g) if self.cell is None else self._pull_cell(self.cell, t, g)

    def jacobian(self, pulled: StepPull) -> Float[Tensor, "P B Q S"]:
        """The whole J_t^T g: the cell's own way, and that through the recurrent matrix."""
        back = pulled.columns[RECURRENT]  # P B Q A
        if not back.shape[-1]:
            return pulled.own
        through = numerics.matmul(back.flatten(1, 2), self.record.weights.w_rec.transpose(1, 2))  # P BQ R
        through = through.unflatten(1, back.shape[1:3])
        missing = self.size - through.shape[-1]
        return pulled.own + (torch.nn.functional.pad(through, (0, missing)) if missing else through)

    def push(self, t: int, v: Float[Tensor, "P B S"]) -> Float[Tensor, "P B S"]:
        """J_t v for step index t, parameters held."""
        w = self.record.weights
        if self.cell is None:
            moved = self.activation.pushforward(slope_at(self.record, self.activation, t), numerics.matmul(v, w.w_rec))
            if w.leak is None:
                return moved
            leak = w.leak[:, None, None]
            return (1 - leak) * v + leak * moved
        a, d, s = self._at(self.cell, t)
        da = numerics.matmul(v[..., : self.cell.recurrent], w.w_rec) if a.shape[-1] else torch.zeros_like(a)
        own = {name: value[:, None, :] if value.ndim == 2 else value for name, value in w.cell.items()}
        with torch.enable_grad():
            a, s = a.detach().requires_grad_(), s.detach().clone().requires_grad_()
            new = self.cell.step(a, d, s, own)
            # Forward mode as the derivative of a pull-back, as in `families.mapping.push`.
            dummy = torch.zeros_like(new, requires_grad=True)
            parts = torch.autograd.grad(new, [a, s], dummy, create_graph=True, allow_unused=True)
            # Entry by entry: a sum over rows would be no row's own.
            used = [(part, by) for part, by in zip(parts, (da, v), strict=True) if part is not None]
            moved = torch.autograd.grad([part for part, _ in used], dummy, [by for _, by in used])
        return moved[0]

    def immediate(self, t: int, columns: Mapping[str, Float[Tensor, "P B Q C"]]) -> Float[Tensor, "P B Q N"]:
        """Products with ds_t/dtheta, s_{t-1} held, from those with the columns: all sources side by side."""
        first = next(iter(columns.values()))
        blocks = [
            (columns[source.name][..., None] * self.fed(source, t)[:, :, None, None, :]).flatten(3)
            for source in self.sources
            if source.name != START
        ]
        start = [first.new_zeros(*first.shape[:3], s.size) for s in self.sources if s.name == START]
        return torch.cat((*blocks, *start), -1)

    def fed(self, source: Source, t: int) -> Float[Tensor, "P B M"]:
        """x_t: what the source's columns are fed with at step index t."""
        if source.name == RECURRENT:
            return self.record.h[:, t, :, : source.lines]
        if source.name == DRIVE:
            return self._fed[:, t]
        return self._fed.new_ones(self.rows, self.batch, 1)

    def gradients(self, flat: Float[Tensor, "P N"]) -> LoopGradients:
        """Gradients of the loop's weights from those of all sources side by side."""
        parts = dict(zip((s.name for s in self.sources), flat.split([s.size for s in self.sources], 1), strict=True))
        # C M -> M C: weights are [from, to].
        named = {
            s.name: parts[s.name].unflatten(1, (s.columns, s.lines)).transpose(1, 2).contiguous() for s in self.sources
        }
        w, zero = self.record.weights, torch.zeros_like
        assert w.w_in is not None
        drive = named.get(DRIVE)
        inputs = w.w_in.shape[1]
        cell = {
            name: named[name].reshape(value.shape) if name in named else zero(value) for name, value in w.cell.items()
        }
        return LoopGradients(
            w_rec=named.get(RECURRENT, zero(w.w_rec)),
            w_in=zero(w.w_in) if drive is None else drive[:, :inputs],
            bias=None if w.bias is None or drive is None else drive[:, inputs],
            act_bias=None if w.act_bias is None else named["act_bias"][:, 0],
            h0=None if w.h0 is None else named[START][:, 0] if START in named else zero(w.h0),
            cell=cell,
        )

    def _pull_simple(self, t: int, g: Tensor) -> StepPull:
        w, slope = self.record.weights, slope_at(self.record, self.activation, t)[:, :, None]  # P B 1 H
        scaled, own, after = g, torch.zeros_like(g), self.record.h[:, t + 1]
        if w.leak is not None:
            leak = w.leak[:, None, None]
            scaled, own = leak[..., None] * g, (1 - leak[..., None]) * g
            after = after - (1 - leak) * self.record.h[:, t]
        a = self.activation.pullback(slope, scaled)
        columns = {RECURRENT: a, DRIVE: a}
        if w.act_bias is not None:
            part = self.activation.bias_gradient(slope, after[:, :, None], scaled)
            assert part is not None
            columns["act_bias"] = part
        return StepPull(own, columns)

    def _pull_cell(self, cell: ProductCell, t: int, g: Tensor) -> StepPull:
        a, d, s = self._at(cell, t)
        own = self.record.weights.cell
        kept = cell.forward(a, d, s, {n: v[:, None, :] if v.ndim == 2 else v for n, v in own.items()})[1]
        return pull_cell(cell, (kept, d, s), own, g)

    def _at(self, cell: ProductCell, t: int) -> tuple[Tensor, Tensor, Tensor]:
        """a, d and s of step index t."""
        assert self._drive is not None
        w, s = self.record.weights, self.record.h[:, t]
        if not w.w_rec.shape[-1]:
            return s.new_zeros(*s.shape[:2], 0), self._drive[:, t], s
        return numerics.matmul(s[..., : cell.recurrent], w.w_rec), self._drive[:, t], s

    def _drives(self) -> Tensor:
        w, inputs = self.record.weights, self.record.inputs
        assert w.w_in is not None
        drive = numerics.matmul(inputs.flatten(1, 2), w.w_in).unflatten(1, inputs.shape[1:3])
        return drive if w.bias is None else drive + w.bias[:, None, None, :]


def pull_cell(
    cell: ProductCell,
    at: tuple[Float[Tensor, "P B K"], Float[Tensor, "P B D"], Float[Tensor, "P B S"]],
    own: Mapping[str, Float[Tensor, "P ..."]],
    g: Float[Tensor, "P B Q S"],
) -> StepPull:
    """`ProductCell.pull` with Q vectors per sequence, every one as a row of its own.

    Args:
        cell: whose step it is.
        at: what `ProductCell.forward` kept, d and s.
        own: the cell's own vectors [P, K] and matrices [P, M, N], whose gradients come per vector that way.
        g: the vectors.
    """
    shape, count = g.shape[:3], g.shape[:3].numel()
    kept, d, s = (x[:, :, None].expand(*shape, -1).reshape(count, 1, x.shape[-1]) for x in at)
    spread: dict[str, Tensor] = {}
    for name, value in own.items():
        each = value[:, None, None].expand(*shape, *value.shape[1:])
        spread[name] = each.reshape(count, *(() if value.ndim == 3 else (1,)), *value.shape[1:])
    part = cell.pull(kept, d, s, spread, g.reshape(count, 1, g.shape[-1]))
    columns = {RECURRENT: part.a, DRIVE: part.d, **part.own}
    flat = {name: value.reshape(*shape, value.shape[1:].numel()) for name, value in columns.items()}
    return StepPull(part.s.reshape(g.shape), flat)
