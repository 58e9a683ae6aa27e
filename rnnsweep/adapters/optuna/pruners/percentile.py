"""Percentile rule, by Optuna."""

from __future__ import annotations

from dataclasses import dataclass

import optuna

from rnnsweep.adapters.optuna.pruners.base import Case, PrunerUnit, ask_optuna, complete_trials
from rnnsweep.adapters.optuna.units import number, require, whole


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

    percentile: float = 25.0
    startup: int = 5
    warmup: int = 2
    interval: int = 1
    least: int = 1

    def __post_init__(self) -> None:
        require(number(self.percentile, 0, 100), "pruner.percentile", self.percentile, "a number within 0 and 100")
        for name, low in (("startup", 0), ("warmup", 0), ("interval", 1), ("least", 1)):
            require(whole(getattr(self, name), low), f"pruner.{name}", getattr(self, name), f"a whole number >= {low}")

    def judge(self, case: Case) -> bool:
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
