"""Asynchronous successive halving, by Optuna."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import optuna
from optuna.trial import TrialState as State

from rnnsweep.adapters.optuna.frozen import frozen, study_of
from rnnsweep.adapters.optuna.pruners.base import NEWEST, PrunerUnit, TrialAtRung
from rnnsweep.unit import Range


@dataclass(frozen=True)
class SuccessiveHalving(PrunerUnit):
    """At rungs first·factor^k, k = 0, 1, ..., only the best 1/factor of all that got there goes on.

    What a trial scored at such a rung is read from its curve, so a verdict leaves no trace and can be taken again.

    Attributes:
        first: first rung at which trials compete.
        factor: of those that compete, one in `factor` goes on.
        spared: k of the first competition (a trial is not judged before).
        bootstrap: trials that must have reached a competition before anyone passes it.

    References:
        Li et al. (2020), A system for massively parallel hyperparameter tuning (ASHA).
    """

    fixed: ClassVar[Mapping[str, Range]] = {
        "first": Range(1, integer=True),
        "factor": Range(2, integer=True),
        "spared": Range(0, integer=True),
        "bootstrap": Range(0, integer=True),
    }

    first: int = 1
    factor: int = 4
    spared: int = 0
    bootstrap: int = 0

    def judge(self, case: TrialAtRung) -> bool:
        """Optuna's verdict at a competition, else False."""
        return halve(self, case, lambda number: True)


def halve(rule: SuccessiveHalving, case: TrialAtRung, rival: Callable[[int], bool]) -> bool:
    """ASHA's verdict among the trials whose number `rival` accepts."""
    before = max((rung for rung in case.curve if rung < case.rung), default=0)
    now = [k for k in range(64) if before < rule.first * rule.factor ** (rule.spared + k) <= case.rung]
    if not now:
        return False
    others = [
        frozen(r.number, State.RUNNING, {}, (), _scores(rule, r.curve, now))
        for r in case.history.newest(NEWEST)
        if r.number != case.record.number and r.curve and rival(r.number)
    ]
    passed = {f"completed_rung_{k}": 0.0 for k in range(now[0])}
    trial = frozen(case.record.number, State.RUNNING, {case.rung: case.record.curve[case.rung]}, (), passed)
    pruner = optuna.pruners.SuccessiveHalvingPruner(
        min_resource=rule.first,
        reduction_factor=rule.factor,
        min_early_stopping_rate=rule.spared,
        bootstrap_count=rule.bootstrap,
    )
    return bool(pruner.prune(study_of([*others, trial], case.history.goals[:1]), trial))


def _scores(rule: SuccessiveHalving, curve: Mapping[int, float], competitions: Sequence[int]) -> dict[str, float]:
    """In Optuna's keys, what a trial scored at the first rung that it reported at or after each competition."""
    scores = {}
    for k in competitions:
        rung = min((rung for rung in curve if rung >= rule.first * rule.factor ** (rule.spared + k)), default=None)
        if rung is not None:
            scores[f"completed_rung_{k}"] = curve[rung]
    return scores
