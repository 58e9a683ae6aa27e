"""The contract of a sampler, and the start that several share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from rnnsweep.adapters.optuna.cube import params_at, seed_for, value_at
from rnnsweep.adapters.optuna.history import History
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.unit import Unit

BLOCK = 256


@dataclass(frozen=True)
class Ask:
    """Everything that a sampler may look at.

    Attributes:
        number: the trial that is asked for.
        sweep_seed: the sweep's seed.
        space: searched dimensions.
        history: all other trials, those that still run included.
        enqueued: how many numbers belong to enqueued points.
    """

    number: int
    sweep_seed: int
    space: Space
    history: History
    enqueued: int = 0

    @property
    def seed(self) -> int:
        """Seed of this ask alone, 32 bits."""
        return seed_for(self.sweep_seed, self.number)

    @property
    def sobol(self) -> dict[str, Any]:
        """The trial's own point of the sweep's scrambled Sobol sequence."""
        return params_at(self.space, sobol_point(self.sweep_seed, len(self.space), self.number))

    def drawn(self, dimension: Dimension) -> Any:
        """One dimension's value at the trial's own Sobol point."""
        index = self.space.keys.index(dimension.key)
        return value_at(dimension, sobol_point(self.sweep_seed, len(self.space), self.number)[index])


@dataclass(frozen=True)
class SamplerUnit(Unit):
    """Base of samplers: units without state, so that an ask can be taken again.

    Attributes:
        several_objectives: whether it serves sweeps with more than one objective.
    """

    unit_group: ClassVar[str] = "sampler"
    several_objectives: ClassVar[bool] = False

    @abstractmethod
    def propose(self, ask: Ask) -> dict[str, Any] | None:
        """The point of the trial, as a function of `ask` alone; None when the space is exhausted."""

    def check_plan(self, plan: SweepPlan) -> None:
        """Raise `ConfigError` where the sampler cannot serve this sweep."""
        if len(plan.objectives) > 1 and not self.several_objectives:
            raise ConfigError(
                "knows one objective only",
                key="sampler",
                value=self.unit_name,
                allowed="a sampler for several objectives, such as nsga2",
            )


@lru_cache(maxsize=64)
def _sobol_block(seed: int, dimensions: int, block: int) -> np.ndarray:
    from scipy.stats import qmc  # takes a second to import, which only who draws should wait for

    engine = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed_for(seed, dimensions, 1)))
    if block:
        engine.fast_forward(block * BLOCK)
    return engine.random(BLOCK)


def sobol_point(seed: int, dimensions: int, number: int) -> np.ndarray:
    """Point `number` of the scrambled Sobol sequence of (seed, dimensions), in [0, 1)."""
    if dimensions == 0:
        return np.empty(0)
    return _sobol_block(seed, dimensions, number // BLOCK)[number % BLOCK]
