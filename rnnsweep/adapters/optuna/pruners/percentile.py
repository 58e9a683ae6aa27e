"""Percentile rule, by Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import optuna

from rnnsweep.adapters.optuna.pruners.base import PrunerUnit, TrialAtRung, ask_optuna, complete_trials
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Percentile(PrunerUnit):
    """End a trial whose best value so far is outside the best `percentile` of COMPLETE trials at the same rung.

    Attributes:
        percentile: share that may go on, in percent.
        startup: COMPLETE trials before the first verdict.
        warmup: rungs of each trial that are never judged.
        interval: judge every so many rungs.
        least: COMPLETE trials with a value at the rung that a verdict needs.
    """

    fixed: ClassVar[Mapping[str, Range]] = {
        "percentile": Range(0, 100),
        "startup": Range(0, integer=True),
        "warmup": Range(0, integer=True),
        "interval": Range(1, integer=True),
        "least": Range(1, integer=True),
    }

    percentile: float = 25.0
    startup: int = 5
    warmup: int = 2
    interval: int = 1
    least: int = 1

    def judge(self, case: TrialAtRung) -> bool:
        """Optuna's verdict."""
        if case.rung <= self.warmup:
            return False
        pruner = optuna.pruners.PercentilePruner(
            float(self.percentile),
            n_startup_trials=self.startup,
            n_warmup_steps=self.warmup + 1,
            interval_steps=self.interval,
            n_min_trials=self.least,
        )
        return ask_optuna(pruner, case, complete_trials(case.history))
