"""Perceptual decision: integrate noisy evidence for one of several directions (random dots)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.evidence import EvidenceTask
from rnnsweep.core.tasks.synthetic import SYMBOLS
from rnnsweep.core.types import Batch


@dataclass(frozen=True)
class PerceptualDecision(EvidenceTask):
    """Which direction does the evidence favour? Inputs: fixation cue, one per direction.

    Of two directions an ideal observer, who adds up the difference of both inputs, gets wrong the mean over coherences
    of Phi(-c sqrt(length) / (100 sqrt(2) sigma)): half where the coherence is 0, 10.4 % by default.

    References:
        Britten, Shadlen, Newsome, Movshon (1992); NeuroGym's PerceptualDecisionMaking, whose defaults these are.

    Example:
        >>> task = PerceptualDecision()
        >>> task.n_inputs, task.n_outputs, task.max_length
        (3, 3, 22)
    """

    length: int | Iterable[int] = 20
    fixation: int = 1

    @property
    def n_inputs(self) -> int:
        """I = 1 + C."""
        return 1 + self.choices

    def batch(self, draws: Draws) -> Batch:
        """Trials of the ids in `draws`; targets are classes, int64 [P, T, B]."""
        draws = self.addressed(draws)
        direction = draws.integers(0, self.choices - 1, 1, SYMBOLS)  # P B 1
        evidence = self.evidence(draws, direction)  # P B C
        on = self.during("stimulus", self.lengths(draws) + self.steps_besides_length)
        return self.trials(draws, on.double()[:, :, None, None] * evidence[:, None], on, direction[..., 0])
