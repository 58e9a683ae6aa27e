"""No pruning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.adapters.optuna.pruners.base import PrunerUnit, TrialAtRung


@dataclass(frozen=True)
class Never(PrunerUnit):
    """Every trial trains to its end."""

    curves: ClassVar[bool] = False
    several_objectives: ClassVar[bool] = True

    def judge(self, case: TrialAtRung) -> bool:
        """Never."""
        del case
        return False
