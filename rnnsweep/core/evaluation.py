"""Evaluation on a stream of its own: how often, or on how many sequences, never changes training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rnnsweep.core.readout import read_out
from rnnsweep.core.rng import Draws

if TYPE_CHECKING:
    from rnnsweep.core.training import Tile

_SPAN = 1 << 24
"""Sequences reserved per update for evaluation, so that each evaluation is fresh."""


def evaluate(tile: Tile, keys: Tensor, sequences: int | None = None) -> tuple[Tensor, Tensor]:
    """Mean loss and share of wrong sequences, float64 [P] each.

    Args:
        tile: rows; nothing of them changes.
        keys: int64 [P], stream keys of the evaluation purpose.
        sequences: how many; None = the program's `eval_size`.

    Numerics:
        Endless tasks see fresh sequences at every step; finite sets see the first `eval_size` samples of their
        validation part (at most all of them). Sums in float64, batch by batch.
    """
    program = tile.program
    total = program.eval_size if sequences is None else sequences
    loss = torch.zeros(len(tile.step), dtype=torch.float64, device=tile.params.device)
    wrong = torch.zeros_like(loss)
    values = program.layout.view(tile.params)
    weights = program.family.weights(values, tile.unit_hypers("family"))
    endless = program.task.samples is None
    for start in range(0, total, program.batch):
        size = min(program.batch, total - start)
        offset = torch.arange(start, start + size, device=tile.step.device)
        base = tile.step * _SPAN if endless else torch.zeros_like(tile.step)
        draws = Draws(keys, base[:, None] + offset, base + start, program.dtype, split="valid")
        batch = program.task.batch(draws)
        record = program.engine.forward(batch.inputs, weights, program.activation, batch.lengths)
        out = read_out(program.task, values, record.h, batch, program.engine, gradients=False)
        loss += out.loss.double() * size
        wrong += program.task.errors(out.outputs, batch).double().sum(1)
    return loss / total, wrong / total
