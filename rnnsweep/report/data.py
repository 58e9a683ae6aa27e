"""What a report is made from: plain frames and a few facts; no ledger, no configuration classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.space import Space
from rnnsweep.sweep.summary import Rank, rank
from rnnsweep.unit import Metric

if TYPE_CHECKING:
    # pandas' own annotations widen every selection to "frame or series or array"; checked by the tests instead.
    Frame = Any
    Column = Any
else:
    from pandas import DataFrame as Frame
    from pandas import Series as Column

__all__ = ["Column", "Frame", "SweepData"]


PROFILE_COLUMNS = ["trial", "replica", "when", "update", "depth", "log10"]


def no_profiles() -> Frame:
    """Where there are no checkpoints to read."""
    from pandas import DataFrame

    return DataFrame(columns=PROFILE_COLUMNS)


@dataclass(frozen=True)
class SweepData:
    """One sweep, as it is now; it may still be running.

    Attributes:
        name: the sweep's name.
        state: upper-case sweep state.
        objective: the first objective; decides what "best" means.
        space: searched dimensions; their keys are columns of `trials`.
        updates: updates per replica that the budget allows.
        replicas_per_trial: trainings per trial.
        trials: one row per trial, by number: trial, state, objective, solved_at, diverged_at, diverged_share, reason,
            attempts, started, finished (seconds since the epoch), step, worker, engine, and one column per key.
        replicas: one row per (trial, replica): state, step, value (its share of the objective), solved_at,
            diverged_at, device_s, engine.
        curves: long form: trial, replica, step, key, value.
        profiles: long form of log10 |delta_t| in the best trials: trial, replica, when (start, middle, end), update,
            depth (steps back), log10; empty where there are no checkpoints.
        metrics: words for every metric that the sweep's trials have, by key; those that its units declare among them.
        importances: key -> share in what separates the best trials from all, largest first; empty where it cannot be
            told.
        chance: the objective's value for a network that knows nothing, or None.
        totals: wall_s, device_s, updates (row-updates) of the sweep.
        config_yaml: the resolved configuration.
        commands: command lines: the same sweep again, and going on with this one.
        environment: versions and machine, name -> value.
    """

    name: str
    state: str
    objective: Objective
    space: Space
    updates: int
    replicas_per_trial: int
    trials: Frame
    replicas: Frame
    curves: Frame
    profiles: Frame = field(default_factory=no_profiles)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    importances: Mapping[str, float] = field(default_factory=dict)
    chance: float | None = None
    totals: Mapping[str, float] = field(default_factory=dict)
    config_yaml: str = ""
    commands: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def label(self, key: str) -> str:
        """Words for a metric; one without words stands for itself."""
        return (self.metrics[key].label if key in self.metrics else "") or key

    @property
    def minimize(self) -> bool:
        """Whether smaller is better."""
        return self.objective.goal == "minimize"

    @property
    def scored(self) -> Frame:
        """Trials with an objective (COMPLETE and PRUNED), best first; COMPLETE before PRUNED at equal value."""
        have = self.trials[self.trials["objective"].notna()]
        have = have[have["state"].isin(["COMPLETE", "PRUNED"])]
        ranks = self._ranks(have)
        order = sorted(range(len(have)), key=lambda i: (ranks[i].loss, have["state"].iloc[i], ranks[i]))
        return have.iloc[order]

    @property
    def ranked(self) -> Frame:
        """COMPLETE trials, best first, by the rule of `rnnsweep.sweep.summary`."""
        done = self.trials[(self.trials["state"] == "COMPLETE") & self.trials["objective"].notna()]
        ranks = self._ranks(done)
        return done.iloc[sorted(range(len(done)), key=ranks.__getitem__)]

    @property
    def tied(self) -> int:
        """How many other complete trials have the best one's objective."""
        values = self.ranked["objective"]
        return int((values == values.iloc[0]).sum()) - 1 if len(values) else 0

    def _ranks(self, trials: Frame) -> list[Rank]:
        columns = zip(trials["objective"], trials["solved_at"], trials["trial"], strict=True)
        return [rank(self.objective, value, None if at != at else at, int(number)) for value, at, number in columns]

    @property
    def searched_by_importance(self) -> list[str]:
        """Searched keys, the most important first; in the space's order where importances are unknown."""
        return sorted(self.space.keys, key=lambda key: -self.importances.get(key, -1.0))

    def numeric(self, key: str) -> bool:
        """Whether the key's values lie on a number line (ranges do, choices do not)."""
        return next(d for d in self.space if d.key == key).kind != "categorical"

    def logarithmic(self, key: str) -> bool:
        """Whether the key is searched on a logarithmic scale."""
        return next(d for d in self.space if d.key == key).log
