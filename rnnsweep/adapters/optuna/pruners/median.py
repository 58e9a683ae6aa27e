"""Median rule: the percentile rule at one half."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.adapters.optuna.pruners.base import PrunerUnit, TrialAtRung
from rnnsweep.adapters.optuna.pruners.percentile import Percentile
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Median(PrunerUnit):
    """End a trial whose best value so far is worse than the median of COMPLETE trials at the same rung.

    Attributes:
        startup: COMPLETE trials before the first verdict.
        warmup: rungs of each trial that are never judged.
        interval: judge every so many rungs.
        least: COMPLETE trials with a value at the rung that a verdict needs.
    """

    fixed: ClassVar[Mapping[str, Range]] = {
        "startup": Range(0, integer=True),
        "warmup": Range(0, integer=True),
        "interval": Range(1, integer=True),
        "least": Range(1, integer=True),
    }

    startup: int = 5
    warmup: int = 2
    interval: int = 1
    least: int = 1

    def judge(self, case: TrialAtRung) -> bool:
        """Optuna's verdict (its median pruner is this special case, too)."""
        return Percentile(50.0, self.startup, self.warmup, self.interval, self.least).judge(case)
