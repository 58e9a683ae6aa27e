"""The fused CPU engine of gated cells: see `rnnsweep.core.recurrence.base` for the contract."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rnnsweep.core.activations import ACTIVATIONS, Activation
from rnnsweep.core.recurrence.cells import Cell, whole_direct
from rnnsweep.core.recurrence.cpu.engine import CpuEngine
from rnnsweep.core.recurrence.cpu.gated_jobs import GRU, LSTM, GatedBackwardJob, GatedForwardJob
from rnnsweep.core.recurrence.cpu.layout import Held, width_of
from rnnsweep.core.recurrence.cpu.threads import RowThreads
from rnnsweep.core.recurrence.cpu.workspace import ALIGN, Workspace
from rnnsweep.core.recurrence.gated import GruCell, LstmCell
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record, Tangent, Trace
from rnnsweep.errors import ConfigError

_PACKAGE = "rnnsweep.core.recurrence.cpu"


@dataclass(frozen=True)
class _Form:
    """Sizes of a cell in units of H: columns of the recurrent matrix, entries kept, entries of the state."""

    kind: int
    gates: int
    kept: int
    state: int


_FORMS: Mapping[type[Cell], _Form] = {LstmCell: _Form(LSTM, 4, 5, 2), GruCell: _Form(GRU, 3, 4, 1)}
"""Cells that have loops here; a subclass may compute something else."""


@dataclass
class GatedRecord(Record):
    """A record with what the backward loop wants to see again.

    Attributes:
        kept: [P, T, B, 5 H] of the LSTM: i, f, g, o, tanh(c); [P, T, B, 4 H] of the GRU: r, z, n, h U_n + b_n.
    """

    kept: Tensor = field(default_factory=lambda: torch.empty(0))


class GatedEngine:
    """Fused loops of one cell: LSTM or GRU; what `CpuEngine` promises about rows, threads and buffers holds here too.

    Records and traces are those of `CellEngine`: states [P, T + 1, B, S], delta = dC/da_t.

    Attributes:
        name: ``cpu``.
        tile: rows whose records stay in the L3 cache together.
        cell: what runs.
        threads: threads that rows are spread over; one row is always one thread's.

    Numerics:
        As for `CpuEngine`: every entry of a product is summed in the order of its inner index, elementwise work is the
        same in every vector lane, so that no bit of a row depends on other rows, on P or on the number of threads. The
        sigmoid is (1 + tanh(x / 2)) / 2. NaN and inf stay in their row; steps before a row's start are not read.
    """

    name = "cpu"
    tile: int | None = 8

    def __init__(self, cell: Cell, threads: int | None = None) -> None:
        self.cell, self._form = cell, _FORMS[type(cell)]
        self._plain, self._workspace = CpuEngine(threads), Workspace()
        self._threads = RowThreads(threads, self._workspace)
        self.threads = self._threads.count

    @staticmethod
    def knows(cell: Cell) -> bool:
        """Whether the cell has a loop here."""
        return type(cell) in _FORMS

    def refuses(self, activation: Activation, dtype: torch.dtype) -> str | None:
        """No numba, no FMA vectors, or another type than float32 and float64; a gated cell has its own activations."""
        del activation
        return self._plain.refuses(ACTIVATIONS["tanh"], dtype)

    def forward(self, inputs: Tensor, weights: LoopWeights, activation: Activation, lengths: Tensor) -> GatedRecord:
        """See `Engine.forward`; without w_in, drives are given."""
        del activation
        P, T, B, inner = inputs.shape
        form, H, dtype = self._form, self.cell.hidden, inputs.dtype
        held, new = Held(dtype), self._workspace.take
        inputs = inputs.contiguous()
        h = new((P, T + 1, B, form.state * H), dtype)
        kept = new((P, T, B, form.kept * H), dtype)
        job = GatedForwardJob(
            T=T, B=B, H=H, I=inner, kind=form.kind, inputs=held(inputs), **held.matrix(weights.w_rec),
            w_in=held(weights.w_in), bias=held(weights.bias), own=held(weights.cell.get("b_n")), h0=held(weights.h0),
            h0_width=_width(weights.h0), lengths=held(lengths), h=held.view(h), kept=held.view(kept),
        )  # fmt: skip
        wide = width_of(2 * H, dtype) + 2 * width_of(H, dtype)
        self._run("forward", job, P, dtype, (H + (inner if weights.w_in is not None else 0) + 2 * B) * wide)
        return GatedRecord(inputs, h, None, weights, lengths, kept)

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`; `direct` may cover the visible part of the state only."""
        del activation
        assert isinstance(record, GatedRecord)
        w, form, H, dtype = record.weights, self._form, self.cell.hidden, record.h.dtype
        P, T, B, inner = record.inputs.shape
        A, new, held = form.gates * H, self._workspace.take, Held(dtype)
        chunk, whole = min(T, -(-96 // B)), keep or w.w_in is None  # as in `CpuEngine`
        delta = new((P, T, B, 4 * H) if whole else (self.threads, chunk, B, 4 * H), dtype)
        x = new((P, T, B, form.state * H), dtype) if keep else None
        grads = LoopGradients(
            w_rec=new((P, H, A), dtype),
            w_in=None if w.w_in is None else new((P, inner, A), dtype),
            bias=None if w.bias is None else new((P, A), dtype),
            h0=None if w.h0 is None else new((P, _width(w.h0)), dtype),
            cell={name: new((P, H), dtype) for name in w.cell},
        )
        given = direct.last if direct.steps is None else direct.steps
        job = GatedBackwardJob(
            T=T, B=B, H=H, I=inner, kind=form.kind, inputs=held(record.inputs), **held.matrix(w.w_rec),
            lengths=held(record.lengths), h=held(record.h), kept=held(record.kept), last=held(direct.last),
            steps=held(direct.steps), direct_width=_width(given), delta=held.view(delta), x=held.view(x), chunk=chunk,
            ring=int(not whole), dw_rec=held.view(grads.w_rec), dw_in=held.view(grads.w_in),
            dbias=held.view(grads.bias), down=held.view(grads.cell.get("b_n")), dh0=held.view(grads.h0),
            h0_width=_width(w.h0),
        )  # fmt: skip
        full = width_of(H, dtype)
        own = (2 * B + 1 + A) * full + H * width_of(A, dtype) + (inner + 1) * width_of(4 * H, dtype)
        self._run("backward", job, P, dtype, own + ALIGN)
        if w.w_in is None:
            grads.inputs = self._drives(delta)
        return grads, Trace(record, whole_direct(direct, form.state * H), delta[..., :A], x) if x is not None else None

    def tangent(self, trace: Trace, step: Tensor, horizon: Tensor, activation: Activation) -> Tangent:
        """Refused: the recursion is defined for the simple cell only (configs are checked before)."""
        del trace, step, horizon, activation
        raise ConfigError(f"{type(self.cell).__name__} has no tangent recursion", key="controllers.sampling")

    def outer(self, left: Tensor, right: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `Engine.outer`."""
        return self._plain.outer(left, right, weight)

    def square_norms(self, x: Tensor) -> Tensor:
        """See `Engine.square_norms`."""
        return self._plain.square_norms(x)

    def matmul(self, left: Tensor, right: Tensor) -> Tensor:
        """See `Engine.matmul`."""
        return self._plain.matmul(left, right)

    def _drives(self, delta: Tensor) -> Tensor:
        """Gradients of given drives: the deltas, but for the GRU's candidate, whose drive has its own."""
        if self._form.kind == LSTM:
            return delta
        H = self.cell.hidden
        return torch.cat((delta[..., : 2 * H], delta[..., 3 * H :]), -1)

    def _run(self, kernel: str, job: Any, P: int, dtype: torch.dtype, scratch: int) -> None:
        """Run a kernel over the rows; `scratch`: elements per thread."""
        loop = getattr(importlib.import_module(f"{_PACKAGE}.gated_{kernel}"), f"gated_{kernel}_rows")
        self._threads.run(loop, job, P, dtype, scratch)


def _width(x: Tensor | None) -> int:
    return 0 if x is None else x.shape[-1]
