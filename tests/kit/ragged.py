"""A task whose sequences differ in length, and its sequences one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rnnsweep.core.rng import Draws
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.tasks.onehot import symbols
from rnnsweep.core.tasks.success import argmax_errors
from rnnsweep.core.types import Batch


@dataclass(frozen=True)
class Ragged(Task):
    """Noise, as many steps as the id says: T, 1, and all between; a random class at the end, or at every step."""

    length: int = 7
    n_inputs: int = 2  # pyright: ignore[reportIncompatibleMethodOverride]
    n_outputs: int = 3  # pyright: ignore[reportIncompatibleMethodOverride]
    every: bool = False

    @property
    def per_step(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.every

    @property
    def max_length(self) -> int:
        return self.length

    @property
    def chance_loss(self) -> float:
        return float(torch.log(torch.tensor(3.0)))

    @property
    def chance_error(self) -> float:
        return 2 / 3

    def batch(self, draws: Draws) -> Batch:
        T = self.length
        lengths = T - (3 * draws.ids + draws.ids // T) % T
        inputs = draws.uniforms(T * self.n_inputs, 1).unflatten(-1, (T, self.n_inputs)).transpose(1, 2) - 0.5
        inputs = torch.where(own_steps(lengths, T)[..., None], inputs, torch.zeros_like(inputs)).to(draws.dtype)
        classes = (draws.uniforms(T, 2) * self.n_outputs).long().transpose(1, 2)  # P T B
        return Batch(inputs, classes.contiguous() if self.every else classes[:, -1].contiguous(), lengths)

    def errors(self, outputs: Tensor, batch: Batch) -> Tensor:
        wrong = argmax_errors(outputs, batch.targets)
        if not self.every:
            return wrong
        own = own_steps(batch.lengths, self.length)
        return (wrong & own).sum(1) / own.sum(1)


@dataclass(frozen=True)
class RaggedSymbols(Ragged):
    """The same lengths; steps are symbols, one of which is drawn at each."""

    n_inputs: int = 5  # pyright: ignore[reportIncompatibleMethodOverride]
    n_outputs: int = 5  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def tokens(self) -> bool:
        return True

    def batch(self, draws: Draws) -> Batch:
        made, T = super().batch(draws), self.length
        codes = (draws.uniforms(T, 3) * self.n_inputs).long().transpose(1, 2).contiguous()  # P T B
        own = own_steps(made.lengths, T).expand(codes.shape)
        return replace(made, inputs=symbols(codes, own, self.n_inputs, draws))


def one_by_one(batch: Batch) -> Iterator[tuple[int, Batch]]:
    """(length, the sequence alone) of every sequence of a mini-batch of one row; nothing stands before it."""
    T = batch.inputs.shape[1]
    for b, length in enumerate(batch.lengths[0].tolist()):
        place, steps = slice(b, b + 1), slice(T - length, None)
        targets = batch.targets[:, steps, place] if batch.targets.ndim == 3 else batch.targets[:, place]
        parts: dict[str, Any] = {"inputs": batch.inputs[:, steps, place].contiguous(), "targets": targets.contiguous()}
        yield length, replace(batch, lengths=torch.tensor([length]), **parts)
