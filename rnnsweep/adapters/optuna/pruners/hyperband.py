"""Hyperband: brackets of successive halving that differ in how long a trial is spared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.adapters.optuna.pruners.base import PrunerUnit, TrialAtRung
from rnnsweep.adapters.optuna.pruners.successive_halving import SuccessiveHalving, halve
from rnnsweep.sweep.schedulers.brackets import bracket_of
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Hyperband(PrunerUnit):
    """Each trial belongs to a bracket by its number and competes within it alone.

    Brackets get trials in Hyperband's proportions; the number of brackets follows from the rungs of a whole trial.

    Attributes:
        first: first rung at which the hastiest bracket competes.
        factor: of those that compete, one in `factor` goes on.
        bootstrap: trials that must have reached a competition before anyone passes it.

    References:
        Li et al. (2018), Hyperband. Like `optuna.pruners.HyperbandPruner`; ours differs: brackets are dealt by trial
        number, not by a checksum of the study's name, and the last rung is known from the budget.
    """

    fixed: ClassVar[Mapping[str, Range]] = {
        "first": Range(1, integer=True),
        "factor": Range(2, integer=True),
        "bootstrap": Range(0, integer=True),
    }

    first: int = 1
    factor: int = 3
    bootstrap: int = 0

    def judge(self, case: TrialAtRung) -> bool:
        """ASHA's verdict within the trial's bracket."""
        brackets = self.brackets(case.rungs)
        mine = bracket_of(case.record.number, self.factor, brackets)
        rule = SuccessiveHalving(self.first, self.factor, mine, self.bootstrap)
        return halve(rule, case, lambda number: bracket_of(number, self.factor, brackets) == mine)

    def brackets(self, rungs: int) -> int:
        """Number of brackets of trials with so many rungs.

        Example:
            >>> Hyperband(factor=3).brackets(27)
            4
        """
        count = 1
        while self.first * self.factor**count <= rungs:
            count += 1
        return count
