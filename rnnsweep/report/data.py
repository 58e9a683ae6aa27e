"""What a report is made from: plain frames and a few facts; no ledger, no configuration classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.summary import pareto, rank
from rnnsweep.sweep.views import TrialView
from rnnsweep.unit import Metric

if TYPE_CHECKING:
    # pandas' own annotations widen every selection to "frame or series or array"; checked by the tests instead.
    Frame = Any
    Column = Any
else:
    from pandas import DataFrame as Frame
    from pandas import Series as Column

__all__ = ["Column", "Frame", "SweepData"]


PROFILE_COLUMNS = ["trial", "replica", "when", "update", "depth", "log10", "layer"]


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
            attempts, started, finished (seconds since the epoch), step, worker, engine, and one column per key; where
            the ledger knows it, informed: how many results the sampler knew when it asked, unsolved: replicas that did
            not solve the task; where code or data changed, fingerprints: what it was trained under; where the space
            did, space: under which version it was asked for; same_as: whose result it has, where there are such.
        replicas: one row per (trial, replica): state, step, value (its share of the objective), solved_at,
            diverged_at, device_s, engine.
        curves: long form: trial, replica, step, key, value.
        profiles: long form of log10 |delta_t| in the best trials: trial, replica, when (start, middle, end), update,
            depth (steps back), log10, layer (its name, counted from 1 at the inputs); empty where there are no
            checkpoints.
        metrics: words for every metric that the sweep's trials have, by key; those that its units declare among them.
        importances: key -> share in what separates the best trials from all, largest first; empty where it cannot be
            told.
        noise: share that the largest of the importances stays below in 95 % of shuffled sweeps; None if not known.
        chance: the objective's value for a network that knows nothing, or None.
        objectives: all objectives, the first one included; empty stands for the first alone.
        values: one row per trial that has them: trial, and one column per objective, named by its metric.
        lineages: of a population, a row per stretch of each trial's lineage, oldest first: trial, by (who trained it),
            begin, end (updates), and one column per key; None where no trial took over another one's state.
        totals: wall_s, device_s, updates (row-updates) of the sweep.
        config_yaml: the resolved configuration.
        commands: command lines: the same sweep again, and going on with this one.
        environment: versions and machine, name -> value.
        changes: what changed of code, versions and data between sessions, a line each.
        edits: what users changed of the space while the sweep lived, a line each.
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
    noise: float | None = None
    chance: float | None = None
    objectives: tuple[Objective, ...] = ()
    values: Frame | None = None
    lineages: Frame | None = None
    totals: Mapping[str, float] = field(default_factory=dict)
    config_yaml: str = ""
    commands: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    edits: tuple[str, ...] = ()

    @property
    def mixed(self) -> list[int]:
        """Numbers of the trials that were trained under more than one code or data."""
        if "fingerprints" not in self.trials:
            return []
        return self.trials.loc[self.trials["fingerprints"].str.contains("+", regex=False), "trial"].tolist()

    def label(self, key: str) -> str:
        """Words for a metric; one without words stands for itself."""
        return (self.metrics[key].label if key in self.metrics else "") or key

    @property
    def minimize(self) -> bool:
        """Whether smaller is better."""
        return self.objective.goal == "minimize"

    @property
    def solvable(self) -> bool:
        """Whether solving means something here: some replica has solved the task, or the objective asks for it."""
        asked = self.objective.metric == "solved_at" or self.objective.reduce == "solved_share"
        return asked or bool(self.replicas["solved_at"].notna().any())

    @property
    def scored(self) -> Frame:
        """Trials with an objective (COMPLETE and PRUNED), best first by the same rule."""
        return self._in_order(("COMPLETE", "PRUNED"))

    @property
    def ranked(self) -> Frame:
        """COMPLETE trials, best first, by the rule of `rnnsweep.sweep.summary`."""
        return self._in_order(("COMPLETE",))

    def _in_order(self, states: tuple[str, ...]) -> Frame:
        have = self.trials[self.trials["objective"].notna() & self.trials["state"].isin(states)]
        columns = zip(have["objective"], have["solved_at"], have["trial"], strict=True)
        # NaN, in a frame, is a None
        ranks = [rank(self.objective, value, None if at != at else at, int(number)) for value, at, number in columns]
        return have.iloc[sorted(range(len(have)), key=ranks.__getitem__)]

    @property
    def leaders(self) -> list[int]:
        """Numbers of the COMPLETE trials that share the best objective, best first; empty without a result."""
        order = self.ranked
        return [] if order.empty else order.loc[order["objective"] == order["objective"].iloc[0], "trial"].tolist()

    @property
    def front(self) -> list[int]:
        """Numbers of the COMPLETE trials that no other one beats in every objective; empty with one objective."""
        if self.values is None or len(self.objectives) < 2:
            return []
        complete = self.values[self.values["trial"].isin(self.ranked["trial"])].dropna()
        views = [
            TrialView(int(row[0]), TrialState.COMPLETE, {}, tuple(map(float, row[1:])))
            for row in complete.itertuples(index=False, name=None)
        ]
        return [view.number for view in pareto(views, self.objectives)]

    @property
    def searched_by_importance(self) -> list[str]:
        """Searched keys, the most important first; in the space's order where importances say nothing."""
        return sorted(self.space.keys, key=lambda key: -self.telling_importances.get(key, -1.0))

    @property
    def telling_importances(self) -> Mapping[str, float]:
        """The importances, or none where the largest is no larger than what objectives dealt out at random give."""
        largest = max(self.importances.values(), default=0.0)
        # better no order than one that shuffled objectives would give too
        return {} if self.noise is not None and largest <= self.noise else self.importances

    def dimension(self, key: str) -> Dimension:
        """A searched key's dimension."""
        return next(dimension for dimension in self.space if dimension.key == key)

    def numeric(self, key: str) -> bool:
        """Whether the key's values lie on a number line (ranges do, choices do not)."""
        return self.dimension(key).kind != "categorical"

    def logarithmic(self, key: str) -> bool:
        """Whether the key is searched on a logarithmic scale."""
        return self.dimension(key).log
