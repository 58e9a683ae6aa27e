"""Permutation: keep the first symbol in mind (Hochreiter & Schmidhuber 1997)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.rng import Draws
from rnnsweep.core.sequence_lengths import row_steps
from rnnsweep.core.tasks.onehot import symbols
from rnnsweep.core.tasks.success import argmax_errors
from rnnsweep.core.tasks.synthetic import FILLING, SYMBOLS, LengthTask
from rnnsweep.core.types import Batch

_SYMBOLS, _CHOICES = 100, 2


@dataclass(frozen=True)
class Permutation(LengthTask):
    """One of 100 symbols per step; the first is 0 or 1, all others U{2..99}; wanted at the end is the first one.

    Numerics:
        Inputs are exactly 0 and 1.

    References:
        Pascanu, Mikolov, Bengio (2013), supplement, and their scripts; Hochreiter, Schmidhuber (1997).

    Example:
        >>> task = Permutation(length=50)
        >>> task.n_inputs, task.n_outputs, task.chance_error
        (100, 100, 0.5)
    """

    fixed: ClassVar = {**LengthTask.fixed, "variant": ("pascanu",)}

    variant: str = "pascanu"

    @property
    def least(self) -> int:
        """Two steps: the symbol and one that follows."""
        return 2

    @property
    def tokens(self) -> bool:
        """Whether inputs are symbols: yes."""
        return True

    @property
    def n_inputs(self) -> int:
        """I = 100."""
        return _SYMBOLS

    @property
    def n_outputs(self) -> int:
        """O = 100."""
        return _SYMBOLS

    @property
    def chance_loss(self) -> float:
        """ln 2, once the output is restricted to the two first symbols; ln 100 before."""
        return math.log(_CHOICES)

    @property
    def chance_error(self) -> float:
        """1/2."""
        return 1 - 1 / _CHOICES

    def batch(self, draws: Draws) -> Batch:
        """Sequences of the ids in `draws`; targets are symbols, int64 [P, B]."""
        draws = self.addressed(draws)
        lengths, T = self.lengths(draws), self.max_length
        first = draws.integers(0, _CHOICES - 1, 1, SYMBOLS)  # P B 1
        start = (T - lengths)[:, None, None].expand(first.shape)
        # drawn for all T steps, so that step t of a sequence has the same symbol in every length
        codes = draws.integers(_CHOICES, _SYMBOLS - 1, T, FILLING).scatter(2, start, first)
        inputs = symbols(codes.transpose(1, 2), row_steps(lengths, T), _SYMBOLS, draws)
        return Batch(inputs, first[..., 0], lengths)

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Whether the largest logit is not the first symbol, bool [P, B]."""
        return argmax_errors(outputs, batch.targets)
