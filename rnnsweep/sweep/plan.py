"""What a sweep is asked to do: plain, frozen, JSON-able data that `app` builds from the config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.sweep.space import Space

FIRST_STAGE = 4
"""Trials that may always be open at once: no model learns from fewer results, so waiting would gain nothing."""

Scalar = float | int | str | bool | None
Params = Mapping[str, Scalar]


@dataclass(frozen=True)
class Objective:
    """One number per trial, reduced over its replicas.

    Attributes:
        metric: a metric key, e.g. ``valid/error`` or ``solved_at``.
        goal: ``minimize`` or ``maximize``.
        take: ``last`` or ``best`` value of a replica's curve.
        reduce: ``mean``, ``median``, ``best`` or ``solved_share`` over replicas.
        worst: the value that a diverged replica scores from then on; finite.
    """

    metric: str
    goal: str = "minimize"
    take: str = "last"
    reduce: str = "mean"
    worst: float = 1.0


@dataclass(frozen=True)
class Budget:
    """Limits; the first one reached ends the sweep. None switches a limit off.

    Attributes:
        trials: number of trials that are asked in all.
        updates: updates per trial (of each replica).
        wall_s: wall time of the sweep, seconds, all sessions together.
        device_s: device time of all workers together, seconds.
        target: stop once the best objective reaches this value.
        patience: a replica ends after so many evaluations without an improvement by more than `min_delta`.
    """

    trials: int | None
    updates: int
    wall_s: float | None = None
    device_s: float | None = None
    target: float | None = None
    patience: int | None = None
    min_delta: float = 0.0


@dataclass(frozen=True)
class SweepPlan:
    """Everything that the sweep engine needs to know; nothing about tensors.

    Attributes:
        name: the sweep's name in every store.
        seed: sweep seed; asks are seeded from (seed, trial number).
        replicas: trainings per trial.
        report_every: updates per rung.
        objectives: one, or several for multi-objective sweeps (then no pruner judges; a scheduler may).
        budget: see `Budget`.
        space: searched dimensions.
        retries: lost attempts allowed per trial (charged ones, see `policy`).
        prefetch: trials asked ahead of free rows.
        in_flight: most trials that are open (asked for and not finished) at once, as a share of `budget.trials`, so
            that later asks know the results of earlier ones; None for no limit. Enqueued points need no results.
        enqueue: points tried before the sampler is asked.
        config: the resolved config, as plain nested data; stored verbatim.
        overrides: what the user typed, verbatim.
        worst: per metric key, what a diverged replica scores.
    """

    name: str
    seed: int
    replicas: int
    report_every: int
    objectives: tuple[Objective, ...]
    budget: Budget
    space: Space
    retries: int = 3
    prefetch: int = 2
    enqueue: tuple[Params, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    overrides: tuple[str, ...] = ()
    worst: Mapping[str, float] = field(default_factory=dict[str, float])
    in_flight: float | None = None

    @property
    def most_open(self) -> int | None:
        """Most trials that the sampler may be asked for ahead of their results; None for no limit.

        Example:
            >>> goal = (Objective("valid/error"),)
            >>> [SweepPlan("s", 0, 1, 10, goal, Budget(n, 9), Space(), in_flight=0.25).most_open for n in (8, 24, None)]
            [4, 6, None]
        """
        if self.in_flight is None or self.budget.trials is None:
            return None
        # rounded up, so that a small share of few trials never comes to none
        return max(FIRST_STAGE, math.ceil(self.in_flight * self.budget.trials))
