"""The word problem of a group: which element is the product of all symbols so far? Base of what tracks a state.

Shapes: P rows · T = `max_length` steps · B mini-batch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.own_steps import row_steps
from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.groups import multiplication_table, prefix_products, table_on
from rnnsweep.core.tasks.onehot import one_hot
from rnnsweep.core.tasks.success import any_step, argmax_errors, share_of_steps
from rnnsweep.core.tasks.synthetic import SYMBOLS, LengthTask
from rnnsweep.core.types import Batch
from rnnsweep.unit import Metric

STEP_ERROR = "valid/step_error"
WRONG_STEPS = Metric("share of wrong steps among those with a target", "wrong steps (share)", drawn=True)


@dataclass(frozen=True)
class WordProblem(LengthTask):
    """Base: every step is one-hot, an element of a group drawn uniformly; the class is the product of all so far.

    A sequence is wrong if any of its classes is.

    Attributes:
        labels: ``every``: a class at each step; ``last``: at the end only.
    """

    fixed: ClassVar = {**LengthTask.fixed, "labels": ("every", "last")}
    metrics: ClassVar[Mapping[str, Metric]] = {STEP_ERROR: WRONG_STEPS}

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

    @property
    def worst(self) -> Mapping[str, float]:
        """All steps wrong."""
        return {**super().worst, STEP_ERROR: 1.0}

    def batch(self, draws: Draws) -> Batch:
        """Sequences of the ids in `draws`; targets are elements, int64 [P, T, B] or [P, B]."""
        draws = self.addressed(draws)
        lengths, T, n = self.lengths(draws), self.max_length, self.n_inputs
        codes = draws.integers(0, n - 1, T, SYMBOLS).transpose(1, 2)  # P B T -> P T B
        own = row_steps(lengths, T)
        inputs = one_hot(codes, own, n, draws.dtype)
        # the identity, 0, before the sequence: it changes no product
        products = prefix_products(codes * own[:, :, None], table_on(self.group_name, draws.device))
        return Batch(inputs, products if self.per_step else products[:, -1].contiguous(), lengths)

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Whether the largest logit is wrong at any step with a class, bool [P, B]."""
        wrong = argmax_errors(outputs, batch.targets)
        return any_step(wrong, row_steps(batch.lengths, wrong.shape[1])) if self.per_step else wrong

    def measure(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Mapping[str, Shaped[Tensor, "P B"]]:
        """Share of wrong classes."""
        wrong = argmax_errors(outputs, batch.targets)
        if not self.per_step:
            return {STEP_ERROR: wrong}
        return {STEP_ERROR: share_of_steps(wrong, row_steps(batch.lengths, wrong.shape[1]))}
