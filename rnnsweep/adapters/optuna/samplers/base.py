"""The contract of a sampler, and the start that several share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from rnnsweep.adapters.optuna.cube import params_at, seed_for, value_at
from rnnsweep.adapters.optuna.history import History, TrialRecord
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import FIRST_STAGE, SpaceVersion, SweepPlan
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.unit import Range, Unit, check_field

BLOCK = 256


@dataclass(frozen=True)
class Ask:
    """Everything that a sampler may look at.

    Attributes:
        number: the trial that is asked for.
        sweep_seed: the sweep's seed.
        space: searched dimensions.
        history: all other trials, those that still run included.
        enqueued: how many numbers before this one belong to enqueued points.
        offset: how far another sweep, whose results this one begins with, has gone along the same sequences of points.
        trials: trials of the whole sweep, None without a limit.
        stages: of a space that was edited its versions, each with the number of trials before it that were not
            enqueued; none where it was not.
    """

    number: int
    sweep_seed: int
    space: Space
    history: History
    enqueued: int = 0
    offset: int = 0
    trials: int | None = None
    stages: tuple[tuple[int, SpaceVersion], ...] = ()

    @property
    def seed(self) -> int:
        """Seed of this ask alone, 32 bits."""
        return seed_for(self.sweep_seed, self.number + self.offset)

    @property
    def sobol(self) -> dict[str, Any]:
        """The trial's own point of the sweep's scrambled Sobol sequence."""
        return params_at(self.space, self._sobol_point)

    def drawn(self, dimension: Dimension) -> Any:
        """One dimension's value at the trial's own Sobol point."""
        return value_at(dimension, self._sobol_point[self.space.keys.index(dimension.key)])

    @property
    def _sobol_point(self) -> np.ndarray:
        return sobol_point(self.sweep_seed, len(self.space), self.number + self.offset)

    def start(self, most: int) -> int:
        """Trials of the Sobol start: `most`, but a quarter of a short sweep, so that its model is asked at all."""
        return most if self.trials is None else min(most, max(FIRST_STAGE, self.trials // 4))


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

    def informed_by(self, ask: Ask) -> int:
        """How many results of other trials the model knows that `propose` asks; 0 where it asks none."""
        del ask
        return 0

    def trusted_rung(self, plan: SweepPlan) -> int:
        """The rung from which on `History.finished` shows trials that are not complete; 0: from the first one."""
        del plan
        return 0

    def check_plan(self, plan: SweepPlan) -> None:
        """Raise `ConfigError` where the sampler cannot serve this sweep."""
        if len(plan.objectives) > 1 and not self.several_objectives:
            raise ConfigError(
                "knows one objective only",
                key="sampler",
                value=self.unit_name,
                allowed="a sampler for several objectives, such as nsga2",
            )


@dataclass(frozen=True)
class ModelSampler(SamplerUnit):
    """Base of samplers that learn from results.

    Attributes:
        in_flight: most trials that are open at once, as a share of `budget.trials` (four always may be); the engine
            keeps to it. What is asked for before the results are in, a model has not chosen. None: no limit.
    """

    in_flight: float | None = 0.25

    def check(self) -> None:
        """The fields of the unit's own, and `in_flight`."""
        super().check()
        check_field("sampler.in_flight", self.in_flight, Range(0, 1, open_low=True, optional=True))

    @abstractmethod
    def results(self, ask: Ask) -> list[TrialRecord] | None:
        """Results that the model learns from; None while the points come from the Sobol sequence."""

    def informed_by(self, ask: Ask) -> int:
        """See `SamplerUnit.informed_by`."""
        return len(self.results(ask) or ())


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
