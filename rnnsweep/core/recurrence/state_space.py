"""Blocks around a linear, diagonal, complex recurrence: norm, states, gate, skip. Shapes: see `core.types`.

Only the recurrence itself goes step by step; what stands before and behind it is pointwise in time and is run over all
steps at once. N complex states, X = 2 N, M = T B positions, G entries of the gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.base import Tangent
from rnnsweep.core.recurrence.block_formulas import EPSILON, gelu, rotated, sigmoid, turned_by
from rnnsweep.core.recurrence.cells import Cell, CellRecord, Drive, Own, PreActivation, State, whole_direct
from rnnsweep.core.recurrence.described_cells import TENSORS
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.recurrence.unrolled import spread
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record, Trace
from rnnsweep.errors import ConfigError


@dataclass(frozen=True)
class StateSpaceCell(Cell):
    """One block; its state is what it shows [H], then Re x and Im x [N each].

        u: the drive, inputs W_in + b where there is such           z = norm(u) (`prenorm`), or u
        x_t = lambda x_{t-1} + z_t B                                y = [Re x, Im x] C + d z
        out = gate(gelu(y))                                          shown = u + out, or norm(u + out)

    Own parameters: ``lam_re``, ``lam_im`` [N], ``b`` [H, 2N], ``c`` [2N, H], ``d``, ``gain``, ``shift`` [H], and
    where there is one the gate's ``w_gate`` [H, G] and ``b_gate`` [G].

    Attributes:
        states: N.
        gate: ``full_glu``: (v W_1 + b_1) sigmoid(v W_2 + b_2), v = gelu(y); ``half_glu``: v sigmoid(v W + b);
            ``gelu``: v.
        prenorm: whether layer norm comes first, else last.

    Numerics:
        gelu in its tanh form, as jax.nn.gelu. Sums over units are products, so that rows do not mix.
    """

    states: int = 1
    gate: str = "full_glu"
    prenorm: bool = True

    fused: ClassVar[Mapping[str, str]] = {"cpu": "rnnsweep.core.recurrence.cpu.engine.blocks:BlockEngine"}

    @property
    def gate_width(self) -> int:
        """G, columns of the gate's matrix; 0 where there is none."""
        return {"full_glu": 2 * self.hidden, "half_glu": self.hidden}.get(self.gate, 0)

    @property
    def state(self) -> int:
        """What is shown, and x."""
        return self.hidden + 2 * self.states

    @property
    def recurrent(self) -> int:
        """No matrix reads the state."""
        return 0

    @property
    def product(self) -> int:
        """Nor is there a product."""
        return 0

    @property
    def kept(self) -> int:
        """None that all engines keep."""
        return 0

    @property
    def record_width(self) -> int:
        """States, x, and what fused loops keep: drives, what goes into gelu and the gate, a line for mean and spread.

        Step by step the way back makes a graph of one layer at a time in their place.
        """
        return 2 * self.state + 2 * self.hidden + self.gate_width + 16

    def engine(self) -> StateSpaceEngine:
        """All steps at once but for the recurrence."""
        return StateSpaceEngine(self)

    def moved(
        self, state: State, drive: Drive, matrix: Float[Tensor, "P R A"], own: Own
    ) -> tuple[State, PreActivation]:
        """See `Cell.moved`."""
        z, into = self.before(drive, own)
        N = self.states
        re, im = state[..., self.hidden : self.hidden + N], state[..., self.hidden + N :]
        re, im = rotated(own["lam_re"], own["lam_im"], re, im)
        x = torch.cat((re, im), -1) + into
        return torch.cat((self.after(x, drive, z, own), x), -1), matrix.new_zeros(*state.shape[:2], 0)

    def before(
        self, u: Float[Tensor, "P M H"], own: Mapping[str, Float[Tensor, "P ..."]]
    ) -> tuple[Float[Tensor, "P M H"], Float[Tensor, "P M X"]]:
        """z and z B at any positions; vectors of `own` are spread over them."""
        z = layer_norm(u, own["gain"], own["shift"]) if self.prenorm else u
        return z, numerics.matmul(z, own["b"])

    def after(
        self,
        x: Float[Tensor, "P M X"],
        u: Float[Tensor, "P M H"],
        z: Float[Tensor, "P M H"],
        own: Mapping[str, Float[Tensor, "P ..."]],
    ) -> Float[Tensor, "P M H"]:
        """What is shown."""
        v = gelu(TENSORS, numerics.matmul(x, own["c"]) + own["d"] * z)
        if self.gate != "gelu":
            w = numerics.matmul(v, own["w_gate"]) + own["b_gate"]
            H = self.hidden
            v = w[..., :H] * sigmoid(TENSORS, w[..., H:]) if self.gate == "full_glu" else v * sigmoid(TENSORS, w)
        shown = u + v
        return shown if self.prenorm else layer_norm(shown, own["gain"], own["shift"])


def layer_norm(
    x: Float[Tensor, "P M H"], gain: Float[Tensor, "P _ H"], shift: Float[Tensor, "P _ H"]
) -> Float[Tensor, "P M H"]:
    """Mean 0 and variance 1 over the units, then gain and shift (Ba et al. 2016)."""
    mean = x.new_full((len(x), x.shape[-1], 1), 1 / x.shape[-1])
    centred = x - numerics.matmul(x, mean)
    variance = numerics.matmul(centred * centred, mean)
    return centred / torch.sqrt(variance + EPSILON) * gain + shift


def _over_positions(weights: LoopWeights) -> Own:
    """The cell's own parameters, vectors spread over positions."""
    return {name: value[:, None] if value.ndim == 2 else value for name, value in weights.cell.items()}


class StateSpaceEngine(ReferenceEngine):
    """Runs a `StateSpaceCell`; keeps the promises of `recurrence.base`.

    Numerics:
        The recurrence goes from step to step, elementwise. Backward, what is pointwise in time is run again as one
        graph per mini-batch, dropped at once; the recurrence's own way back is in closed form.
    """

    def __init__(self, cell: StateSpaceCell) -> None:
        self.cell = cell

    def forward(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> CellRecord:
        """See `Engine.forward`; ``h`` holds whole states [P, T + 1, B, S]."""
        record, z = self._states(inputs, weights, lengths)
        (T, B), H, u = inputs.shape[1:3], self.cell.hidden, record.drive
        own = _over_positions(weights)
        active = own_steps(lengths, T)[..., None]
        x = record.h[:, 1:, :, H:].flatten(1, 2)
        shown = self.cell.after(x, u.flatten(1, 2), z.flatten(1, 2), own).unflatten(1, (T, B))
        record.h[:, 1:, :, :H] = torch.where(active, shown, record.h[:, :1, :, :H])
        self._show_last(record, z, own)  # anew: it shall have the same bits where it is shown alone
        return record

    def forward_last(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> CellRecord:
        """See `LastStepEngine.forward_last`: what is behind the recurrence is made of the last step alone."""
        record, z = self._states(inputs, weights, lengths)
        self._show_last(record, z, _over_positions(weights))
        return record

    def _show_last(self, record: CellRecord, z: Float[Tensor, "P T B H"], own: Own) -> None:
        H, drive = self.cell.hidden, record.drive
        record.h[:, -1, :, :H] = self.cell.after(record.h[:, -1, :, H:].contiguous(), drive[:, -1], z[:, -1], own)

    def _states(
        self, inputs: Float[Tensor, "P T B I"], weights: LoopWeights, lengths: Int64[Tensor, "P ..."]
    ) -> tuple[CellRecord, Float[Tensor, "P T B H"]]:
        """A record whose states are there but for what they show, and z."""
        P, T, B, _ = inputs.shape
        H, N = self.cell.hidden, self.cell.states
        own = _over_positions(weights)
        h = inputs.new_zeros(P, T + 1, B, self.cell.state)
        if weights.h0 is not None:  # carried over: whole states
            h[:, 0] = weights.h0
        drive = inputs
        if weights.w_in is not None:
            drive = numerics.matmul(inputs.flatten(1, 2), weights.w_in).unflatten(1, (T, B))
        drive = drive if weights.bias is None else drive + weights.bias[:, None, None]
        u = drive.flatten(1, 2)
        z, into = self.cell.before(u, own)
        into, active = into.unflatten(1, (T, B)), own_steps(lengths, T)[..., None]
        re, im = h[:, 0, :, H : H + N], h[:, 0, :, H + N :]
        for t in range(T):
            new = rotated(own["lam_re"], own["lam_im"], re, im)
            re = torch.where(active[:, t], new[0] + into[:, t, :, :N], re)
            im = torch.where(active[:, t], new[1] + into[:, t, :, N:], im)
            h[:, t + 1, :, H : H + N], h[:, t + 1, :, H + N :] = re, im
        record = CellRecord(inputs, h, None, weights, lengths, kept=h[:, 1:, :, :0], drive=drive)
        return record, z.unflatten(1, (T, B))

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`; `direct` may cover the visible part of the state only."""
        del activation
        assert isinstance(record, CellRecord)
        cell, w, direct = self.cell, record.weights, whole_direct(direct, self.cell.state)
        H, (P, T, B) = cell.hidden, record.inputs.shape[:3]
        active = own_steps(record.lengths, T)[..., None]
        if direct.steps is None:  # what is behind the recurrence has an error at the last step alone
            assert direct.last is not None
            errors, first = direct.last[:, None], T - 1
        else:
            errors, first = torch.where(active, direct.steps, torch.zeros_like(direct.steps)), 0
        with torch.enable_grad():
            leaf = {name: value.detach().clone().requires_grad_() for name, value in w.cell.items()}
            ahead, behind = (
                {name: spread(value, count * B) if value.ndim == 2 else value for name, value in leaf.items()}
                for count in (T, T - first)
            )
            u = record.drive.flatten(1, 2).detach().clone().requires_grad_()
            x = record.h[:, 1 + first :, :, H:].flatten(1, 2).clone().requires_grad_()
            z, into = cell.before(u, ahead)
            shown = cell.after(x, u[:, first * B :], z[:, first * B :], behind)
        g_shown = errors[..., :H].flatten(1, 2).contiguous()
        (read,) = torch.autograd.grad(shown, [x], g_shown, retain_graph=True)
        into_x = record.h.new_zeros(P, T, B, 2 * cell.states)
        into_x[:, first:] = read.unflatten(1, (T - first, B)) + errors[..., H:]
        g, lam_re, lam_im, back = self._recurrence(record, into_x)
        wanted = {name: value for name, value in leaf.items() if name not in ("lam_re", "lam_im")}
        leaves = [u, *wanted.values()]
        into_drive, *parts = torch.autograd.grad([shown, into], leaves, [g_shown, g.flatten(1, 2)])
        drive = into_drive.unflatten(1, (T, B))
        gradients = LoopGradients(
            w_rec=torch.zeros_like(w.w_rec),
            w_in=None if w.w_in is None else self.outer(record.inputs, drive),
            bias=None if w.bias is None else numerics.row_sum(into_drive),
            h0=None if w.h0 is None else torch.zeros_like(w.h0),
            inputs=drive if w.w_in is None else None,
            cell={**dict(zip(wanted, parts, strict=True)), "lam_re": lam_re, "lam_im": lam_im},
        )
        if not keep:
            return gradients, None
        # what is shown reaches no later step
        handed = torch.cat((record.h.new_zeros(P, T, B, H), back), -1)
        return gradients, Trace(record, direct, record.h.new_zeros(P, T, B, 0), handed)

    def _recurrence(self, record: Record, direct: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """dC/dx_t [P, T, B, 2N] without idle steps, dC/dlambda [P, N] twice, and what each step hands back."""
        H, N, T = self.cell.hidden, self.cell.states, direct.shape[1]
        active = own_steps(record.lengths, T)[..., None]
        lam_re, lam_im = (record.weights.cell[name][:, None] for name in ("lam_re", "lam_im"))
        g, back = torch.zeros_like(direct), torch.zeros_like(direct)
        later_re, later_im = torch.zeros_like(direct[:, 0, :, :N]), torch.zeros_like(direct[:, 0, :, :N])
        for t in range(T - 1, -1, -1):
            re, im = later_re + direct[:, t, :, :N], later_im + direct[:, t, :, N:]
            g[:, t] = torch.where(active[:, t], torch.cat((re, im), -1), g[:, t])
            handed = rotated(lam_re, -lam_im, re, im)
            later_re, later_im = (
                torch.where(active[:, t], new, same) for new, same in zip(handed, (re, im), strict=True)
            )
            back[:, t] = torch.cat((later_re, later_im), -1)
        x = record.h[:, :-1, :, H:]
        re, im = g[..., :N], g[..., N:]
        x_re, x_im = x[..., :N], x[..., N:]
        d_re, d_im = (numerics.row_sum(part.flatten(1, 2)) for part in turned_by(x_re, x_im, re, im))
        return g, d_re, d_im, back

    def tangent(
        self, trace: Trace, step: Float[Tensor, "P R A"], horizon: Int64[Tensor, " P"], activation: Activation
    ) -> Tangent:
        """Refused: the recursion is defined for the simple cell only (configs are checked before)."""
        del trace, step, horizon, activation
        raise ConfigError(f"{type(self.cell).__name__} has no tangent recursion", key="controllers.sampling")
