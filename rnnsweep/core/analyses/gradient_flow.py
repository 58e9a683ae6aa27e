"""How the loss's gradient by the state fades or grows on its way back through time, in trained rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from rnnsweep.core.analyses.trained_rows import SweepAnalysis, Tables, TrainedRows, long_table, row_axis
from rnnsweep.core.readout import loss
from rnnsweep.unit import Range


@dataclass(frozen=True)
class GradientFlow(SweepAnalysis):
    """|dL/ds_t| of the task's own loss, against the steps that lie between t and the end.

    Numerics:
        float64; per-sample norms of the whole state's gradient, the 1/B of the mean loss taken out. In a task that is
        read at every step the error of each step joins on the way back, so that a norm is no share of the last one.

    References:
        Pascanu, Mikolov, Bengio (2013), section 2; Hochreiter (1991).
    """

    sequences: int = 32

    fixed: ClassVar[Mapping[str, Any]] = {"sequences": Range(1, 100000, integer=True)}

    def entries(self, rows: TrainedRows) -> int:
        """States and what autograd keeps of each step."""
        return 4 * rows.program.task.max_length * self.sequences * rows.loop.size

    def measure(self, rows: TrainedRows) -> Tables:
        """``norms`` by lag; ``summary``: how much of the last norm is left at the first step, and the rate of it."""
        norms = gradient_norms_of(rows, self.sequences)  # P T B
        P, T, _ = norms.shape
        mean = norms.mean(2).numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            # mean of the logarithms: a share is a product of steps
            kept = np.log(norms[:, 0].numpy() / norms[:, -1].numpy()).mean(1)
        table = long_table(row=row_axis(P, 2), lag=np.arange(T - 1, -1, -1)[None], norm=mean)
        return {"norms": table, "summary": long_table(row=np.arange(P), kept=np.exp(kept), rate=kept / max(1, T - 1))}


def gradient_norms_of(rows: TrainedRows, sequences: int) -> Float64[Tensor, "P T B"]:
    """|dL/ds_t|, t = 1..T, of each sequence's own loss."""
    program, step, batch = rows.program, rows.loop, rows.batch(sequences)
    drives = step.drives(batch.inputs)
    states = [step.initial_state(drives.shape[2]).requires_grad_()]
    with torch.enable_grad():
        for t in range(drives.shape[1]):
            states.append(step(states[-1], drives[:, t]))
        visible = rows.loop.shown(torch.stack(states, 1))
        seen = program.readout.look(rows.values, visible, batch.lengths, program.task.per_step)
        total = loss(program.task, rows.values, seen[:, 1:] if program.task.per_step else seen[:, -1:], batch).sum()
        # the sum over rows mixes none of them
        found = torch.autograd.grad(total, states[1:], materialize_grads=True)
    return torch.stack([part.norm(dim=-1) for part in found], 1) * drives.shape[2]
