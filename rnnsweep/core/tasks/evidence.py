"""Noisy evidence for one of several directions on a ring: what tasks of integration share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.decision import DecisionTask
from rnnsweep.core.tasks.synthetic import POSITIONS
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Range


@dataclass(frozen=True)
class EvidenceTask(DecisionTask):
    """Base: fixation, stimulus (`length` steps), delay, decision.

    During the stimulus input i is 1/2 + c/200 cos(theta_i - theta) plus noise: theta is the direction, one of theta_i =
    2 pi i / `directions`, and c, the coherence in percent, one of `coherences`; both are drawn uniformly.

    Attributes:
        delay: steps between stimulus and decision.
        directions: number of choices, and of stimulus inputs for each stream of evidence.
        coherences: percent.
    """

    fixed: ClassVar = {
        **DecisionTask.fixed,
        "delay": Range(0, integer=True, open_high=True),
        "directions": Range(2, 64, integer=True),
    }

    delay: int = 0
    directions: int = 2
    coherences: Iterable[float] = (0, 6.4, 12.8, 25.6, 51.2)

    def __post_init__(self) -> None:
        if isinstance(self.coherences, Iterable) and not isinstance(self.coherences, str):
            object.__setattr__(self, "coherences", tuple(self.coherences))
        super().__post_init__()

    def check(self) -> None:
        """Also refuse coherences that are none.

        Raises:
            ConfigError: some field is out of range.
        """
        super().check()
        values = self.coherences
        if not isinstance(values, tuple) or not values or not all(map(Range(0, 100).accepts, values)):
            shown = list(values) if isinstance(values, tuple) else values
            allowed = "a list of numbers >= 0 and <= 100, in percent"
            raise ConfigError("out of range", key="task.coherences", value=shown, allowed=allowed)

    @property
    def periods(self) -> Mapping[str, int | None]:
        """Fixation, stimulus, delay, decision."""
        return {"fixation": self.fixation, "stimulus": None, "delay": self.delay, "decision": self.decision}

    @property
    def choices(self) -> int:
        """One per direction."""
        return int(self.directions)

    def evidence(self, draws: Draws, direction: Int64[Tensor, "P B m"]) -> Float64[Tensor, "P B S"]:
        """Mean of the stimulus inputs of m streams, one after another; each has a coherence of its own."""
        halves = _half_shares(tuple(self.coherences), draws.device)
        strength = halves[draws.integers(0, len(halves) - 1, direction.shape[2], POSITIONS)]  # P B m
        return (0.5 + strength[..., None] * tuning(self.choices, draws.device)[direction]).flatten(2)


@lru_cache(maxsize=16)
def tuning(count: int, device: torch.device) -> Float64[Tensor, "count count"]:
    """cos(2 pi (i - j) / count), what input i sees of direction j; on the device, so that no mini-batch waits for it.

    Numerics:
        By scalar code; exactly symmetric.
    """
    values = [math.cos(2 * math.pi * min(k, count - k) / count) for k in range(count)]
    table = [[values[(i - j) % count] for i in range(count)] for j in range(count)]
    return torch.tensor(table, dtype=torch.float64, device=device)


@lru_cache(maxsize=16)
def _half_shares(percent: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor([value / 200 for value in percent], dtype=torch.float64, device=device)
