"""Fixed limits, by Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import optuna

from rnnsweep.adapters.optuna.pruners.base import PrunerUnit, TrialAtRung, ask_optuna
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Threshold(PrunerUnit):
    """End a trial whose value leaves [lower, upper].

    It looks at no other trial, so a resumed sweep is the undisturbed one.

    Attributes:
        lower: least allowed value, or null.
        upper: largest allowed value, or null.
        warmup: rungs of each trial that are never judged.
        interval: judge every so many rungs.
    """

    fixed: ClassVar[Mapping[str, Range]] = {
        "lower": Range(-1e300, 1e300, optional=True),
        "upper": Range(-1e300, 1e300, optional=True),
        "warmup": Range(0, integer=True),
        "interval": Range(1, integer=True),
    }

    lower: float | None = None
    upper: float | None = None
    warmup: int = 2
    interval: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lower is None and self.upper is None:
            allowed = "pruner.lower or pruner.upper must be given"
            raise ConfigError("out of range", key="pruner.upper", value="null", allowed=allowed)
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            allowed = f"a number <= pruner.upper={self.upper:g}"
            raise ConfigError("out of range", key="pruner.lower", value=self.lower, allowed=allowed)

    def judge(self, case: TrialAtRung) -> bool:
        """Optuna's verdict."""
        if case.rung <= self.warmup:
            return False
        pruner = optuna.pruners.ThresholdPruner(self.lower, self.upper, self.warmup + 1, self.interval)
        return ask_optuna(pruner, case, [])
