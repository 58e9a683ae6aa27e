"""What a sweep is asked to do: plain, frozen, JSON-able data that `app` builds from the config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.sweep.fidelity import Stage
from rnnsweep.sweep.space import Dimension, Space, completed

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
class Racing:
    """How many replicas a trial gets depends on how they do beside those of the trials before it, see `racing`.

    Attributes:
        level: most probability, over all its looks, that a trial as good as its rivals loses its race; 0 to 1.
        block: replicas that are started together, >= 1; those of the first block choose the rivals.
    """

    level: float
    block: int = 1

    @property
    def first(self) -> int:
        """Replicas that every trial begins with: a block that chooses its rivals, and one that is compared."""
        return 2 * self.block

    def looks(self, replicas: int) -> range:
        """After how many of a trial's replicas it is decided whether there will be more.

        Example:
            >>> list(Racing(0.1, 2).looks(10)), list(Racing(0.1, 1).looks(2))
            ([4, 6, 8], [])
        """
        return range(self.first, replicas, self.block)


@dataclass(frozen=True)
class SpaceVersion:
    """A search space from one edit of it to the next.

    Attributes:
        number: 0 as launched, then 1, 2, ...
        first: number of the first trial that is asked for under it.
        space: what is searched.
        pins: keys that were searched before and are not now, each with its one value.
        defaults: keys that are searched now or were before, but not from the launch on, each with the value that the
            trials had which name none.
    """

    number: int
    first: int
    space: Space
    pins: tuple[Dimension, ...] = ()
    defaults: tuple[Dimension, ...] = ()


@dataclass(frozen=True)
class SweepPlan:
    """Everything that the sweep engine needs to know; nothing about tensors.

    Attributes:
        name: the sweep's name in every store.
        seed: sweep seed; asks are seeded from (seed, trial number).
        replicas: trainings per trial.
        report_every: updates per rung. eval_every: rungs per evaluation.
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
        repeat: train a point again that was trained before; False where that would only give the same numbers.
        fingerprint: number of what this session trains under, see `RowReport.fingerprint`.
        racing: what decides how many of its replicas a trial gets; None: all of them.
        versions: of the space, oldest first, the last one being `space`; none where it was never edited.
        stages: what trials train at, see `fidelity`; none where it is the same from first to last.
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
    eval_every: int = 1
    repeat: bool = True
    fingerprint: int = 0
    versions: tuple[SpaceVersion, ...] = ()
    racing: Racing | None = None
    stages: tuple[Stage, ...] = ()

    @property
    def first_replicas(self) -> int:
        """Replicas that a trial begins with."""
        return self.replicas if self.racing is None else self.racing.first

    @property
    def version(self) -> SpaceVersion:
        """The space as it is now."""
        return self.versions[-1] if self.versions else SpaceVersion(0, 0, self.space)

    def version_of(self, trial: int) -> int:
        """Number of the version that a trial was asked for under."""
        return max((version.number for version in self.versions if version.first <= trial), default=0)

    @property
    def searched(self) -> tuple[Dimension, ...]:
        """Every key that is searched or was, those of now first; one whose values changed their kind has choices."""
        known: dict[str, Dimension] = {dimension.key: dimension for dimension in self.space}
        for version in reversed(self.versions):
            for dimension in version.space:
                one = known.setdefault(dimension.key, dimension)
                if one.kind != dimension.kind:
                    known[dimension.key] = Dimension(dimension.key, "categorical", choices=("",))
        return tuple(known.values())

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of `searched`."""
        return tuple(dimension.key for dimension in self.searched)

    def whole(self, params: Params) -> dict[str, Any]:
        """A trial's point with the values that it had of keys which came later."""
        return completed(self.version.defaults, params)

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
