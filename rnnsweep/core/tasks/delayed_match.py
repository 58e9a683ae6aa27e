"""Delayed match to sample: is the second stimulus the first one again?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.decision import DecisionTask
from rnnsweep.core.tasks.evidence import tuning
from rnnsweep.core.tasks.synthetic import POSITIONS, SYMBOLS
from rnnsweep.core.types import Batch
from rnnsweep.unit import Range


@dataclass(frozen=True)
class DelayedMatch(DecisionTask):
    """Fixation, sample, delay (`length` steps), test, decision: choice 0 where sample and test match, else choice 1.

    A stimulus is a direction on a ring: input i is (1 + cos(theta_i - theta)) / 2 plus noise. A test that does not
    match is the opposite direction, or the nearest to it; both cases have equal chance.

    Inputs: fixation cue, one per direction.

    Attributes:
        sample, test: steps of both stimuli.
        directions: size of the ring.

    References:
        Miller, Erickson, Desimone (1996); NeuroGym's DelayMatchSample, whose defaults these are.

    Example:
        >>> task = DelayedMatch()
        >>> task.n_inputs, task.n_outputs, task.max_length
        (3, 3, 32)
    """

    fixed: ClassVar = {
        **DecisionTask.fixed,
        "sample": Range(1, integer=True, open_high=True),
        "test": Range(1, integer=True, open_high=True),
        "directions": Range(2, 64, integer=True),
    }

    length: int | Iterable[int] = 10
    decision: int = 9
    sample: int = 5
    test: int = 5
    directions: int = 2

    @property
    def periods(self) -> Mapping[str, int | None]:
        """Fixation, sample, delay, test, decision."""
        both = {"fixation": self.fixation, "sample": self.sample, "delay": None, "test": self.test}
        return {**both, "decision": self.decision}

    @property
    def choices(self) -> int:
        """Match and non-match."""
        return 2

    @property
    def n_inputs(self) -> int:
        """I: fixation cue and directions."""
        return 1 + int(self.directions)

    def batch(self, draws: Draws) -> Batch:
        """Trials of the ids in `draws`; targets are classes, int64 [P, T, B]."""
        draws = self.addressed(draws)
        lengths, count = self.lengths(draws) + self.steps_besides_length, int(self.directions)
        first = draws.integers(0, count - 1, 1, POSITIONS)[..., 0]  # P B
        differs = draws.integers(0, 1, 1, SYMBOLS)[..., 0]
        second = (first + differs * (count // 2)) % count
        seen = 0.5 + 0.5 * tuning(count, draws.device)
        sample, test = self.during("sample", lengths), self.during("test", lengths)
        shown = sample.double()[..., None, None] * seen[first][:, None]  # P T B S
        shown = shown + test.double()[..., None, None] * seen[second][:, None]
        return self.trials(draws, shown, sample | test, differs)
