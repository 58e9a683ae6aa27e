"""The contract of a pruner, and the way to one of Optuna's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as State

from rnnsweep.adapters.optuna.frozen import STATES, frozen, study_of
from rnnsweep.adapters.optuna.history import History, TrialRecord
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.states import TrialState
from rnnsweep.unit import Unit

NEWEST = 2000
"""Trials that one verdict looks at, at most: the newest. It keeps the cost of a verdict constant."""


@dataclass(frozen=True)
class TrialAtRung:
    """A trial at a rung.

    Attributes:
        record: the trial; reports beyond `rung` are not to be looked at.
        rung: the rung to judge, already reported.
        rungs: rungs of a whole trial.
        history: all trials that count.
    """

    record: TrialRecord
    rung: int
    rungs: int
    history: History

    @property
    def curve(self) -> dict[int, float]:
        """Value by rung, up to the judged rung."""
        return {rung: value for rung, value in sorted(self.record.curve.items()) if rung <= self.rung}


@dataclass(frozen=True)
class PrunerUnit(Unit):
    """Base of pruners: units without state, so that a verdict can be taken again. Steps are rungs.

    Attributes:
        curves: whether it looks at trials' curves; where not, it is never asked, and curves are not kept.
        replicas: whether it compares replicas.
        several_objectives: whether it serves sweeps with more than one objective.
    """

    unit_group: ClassVar[str] = "pruner"
    curves: ClassVar[bool] = True
    replicas: ClassVar[bool] = False
    several_objectives: ClassVar[bool] = False

    @abstractmethod
    def judge(self, case: TrialAtRung) -> bool:
        """Whether the trial should end at this rung, as a function of the case alone."""

    def check_plan(self, plan: SweepPlan) -> None:
        """Raise `ConfigError` where the pruner cannot serve this sweep."""
        if len(plan.objectives) > 1 and not self.several_objectives:
            problem = "several objectives cannot be pruned"
            raise ConfigError(problem, key="pruner", value=self.unit_name, allowed="pruner=none")


def complete_trials(history: History) -> list[FrozenTrial]:
    """The newest COMPLETE trials with their whole curves, without params."""
    return [
        frozen(r.number, State.COMPLETE, r.curve, r.values[:1]) for r in history.newest(NEWEST, TrialState.COMPLETE)
    ]


def ask_optuna(pruner: optuna.pruners.BasePruner, case: TrialAtRung, others: Sequence[FrozenTrial]) -> bool:
    """The verdict of one of Optuna's pruners that sees `others`."""
    trial = frozen(case.record.number, STATES[TrialState.RUNNING], case.curve)
    return bool(pruner.prune(study_of([*others, trial], case.history.goals[:1]), trial))
