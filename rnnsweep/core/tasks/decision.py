"""Trials that end with a decision: what the tasks of cognitive neuroscience share.

Shapes: P rows · T = `max_length` steps · B mini-batch · C choices.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from torch import Tensor

from rnnsweep.core.rng import Draws
from rnnsweep.core.sequence_lengths import row_steps
from rnnsweep.core.tasks.noise import gaussian
from rnnsweep.core.tasks.success import any_step, argmax_errors
from rnnsweep.core.tasks.synthetic import FILLING, LengthTask
from rnnsweep.core.types import Batch
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.unit import Metric, Range

ACCURACY, BREAKS = "valid/decision_accuracy", "valid/fixation_breaks"


@dataclass(frozen=True)
class DecisionTask(LengthTask):
    """Base: periods one after another, the last of them ``decision``; one class per step.

    Inputs are a fixation cue, 1 until the decision, then what the trial shows. Class 0 is fixation, wanted until the
    decision; 1..C are the choices, one of which is wanted at each of its steps. A sequence is wrong unless the largest
    output of its last step is the right choice.

    Attributes:
        fixation, decision: steps of the first and the last period.
        scored: periods that count in the loss; ``decision`` among them.
        sigma: standard deviation of the noise on each stimulus input, per step.

    Numerics:
        Inputs are formed in float64 and rounded to float32, whatever the pack computes in.

    References:
        Molano-Mazón et al. (2022), *NeuroGym: an open resource for developing and sharing neuroscience tasks*. Defaults
        are those of its environments at their step of 100 ms, in which noise has 1/sqrt(100) = .1. Ours differs: the
        fixation cue goes off with the decision in all of them, and lengths are fixed unless asked otherwise.
    """

    fixed: ClassVar = {
        **LengthTask.fixed,
        "fixation": Range(0, integer=True, open_high=True),
        "decision": Range(1, integer=True, open_high=True),
        "sigma": Range(0, open_high=True),
    }
    per_step: ClassVar[bool] = True
    metrics: ClassVar[Mapping[str, Metric]] = {
        ACCURACY: Metric("share of sequences whose largest output among the choices is right at the end", drawn=True),
        BREAKS: Metric("share of sequences that leave fixation before the decision", "broken fixations (share)"),
    }

    fixation: int = 3
    decision: int = 1
    scored: Iterable[str] | None = None
    sigma: float = 0.1

    def __post_init__(self) -> None:
        if isinstance(self.scored, Iterable) and not isinstance(self.scored, str):
            object.__setattr__(self, "scored", tuple(self.scored))
        super().__post_init__()

    def check(self) -> None:
        """Also refuse periods that the task does not have.

        Raises:
            ConfigError: some field is out of range.
        """
        super().check()
        names = tuple(self.periods)
        if self.scored is None:
            return
        chosen = self.scored if isinstance(self.scored, tuple) else (self.scored,)
        unknown = [name for name in chosen if name not in names]
        if unknown or "decision" not in chosen or not isinstance(self.scored, tuple):
            shown = list(self.scored) if isinstance(self.scored, tuple) else self.scored
            allowed = f"null for all, or a list of {', '.join(names)}, the last among them"
            hint = nearest(str(unknown[0]), names) if unknown else ""
            raise ConfigError("unknown value", key="task.scored", value=shown, allowed=allowed, hint=hint)

    @property
    @abstractmethod
    def periods(self) -> Mapping[str, int | None]:
        """Steps of each period in order; None: of `length`."""

    @property
    @abstractmethod
    def choices(self) -> int:
        """C."""

    @property
    def n_outputs(self) -> int:
        """O = C + 1."""
        return self.choices + 1

    @property
    def steps_besides_length(self) -> int:
        """Steps of all periods but the one that `length` is of."""
        return sum(steps for steps in self.periods.values() if steps is not None)

    @property
    def max_length(self) -> int:
        """T_max in steps."""
        return super().max_length + self.steps_besides_length

    @property
    def chance_loss(self) -> float:
        """Periods known, choice guessed: its share of the steps that count times ln C, averaged over the lengths."""
        low, high = self.length_bounds
        counted = [steps for name, steps in self.periods.items() if self._scores(name)]
        known = sum(steps for steps in counted if steps is not None)
        steps = [known + (length if None in counted else 0) for length in range(low, high + 1)]
        return sum(self.decision * math.log(self.choices) / count for count in steps) / len(steps)

    @property
    def chance_error(self) -> float:
        """1 - 1 / C."""
        return 1 - 1 / self.choices

    @property
    def chance(self) -> Mapping[str, float]:
        """Fixation kept, choice guessed."""
        return {**super().chance, ACCURACY: 1 / self.choices, BREAKS: 0.0}

    @property
    def worst(self) -> Mapping[str, float]:
        """No decision right, every fixation broken."""
        return {**super().worst, ACCURACY: 0.0, BREAKS: 1.0}

    def _scores(self, name: str) -> bool:
        return self.scored is None or name in self.scored

    def during(self, name: str, lengths: Int64[Tensor, " P"]) -> Bool[Tensor, "P T"]:
        """The steps of a period, given all steps of each row's sequences; these are right-aligned."""
        own, steps = lengths - self.steps_besides_length, list(self.periods.items())
        after = steps[[period for period, _ in steps].index(name) :]
        # counted from the end, where all sequences meet
        left = [
            sum((own if n is None else torch.full_like(own, n) for _, n in part), 0 * own)
            for part in (after, after[1:])
        ]
        t = torch.arange(self.max_length, device=lengths.device)
        return (t >= (self.max_length - left[0])[:, None]) & (t < (self.max_length - left[1])[:, None])

    def trials(
        self, draws: Draws, shown: Float64[Tensor, "P T B S"], noisy: Bool[Tensor, "P T"], choice: Int64[Tensor, "P B"]
    ) -> Batch:
        """Mini-batch of trials that show something.

        Args:
            draws: as `addressed`.
            shown: mean of each stimulus input at each step.
            noisy: steps at which they are noisy.
            choice: the right one, 0..C-1.
        """
        lengths, (T, S) = self.lengths(draws) + self.steps_besides_length, (shown.shape[1], shown.shape[3])
        noise = gaussian(draws, T * S, FILLING).unflatten(2, (T, S)).transpose(1, 2)  # P T B S
        stimuli = shown + torch.where(noisy[:, :, None, None], float(self.sigma) * noise, torch.zeros_like(noise))
        deciding, own = self.during("decision", lengths), row_steps(lengths, T)
        cue = (own & ~deciding).double()[:, :, None, None].expand(*shown.shape[:3], 1)
        # by float32, so that both types see the same numbers
        inputs = torch.cat([cue, stimuli], 3).float().to(draws.dtype)
        targets = torch.where(deciding[:, :, None], 1 + choice[:, None], torch.zeros_like(choice)[:, None])
        mask = torch.stack([self.during(name, lengths) for name in self.periods if self._scores(name)]).any(0)
        return Batch(inputs, targets, lengths, mask.to(draws.dtype))

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Whether the largest output of the last step is not the right choice, bool [P, B]."""
        return argmax_errors(outputs[:, -1], batch.targets[:, -1])

    def measure(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Mapping[str, Shaped[Tensor, "P B"]]:
        """Decisions and broken fixations."""
        waiting = row_steps(batch.lengths, self.max_length) & ~self.during("decision", batch.lengths)
        left = argmax_errors(outputs, torch.zeros_like(batch.targets))
        return {
            ACCURACY: ~argmax_errors(outputs[:, -1, :, 1:], batch.targets[:, -1] - 1),
            BREAKS: any_step(left, waiting),
        }
