"""Flip-flop: hold the sign of the last pulse on each of several channels (Sussillo & Barak 2013)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnsweep.core.losses import SQUARED_ERROR, Loss
from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.step_errors import STEP_ERROR, StepErrors
from rnnsweep.core.tasks.synthetic import FILLING, SYMBOLS
from rnnsweep.core.types import Batch
from rnnsweep.unit import Range


@dataclass(frozen=True)
class FlipFlop(StepErrors):
    """Pulses of +1 or -1, each with equal chance, on `bits` channels; wanted on each is the sign of its last pulse.

    A channel has a pulse with probability `p` at every step, and certainly at the first. A sequence is wrong if some
    output has the wrong sign at some step.

    Attributes:
        bits: channels.
        p: probability of a pulse per channel and step.

    Numerics:
        Inputs and targets are exactly -1, 0 and 1; p is rounded to 32 bits. An output of 0 is wrong.

    References:
        Sussillo, Barak (2013), *Opening the black box*, Neural Computation 25, section 3.2: three bits. 64 steps, p =
        1/2, and a pulse at the first step are those of Golub, Sussillo (2018), FixedPointFinder. Ours differs: the rule
        for errors is our own.

    Example:
        >>> task = FlipFlop()
        >>> task.n_inputs, task.n_outputs, task.chance_loss
        (3, 3, 3.0)
    """

    fixed: ClassVar = {
        **StepErrors.fixed,
        "bits": Range(1, integer=True, open_high=True),
        "p": Range(0, 1, open_low=True),
    }
    loss: ClassVar[Loss] = SQUARED_ERROR
    per_step: ClassVar[bool] = True

    length: int | tuple[int, int] = 64
    bits: int = 3
    p: float = 0.5

    @property
    def n_inputs(self) -> int:
        """I: channels."""
        return int(self.bits)

    @property
    def n_outputs(self) -> int:
        """O: channels."""
        return int(self.bits)

    @property
    def chance_loss(self) -> float:
        """1 per channel: of the answer 0."""
        return float(self.n_outputs)

    @property
    def chance_error(self) -> float:
        """Of one sign for ever, which is right if the first pulse has it and none has the other: (1 - p/2)**(L-1)/2."""
        low, high = self.length_bounds
        right = [(0.5 * (1 - self.p / 2) ** (length - 1)) ** self.n_outputs for length in range(low, high + 1)]
        return 1 - sum(right) / len(right)

    @property
    def chance(self) -> Mapping[str, float]:
        """Of a single step 1 - 2**-bits."""
        return {**super().chance, STEP_ERROR: 1 - 2.0**-self.n_outputs}

    def batch(self, draws: Draws) -> Batch:
        """Sequences of the ids in `draws`; targets [P, T, B, O]."""
        draws = self.addressed(draws)
        lengths, T, K = self.lengths(draws), self.max_length, self.n_inputs
        step = torch.arange(T, device=draws.device)[:, None, None]
        start = (T - lengths)[:, None, None, None]
        # as whole numbers: a comparison of floats could fall out differently in the other type
        drawn = draws.words(T * K, FILLING) < int(self.p * 2**32)  # P B TK
        pulse = (drawn.unflatten(2, (T, K)).transpose(1, 2) & (step >= start)) | (step == start)  # P T B K
        signs = (2 * draws.integers(0, 1, T * K, SYMBOLS) - 1).unflatten(2, (T, K)).transpose(1, 2)
        # the step of the last pulse; before the first one any will do, as nothing is wanted there
        last = torch.where(pulse, step, torch.zeros_like(step)).cummax(1).values
        held = torch.where(step >= start, signs.gather(1, last), torch.zeros_like(signs))
        return Batch((signs * pulse).to(draws.dtype).contiguous(), held.to(draws.dtype), lengths)

    def wrong(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Bool[Tensor, "P ..."]:
        """Where some sign is wrong."""
        # not `<= 0`, which is false for NaN
        return ~((outputs * batch.targets > 0) & torch.isfinite(outputs)).all(-1)
