"""Wilcoxon signed-rank test against the best trial, replica by replica, by Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import optuna
from optuna.trial import TrialState as State

from rnnsweep.adapters.optuna.frozen import frozen, study_of
from rnnsweep.adapters.optuna.history import TrialRecord
from rnnsweep.adapters.optuna.pruners.base import PrunerUnit, TrialAtRung
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.states import TrialState
from rnnsweep.unit import SHARE, Range
from rnnsweep.wording import counted


@dataclass(frozen=True)
class Wilcoxon(PrunerUnit):
    """End a trial whose replicas are worse than the same replicas of the best COMPLETE trial *at the same rung*.

    Replica r of every trial has the same data and the same random pattern of initial weights, so they are pairs.

    Attributes:
        p: largest p value (one-sided) at which a trial ends; 2^-replicas must be below it.
        warmup: rungs of each trial that are never judged.
        least: replicas that a verdict needs.
    """

    replicas: ClassVar[bool] = True
    fixed: ClassVar[Mapping[str, Range]] = {
        "p": SHARE,
        "warmup": Range(0, integer=True),
        "least": Range(2, integer=True),
    }

    p: float = 0.1
    warmup: int = 2
    least: int = 2

    def check_plan(self, plan: SweepPlan) -> None:
        """With so few replicas that no p value gets small enough, it could never end a trial."""
        super().check_plan(plan)
        # of a race, the first ones: the others are started when rungs are judged no longer
        judged = plan.first_replicas
        if not 2.0**-judged < self.p:
            raise ConfigError(
                f"with {counted(judged, 'replica')} the test's p value never gets below pruner.p = {self.p:g}",
                key="replicas" if plan.racing is None else "racing.block",
                value=plan.replicas if plan.racing is None else plan.racing.block,
                allowed="2^-replicas < pruner.p" if plan.racing is None else "2^-(2 block) < pruner.p",
            )

    def judge(self, case: TrialAtRung) -> bool:
        """Optuna's verdict, replicas as its steps."""
        best = self._best(case)
        mine = case.record.replicas.get(case.rung, ())
        if best is None or case.rung <= self.warmup or not mine:
            return False
        theirs = best.replicas[max(rung for rung in best.replicas if rung <= case.rung)]
        rival = frozen(best.number, State.COMPLETE, dict(enumerate(theirs)), best.values[:1])
        trial = frozen(case.record.number, State.RUNNING, dict(enumerate(mine)))
        with warnings.catch_warnings():
            # Experimental to Optuna: its interface may change, for which its version is pinned here.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            pruner = optuna.pruners.WilcoxonPruner(p_threshold=float(self.p), n_startup_steps=self.least)
        return bool(pruner.prune(study_of([rival, trial], case.history.goals[:1]), trial))

    def _best(self, case: TrialAtRung) -> TrialRecord | None:
        """The best COMPLETE trial that has replicas' values at this rung (or ended before it)."""
        candidates = [
            record
            for record in case.history.newest(1_000_000, TrialState.COMPLETE)
            if record.number != case.record.number and any(rung <= case.rung for rung in record.replicas)
        ]
        return min(candidates, key=lambda record: (*case.history.loss(record), record.number), default=None)
