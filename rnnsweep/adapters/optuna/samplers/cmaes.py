"""CMA-ES by the package `cmaes`; its state is rebuilt from the history, nothing is unpickled."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from cmaes import CMA

from rnnsweep.adapters.optuna.cube import params_at, seed_for
from rnnsweep.adapters.optuna.history import History, TrialRecord
from rnnsweep.adapters.optuna.samplers.base import Ask, ModelSampler
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.space import Space
from rnnsweep.sweep.states import TrialState
from rnnsweep.unit import Range


@dataclass
class _Path:
    """The evolution so far: numbers of the trials that were told, and the state after them."""

    numbers: list[int]
    cma: CMA


@dataclass(frozen=True)
class Cmaes(ModelSampler):
    """Covariance matrix adaptation in the unit cube; categorical and conditional dimensions are drawn independently.

    Generations are the settled trials in order of their numbers, up to the first one that has no result yet, so late
    results never rewrite what earlier asks were based on. FAILED trials are skipped, PRUNED ones rank after COMPLETE
    ones. A search that has collapsed starts again around a fresh point. Constraints are not known to it: a diverged
    trial is bad through its objective alone.

    Attributes:
        startup: trials that come from the Sobol sequence, at most a quarter of `budget.trials`; the best one is the
            first mean.
        sigma: first standard deviation, as share of each range.
        population: trials per generation; null = 4 + 3 ln(dimensions).

    References:
        Hansen (2016), arXiv:1604.00772.
    """

    fixed: ClassVar[Mapping[str, Range]] = {
        "startup": Range(1, integer=True),
        "sigma": Range(1e-6, 1.0),
        "population": Range(4, integer=True, optional=True),
    }

    startup: int = 8
    sigma: float = 0.25
    population: int | None = None
    _paths: list[_Path] = field(default_factory=list, init=False, repr=False, compare=False)

    def check_plan(self, plan: SweepPlan) -> None:
        """One objective, and at least one number to search."""
        super().check_plan(plan)
        if len(plan.space) and not _numeric(plan.space):
            raise ConfigError("CMA-ES needs a number to search", key="sampler", allowed="tpe, random or grid")

    def propose(self, ask: Ask) -> dict[str, Any]:
        """Sobol at first, then a draw from the distribution after the last settled generation."""
        usable = self._usable(ask)
        if usable is None:
            return ask.sobol
        columns = _numeric(ask.space)
        first = min(usable, key=lambda record: _rank(ask.history, record))
        cma = copy.deepcopy(self._replay(ask, columns, _at(first, columns)))
        cma.reseed_rng(ask.seed)
        point = np.random.default_rng(ask.seed).random(len(ask.space))
        point[columns] = np.clip(cma.ask(), 0.0, 1.0)
        return params_at(ask.space, point)

    def _usable(self, ask: Ask) -> list[TrialRecord] | None:
        """Results of the start, among which the first mean is; None while the start lasts."""
        startup = ask.start(self.startup)
        start = [ask.history.get(n) for n in range(startup)]
        usable = [record for record in start if record is not None and record.usable]
        settled = all(ask.history.settled(n) for n in range(startup))
        usable += [record for record in ask.history.finished(1000, pruned=False) if record.number < 0]
        return None if ask.number < startup or not settled or not usable else usable

    def results(self, ask: Ask) -> list[TrialRecord] | None:
        """See `ModelSampler.results`: the start, and the settled generations after it."""
        usable = self._usable(ask)
        return None if usable is None else usable + _settled(ask.history, ask.start(self.startup))

    def _replay(self, ask: Ask, columns: list[int], mean: np.ndarray) -> CMA:
        """The state after all settled generations; continued where this instance has been before."""
        records = _settled(ask.history, ask.start(self.startup))
        numbers = [record.number for record in records]
        path = self._paths[0] if self._paths else None
        if path is None or numbers[: len(path.numbers)] != path.numbers:
            path = _Path([], self._fresh(mean, 0))
        size = path.cma.population_size
        for begin in range(len(path.numbers), len(records) - size + 1, size):
            chunk = sorted(records[begin : begin + size], key=lambda record: _rank(ask.history, record))
            path.cma.tell([(_at(record, columns), float(rank)) for rank, record in enumerate(chunk)])
            path.numbers.extend(record.number for record in records[begin : begin + size])
            if path.cma.should_stop():
                again = np.random.default_rng(seed_for(ask.sweep_seed, begin, 2)).random(len(columns))
                path.cma = self._fresh(again, begin)
        self._paths[:] = [path]
        return path.cma

    def _fresh(self, mean: np.ndarray, seed: int) -> CMA:
        box = np.tile([0.0, 1.0], (len(mean), 1))
        return CMA(mean=mean, sigma=self.sigma, bounds=box, seed=seed, population_size=self.population)


def _numeric(space: Space) -> list[int]:
    return [i for i, dimension in enumerate(space) if dimension.kind != "categorical" and not dimension.when]


def _at(record: TrialRecord, columns: list[int]) -> np.ndarray:
    assert record.point is not None
    return np.array([record.point[column] for column in columns], dtype=float)


def _rank(history: History, record: TrialRecord) -> tuple[float, ...]:
    """Sort key, best first: COMPLETE by value, then PRUNED by rung reached and value."""
    if record.state is TrialState.COMPLETE:
        return (0.0, 0.0, history.loss(record)[0], record.number)
    rung, value = record.last
    return (1.0, -float(rung), value if history.goals[0] == "minimize" else -value, record.number)


def _settled(history: History, first: int) -> list[TrialRecord]:
    """Usable trials from number `first` on, up to the first one without a result."""
    records = []
    n = first
    while history.settled(n):
        record = history.get(n)
        if record is not None and record.usable:
            records.append(record)
        n += 1
    return records
