"""NSGA-II for several objectives; parents come from the history, generations from the trial's number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rnnsweep.adapters.optuna.cube import params_at
from rnnsweep.adapters.optuna.history import History, TrialRecord
from rnnsweep.adapters.optuna.samplers.base import Ask, ModelSampler
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.space import Space
from rnnsweep.unit import SHARE, Range


@dataclass(frozen=True)
class Nsga2(ModelSampler):
    """Elitist evolution by non-domination and crowding; diverged trials are dominated by all that did not diverge.

    Generation g asks trials g·population and on; its parents are the best `population` of all that ended before.

    Attributes:
        population: parents, and trials per generation; the first generation is a Sobol sequence.
        crossover: probability that a child has two parents.
        swap: probability that a coordinate comes from the second parent.
        mutation: probability that a coordinate moves (one always does); null = 1 / dimensions.
        spread: index of the polynomial steps; larger = smaller steps.
        shown: most finished trials that one ask looks at.

    References:
        Deb et al. (2002), A fast and elitist multiobjective genetic algorithm: NSGA-II. Ours differs: uniform crossover
        (as in Optuna); parents are chosen when a trial is asked for, not once per generation.
    """

    several_objectives: ClassVar[bool] = True
    fixed: ClassVar[Mapping[str, Range]] = {
        "population": Range(2, integer=True),
        "crossover": SHARE,
        "swap": SHARE,
        "mutation": Range(0, 1, optional=True),
        "spread": Range(0, 1000),
        "shown": Range(2, integer=True),
    }

    population: int = 32
    crossover: float = 0.9
    swap: float = 0.5
    mutation: float | None = None
    spread: float = 10.0
    shown: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shown < self.population:  # parents are chosen among those that are shown
            allowed = f"a whole number >= sampler.population={self.population}"
            raise ConfigError("out of range", key="sampler.shown", value=self.shown, allowed=allowed)

    def results(self, ask: Ask) -> list[TrialRecord] | None:
        """See `ModelSampler.results`."""
        ended = ask.history.finished(self.shown, pruned=False)
        starting = ask.number < self.population or len(ended) < 2 or len(ask.space) == 0
        return None if starting else ended

    def propose(self, ask: Ask) -> dict[str, Any]:
        """Sobol at first, then a child of two tournament winners."""
        ended = self.results(ask)
        if ended is None:
            return ask.sobol
        parents = self._parents(ask.history, ended)
        rng = np.random.default_rng(ask.seed)
        # P D: coordinates of dimensions that a parent does not have are drawn, so a child may turn them on
        points = np.array([[np.nan if u is None else u for u in record.point or ()] for record in parents])
        points = np.where(np.isnan(points), rng.random(points.shape), points)
        mother, father = _tournament(len(parents), rng), _tournament(len(parents), rng)
        child = points[mother].copy()
        if rng.random() < self.crossover:
            child = np.where(rng.random(child.size) < self.swap, points[father], child)
        return params_at(ask.space, self._mutated(child, ask.space, rng))

    def _mutated(self, child: np.ndarray, space: Space, rng: np.random.Generator) -> np.ndarray:
        """At least one coordinate moves: numbers by a polynomial step, categorical ones anywhere."""
        rate = 1.0 / child.size if self.mutation is None else self.mutation
        chosen = rng.random(child.size) < rate
        chosen[rng.integers(child.size)] = True
        u = rng.random(child.size)
        power = 1.0 / (self.spread + 1.0)
        step = np.where(u < 0.5, (2 * u) ** power - 1, 1 - (2 * (1 - u)) ** power)
        category = np.array([dimension.kind == "categorical" for dimension in space])
        moved = np.where(category, u, np.clip(child + step, 0.0, 1.0))
        return np.where(chosen, moved, child)

    def _parents(self, history: History, ended: list[TrialRecord]) -> list[TrialRecord]:
        """The best `population`, best first: by front, then by crowding distance, then by number."""
        losses = np.array([history.loss(record) for record in ended])
        diverged = np.array([record.diverged for record in ended])
        front = fronts(losses, diverged)
        spread = np.zeros(len(ended))
        for index in np.unique(front):
            members = np.flatnonzero(front == index)
            spread[members] = crowding(losses[members])
        order = np.lexsort((np.arange(len(ended)), -spread, front))
        return [ended[i] for i in order[: self.population]]


def _tournament(size: int, rng: np.random.Generator) -> int:
    return int(rng.integers(size, size=2).min())  # parents are sorted, best first


def fronts(losses: np.ndarray, violation: np.ndarray) -> np.ndarray:
    """Index of each point's non-dominated front, constrained domination; losses [N, M], less is better.

    Example:
        >>> fronts(np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.zeros(3)).tolist()
        [0, 0, 1]
    """
    no_worse = (losses[:, None] <= losses[None]).all(2)
    better = no_worse & (losses[:, None] < losses[None]).any(2)
    feasible = (violation[:, None] <= 0) & (violation[None] <= 0)
    dominates = np.where(feasible, better, violation[:, None] < violation[None])
    left = np.ones(len(losses), dtype=bool)
    front = np.zeros(len(losses), dtype=int)
    index = 0
    while left.any():
        now = left & ~dominates[left].any(0)
        front[now] = index
        left &= ~now
        index += 1
    return front


def crowding(losses: np.ndarray) -> np.ndarray:
    """Crowding distance of the points of one front; its extremes have infinity."""
    distance = np.zeros(len(losses))
    for column in losses.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if span > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return distance
