"""The word problem of a group: which element is the product of all symbols so far? Base of what tracks a state.

Shapes: P rows · T = `max_length` steps · B mini-batch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.rng import Draws
from rnnsweep.core.sequence_lengths import row_steps
from rnnsweep.core.tasks.groups import multiplication_table, prefix_products, table_on
from rnnsweep.core.tasks.onehot import symbols
from rnnsweep.core.tasks.step_errors import STEP_ERROR, StepErrors
from rnnsweep.core.tasks.synthetic import SYMBOLS
from rnnsweep.core.types import Batch


@dataclass(frozen=True)
class WordProblem(StepErrors):
    """Base: every step is one-hot, an element of a group drawn uniformly; the class is the product of all so far.

    Attributes:
        labels: ``every``: a class at each step; ``last``: at the end only.
    """

    fixed: ClassVar = {**StepErrors.fixed, "labels": ("every", "last")}

    labels: str = "every"

    @property
    @abstractmethod
    def group_name(self) -> str:
        """One of `groups.GROUPS`."""

    @property
    def per_step(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] - see `Task`: fields or properties
        """Whether there is a class at each step."""
        return self.labels == "every"

    @property
    def tokens(self) -> bool:
        """Whether inputs are symbols: yes."""
        return True

    @property
    def n_inputs(self) -> int:
        """I: one per element."""
        return len(multiplication_table(self.group_name))

    @property
    def n_outputs(self) -> int:
        """O: one per element."""
        return self.n_inputs

    @property
    def chance_loss(self) -> float:
        """Logarithm of the number of elements: each product is as likely as any other, whatever came before."""
        return math.log(self.n_outputs)

    @property
    def chance_error(self) -> float:
        """1 - n**-L for n elements and L classes, averaged over the lengths that may be drawn."""
        low, high = self.length_bounds if self.per_step else (1, 1)
        return 1 - sum(float(self.n_outputs) ** -length for length in range(low, high + 1)) / (high - low + 1)

    @property
    def chance(self) -> Mapping[str, float]:
        """Of a single class 1 - 1/n."""
        return {**super().chance, STEP_ERROR: 1 - 1 / self.n_outputs}

    def batch(self, draws: Draws) -> Batch:
        """Sequences of the ids in `draws`; targets are elements, int64 [P, T, B] or [P, B]."""
        draws = self.addressed(draws)
        lengths, T, n = self.lengths(draws), self.max_length, self.n_inputs
        codes = draws.integers(0, n - 1, T, SYMBOLS).transpose(1, 2)  # P B T -> P T B
        own = row_steps(lengths, T)
        inputs = symbols(codes, own, n, draws)
        # the identity, 0, before the sequence: it changes no product
        products = prefix_products(codes * own[:, :, None], table_on(self.group_name, draws.device))
        return Batch(inputs, products if self.per_step else products[:, -1].contiguous(), lengths)
