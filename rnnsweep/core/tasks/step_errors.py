"""Made tasks that are scored step by step, where there is a target at every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from rnnsweep.core.sequence_lengths import row_steps
from rnnsweep.core.tasks.success import any_step, argmax_errors, share_of_steps
from rnnsweep.core.tasks.synthetic import LengthTask
from rnnsweep.core.types import Batch
from rnnsweep.unit import Metric

STEP_ERROR = "valid/step_error"


@dataclass(frozen=True)
class StepErrors(LengthTask):
    """Base: a sequence is wrong if any of its steps is; the share of wrong steps is measured beside that.

    With a target at the end only, that is the one step.
    """

    metrics: ClassVar[Mapping[str, Metric]] = {
        STEP_ERROR: Metric("share of wrong steps among those with a target", "wrong steps (share)", drawn=True)
    }

    @property
    def worst(self) -> Mapping[str, float]:
        """All steps wrong."""
        return {**super().worst, STEP_ERROR: 1.0}

    def wrong(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Bool[Tensor, "P ..."]:
        """Which answers are wrong, bool [P, T, B] or [P, B]: whose largest logit is not the class."""
        return argmax_errors(outputs, batch.targets)

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Whether any step with a target is wrong, bool [P, B]."""
        wrong = self.wrong(outputs, batch)
        return any_step(wrong, row_steps(batch.lengths, wrong.shape[1])) if self.per_step else wrong

    def measure(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Mapping[str, Shaped[Tensor, "P B"]]:
        """Share of wrong steps."""
        wrong = self.wrong(outputs, batch)
        if not self.per_step:
            return {STEP_ERROR: wrong}
        return {STEP_ERROR: share_of_steps(wrong, row_steps(batch.lengths, wrong.shape[1]))}
