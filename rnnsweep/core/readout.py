"""Linear read-out, loss and their gradients, row by row. Shapes: see `core.types`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rnnsweep.core.types import Batch, Direct

if TYPE_CHECKING:
    from rnnsweep.core.recurrence.base import Engine
    from rnnsweep.core.tasks.base import Task


@dataclass
class ReadOut:
    """Outputs, loss and gradients of one mini-batch.

    Attributes:
        outputs: [P, B, O] or, per step, [P, T, B, O].
        loss: [P].
        direct: dC/dh_t without later steps; None where gradients were not asked for.
        gradients: of ``w_out`` (and ``b_out``).
        errors: dC/d outputs, [P, M, O] with M = B or T B; None where gradients were not asked for.
    """

    outputs: Tensor
    loss: Tensor
    direct: Direct | None
    gradients: dict[str, Tensor]
    errors: Tensor | None = None


def read_out(
    task: Task, values: Mapping[str, Tensor], states: Tensor, batch: Batch, engine: Engine, *, gradients: bool = True
) -> ReadOut:
    """Apply the read-out to the states and score it.

    Args:
        task: says whether every step or the last one is read, and the loss.
        values: parameters; ``w_out`` [P, H, O] and, where the family has it, ``b_out`` [P, O].
        states: [P, T + 1, B, H], h_0 first.
        batch: targets and mask.
        engine: whose products are used.
        gradients: False for evaluation.

    Numerics:
        Losses: see `core.losses`. Mean over the batch and, per step, over the steps that count; with a mask per
        sequence, over all steps that count in the mini-batch. A non-finite state gives a non-finite loss in its own row
        only.
    """
    P, B, T = states.shape[0], states.shape[2], states.shape[1] - 1
    h = states[:, 1:].flatten(1, 2) if task.per_step else states[:, -1]  # P M H
    y = engine.matmul(h, values["w_out"])
    if "b_out" in values:
        y = y + values["b_out"][:, None, :]
    weight = shares(task, batch, T, B, y)  # P M
    targets = batch.targets.flatten(1, 2) if task.per_step else batch.targets
    loss, dy = _score(task, y, targets, weight)
    outputs = y.unflatten(1, (T, B)) if task.per_step else y
    if not gradients:
        return ReadOut(outputs, loss, None, {})
    dh = engine.matmul(dy, values["w_out"].transpose(1, 2))
    direct = Direct(steps=dh.unflatten(1, (T, B))) if task.per_step else Direct(last=dh)
    found = {"w_out": engine.matmul(h.transpose(1, 2), dy)}
    if "b_out" in values:
        found["b_out"] = engine.matmul(dy.new_ones(P, 1, dy.shape[1]), dy)[:, 0]
    return ReadOut(outputs, loss, direct, found, dy)


def loss(task: Task, values: Mapping[str, Tensor], states: Tensor, batch: Batch) -> Tensor:
    """The same loss [P] by plain differentiable operations; states [P, T, B, H] without h_0."""
    T, B = states.shape[1], states.shape[2]
    h = states.flatten(1, 2) if task.per_step else states[:, -1]
    y = h @ values["w_out"]
    y = y + values["b_out"][:, None, :] if "b_out" in values else y
    targets = batch.targets.flatten(1, 2) if task.per_step else batch.targets
    return _score(task, y, targets, shares(task, batch, T, B, y))[0]


def shares(task: Task, batch: Batch, T: int, B: int, y: Tensor) -> Tensor:
    """Weight of every read-out [P, M]; sums to one per row."""
    if not task.per_step:
        return y.new_full((y.shape[0], B), 1 / B)
    if batch.mask is not None and batch.mask.ndim == 3:
        counted = batch.mask.flatten(1).to(y.dtype)
        return counted / counted.sum(1, keepdim=True)
    if batch.mask is not None:
        counted = batch.mask.to(y.dtype)
    else:
        counted = (torch.arange(T, device=y.device)[None, :] >= (T - batch.lengths)[:, None]).to(y.dtype)
    share = counted / counted.sum(1, keepdim=True) / B
    return share[:, :, None].expand(-1, -1, B).flatten(1)


def _score(task: Task, y: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Loss [P] and dC/dy [P, M, O]."""
    each, slope = task.loss.score(y, targets)
    return (each * weight).sum(1), slope * weight[..., None]
