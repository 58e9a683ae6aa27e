"""Show a pattern, wait, repeat it: what memorization and copying share.

Shapes: P rows · T = `max_length` steps · B mini-batch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.rng import Draws
from rnnsweep.core.sequence_lengths import row_steps
from rnnsweep.core.tasks.onehot import symbol_kernels, symbols
from rnnsweep.core.tasks.success import any_step, argmax_errors
from rnnsweep.core.tasks.synthetic import SYMBOLS, LengthTask
from rnnsweep.core.types import Batch


@dataclass(frozen=True)
class RecallTask(LengthTask):
    """Base: a pattern of `span` symbols at the start, blanks, one trigger, and the pattern again at the very end.

    Inputs are one-hot: the symbols, then blank, then trigger. Wanted is blank at every step before the recall.
    A sequence is wrong if any of its steps is wrong.
    """

    per_step: ClassVar[bool] = True

    @property
    @abstractmethod
    def kinds(self) -> int:
        """Number of symbols that a pattern is made of."""

    @property
    @abstractmethod
    def span(self) -> int:
        """Symbols of a pattern."""

    @property
    @abstractmethod
    def steps_besides_length(self) -> int:
        """Steps of a sequence minus its `length`."""

    @property
    def trigger_lead(self) -> int:
        """Steps from the trigger to the first recalled symbol; 0: recall starts at the trigger."""
        return 0

    @property
    def tokens(self) -> bool:
        """Whether inputs are symbols: yes."""
        return True

    @property
    def n_inputs(self) -> int:
        """I: symbols, blank, trigger."""
        return self.kinds + 2

    @property
    def n_outputs(self) -> int:
        """O: symbols, blank."""
        return self.kinds + 1

    @property
    def max_length(self) -> int:
        """T_max in steps."""
        return super().max_length + self.steps_besides_length

    @property
    def chance_loss(self) -> float:
        """Blanks known, symbols guessed: span ln(kinds) / T, averaged over the lengths that may be drawn."""
        low, high = self.length_bounds
        shares = [1 / (length + self.steps_besides_length) for length in range(low, high + 1)]
        return self.span * math.log(self.kinds) * sum(shares) / len(shares)

    @property
    def chance_error(self) -> float:
        """1 - kinds ** -span."""
        return 1 - float(self.kinds) ** -self.span

    def batch(self, draws: Draws) -> Batch:
        """Sequences of the ids in `draws`; targets are symbols, int64 [P, T, B]."""
        draws = self.addressed(draws)
        lengths = self.lengths(draws) + self.steps_besides_length
        T, S, blank = self.max_length, self.span, self.kinds
        P, B = draws.ids.shape
        pattern = draws.integers(0, self.kinds - 1, S, SYMBOLS)
        if (kernels := symbol_kernels(draws, self.n_inputs)) is not None:
            inputs, targets = kernels.recall(draws, lengths, pattern, T, blank, lead=self.trigger_lead)
            return Batch(inputs, targets, lengths)
        pattern = pattern.transpose(1, 2)  # P S B
        targets = torch.full((P, T, B), blank, dtype=torch.int64, device=draws.device)
        targets[:, T - S :] = pattern
        codes = torch.full_like(targets, blank)
        # recall ends with the sequence, and all end at T: the trigger's place does not depend on the length
        codes[:, T - S - self.trigger_lead].fill_(blank + 1)
        symbol_steps = (T - lengths)[:, None] + torch.arange(S, device=draws.device)  # P S
        codes.scatter_(1, symbol_steps[..., None].expand(pattern.shape), pattern)
        inputs = symbols(codes, row_steps(lengths, T), self.n_inputs, draws)
        return Batch(inputs, targets, lengths)

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Whether the largest logit is wrong at any own step, bool [P, B]."""
        wrong = argmax_errors(outputs, batch.targets)
        return any_step(wrong, row_steps(batch.lengths, self.max_length))
