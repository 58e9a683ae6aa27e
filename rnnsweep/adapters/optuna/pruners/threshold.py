"""Fixed limits, by Optuna."""

from __future__ import annotations

from dataclasses import dataclass

import optuna

from rnnsweep.adapters.optuna.pruners.base import Case, PrunerUnit, ask_optuna
from rnnsweep.adapters.optuna.units import number, require, whole


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

    lower: float | None = None
    upper: float | None = None
    warmup: int = 2
    interval: int = 1

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            value = getattr(self, name)
            require(value is None or number(value, -1e300, 1e300), f"pruner.{name}", value, "a number, or null")
        some = self.lower is not None or self.upper is not None
        require(some, "pruner.upper", self.upper, "pruner.lower or pruner.upper must be given")
        ordered = self.lower is None or self.upper is None or self.lower <= self.upper
        require(ordered, "pruner.lower", self.lower, "a number <= pruner.upper")
        for name, low in (("warmup", 0), ("interval", 1)):
            require(whole(getattr(self, name), low), f"pruner.{name}", getattr(self, name), f"a whole number >= {low}")

    def judge(self, case: Case) -> bool:
        """Optuna's verdict."""
        if case.rung <= self.warmup:
            return False
        pruner = optuna.pruners.ThresholdPruner(self.lower, self.upper, self.warmup + 1, self.interval)
        return ask_optuna(pruner, case, [])
