"""Norms of backpropagated errors and activations while a network trains: Chernodub, Nowicki (2016), figure 2."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rnnsweep.core.analyses.gradient_norms import backpropagate
from rnnsweep.core.controllers.base import Tally
from rnnsweep.core.tile import Tile
from rnnsweep.core.training import update


@dataclass(frozen=True)
class DeltaNorms:
    """What was measured before update `updates[k]`, float64.

    Attributes:
        updates: [K].
        steps: time steps that are watched, 0-based.
        delta: [P, K, len(steps)], mean over the mini-batch of |delta_t|, per sample.
        mean, median: [P, K], of all activations h_t of the mini-batch.
    """

    updates: list[int]
    steps: list[int]
    delta: Tensor
    mean: Tensor
    median: Tensor


def delta_norms(tile: Tile, updates: int, every: int, steps: list[int]) -> DeltaNorms:
    """Train the rows, and measure every `every` updates on the mini-batch that comes next.

    Args:
        tile: rows; they are trained in place.
        updates: how many.
        every: updates between measurements, >= 1.
        steps: time steps to watch.

    Numerics:
        Measuring changes nothing: the update that follows sees the same mini-batch. Diverged rows stay where they fell.
    """
    at, delta, mean, median = [], [], [], []
    for index in range(updates):
        if index % every == 0:
            trace, _ = backpropagate(tile)
            # Times B: the cost is a mean over the mini-batch, and |delta_t| is per sample.
            size = trace.delta.double().square().sum(-1).sqrt() * trace.delta.shape[2]
            h = trace.record.h[:, 1:].double().flatten(1)
            at.append(index)
            delta.append(size.mean(2)[:, steps])  # P T B -> P T -> P steps
            mean.append(h.mean(1))
            median.append(h.median(1).values)
        update(tile, Tally())  # its diagnostics are not wanted
    return DeltaNorms(at, steps, torch.stack(delta, 1), torch.stack(mean, 1), torch.stack(median, 1))
