"""Periodic output: a network without inputs learns to produce a wave (Murray 2019)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.losses import HALF_SQUARED_ERROR, SQUARED_ERROR, Loss
from rnnsweep.core.rng import Draws
from rnnsweep.core.sequence_lengths import row_steps
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.tasks.success import mean_squared_errors
from rnnsweep.core.types import Batch
from rnnsweep.unit import Range

_AMPLITUDES = ((1, 1.0), (2, 0.5), (4, 0.25))
"""(harmonic, amplitude)."""
LIMIT = 0.04


@dataclass(frozen=True)
class PeriodicOutput(Task):
    """No inputs; wanted at step t = 1.. is sin 2πt/n + .5 sin 4πt/n + .25 sin 8πt/n, n = `period`.

    All sequences are the same. A sequence is wrong if its mean squared error exceeds .04.

    Attributes:
        length: steps of a sequence.
        period: n, in steps.
        half: whether the loss is half the squared error, as in the paper.

    Numerics:
        The wave is formed in float64 and rounded once.

    References:
        Murray (2019), *Local online learning in recurrent networks with random feedback*, eLife 8:e43299. The paper has
        no rule for success; .04 is that of Pascanu et al. (2013). The published notebook leaves the period's last step
        out of the sum and still divides by all 100; here all of them count.

    Example:
        >>> task = PeriodicOutput()
        >>> task.n_inputs, task.max_length, round(task.chance_loss, 5)
        (0, 100, 0.65625)
    """

    fixed: ClassVar = {
        "length": Range(2, integer=True, open_high=True),
        "period": Range(0, open_low=True, open_high=True),
        "half": (True, False),
    }
    per_step: ClassVar[bool] = True

    length: int = 100
    period: float = 100
    half: bool = False

    @property
    def loss(self) -> Loss:  # pyright: ignore[reportIncompatibleVariableOverride] - see `Task`: fields or properties
        """Squared error, or half of it."""
        return HALF_SQUARED_ERROR if self.half else SQUARED_ERROR

    @property
    def n_inputs(self) -> int:
        """I = 0."""
        return 0

    @property
    def n_outputs(self) -> int:
        """O = 1."""
        return 1

    @property
    def max_length(self) -> int:
        """T = `length`."""
        return int(self.length)

    @property
    def chance_loss(self) -> float:
        """Variance of the wave over the steps of a sequence; 21/32 over whole periods. With `half` half of it."""
        return self._variance / 2 if self.half else self._variance

    @property
    def _variance(self) -> float:
        wave = _wave(self.max_length, float(self.period))
        return float((wave - wave.mean()).square().mean())

    @property
    def chance_error(self) -> float:
        """1: no constant comes near the wave (0 where a short piece of it is nearly constant)."""
        return float(self._variance > LIMIT)

    def batch(self, draws: Draws) -> Batch:
        """The wave for every id in `draws`; targets [P, T, B, 1]."""
        P, B = draws.ids.shape
        wave = _wave_on(self.max_length, float(self.period), draws.device, draws.dtype)
        # no inputs is an axis of size 0, so that families need no case of their own
        inputs = torch.zeros(P, self.max_length, B, 0, dtype=draws.dtype, device=draws.device)
        targets = wave[None, :, None, None].repeat(P, 1, B, 1)
        return Batch(inputs, targets, torch.full_like(draws.batch_ids, self.max_length))

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Whether the mean squared error exceeds .04, bool [P, B]."""
        return mean_squared_errors(outputs, batch.targets, row_steps(batch.lengths, self.max_length), LIMIT)


@lru_cache(maxsize=16)
def _wave(length: int, period: float) -> Tensor:
    t = torch.arange(1, length + 1, dtype=torch.float64)
    return sum((a * torch.sin(2 * math.pi * k * t / period) for k, a in _AMPLITUDES), torch.zeros_like(t))


@lru_cache(maxsize=16)
def _wave_on(length: int, period: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The wave where it is used, so that no mini-batch waits for a copy."""
    return _wave(length, period).to(device, dtype)
