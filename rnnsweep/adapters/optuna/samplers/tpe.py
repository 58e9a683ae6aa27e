"""Tree-structured Parzen estimator, by Optuna, after a Sobol start."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import optuna

from rnnsweep.adapters.optuna.frozen import suggest
from rnnsweep.adapters.optuna.history import TrialRecord, rung_of
from rnnsweep.adapters.optuna.samplers.base import Ask, ModelSampler
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.unit import SHARE, Range


@dataclass(frozen=True)
class Tpe(ModelSampler):
    """Parzen estimators of the good and of the other trials; running trials count as bad (constant liar).

    Conditional dimensions are modelled in groups. Trials with diverged replicas rank after all others.

    Attributes:
        startup: trials that come from the Sobol sequence (by number, and until as many have ended); at most a quarter
            of `budget.trials`.
        candidates: points drawn from the good estimator per ask.
        multivariate: model dimensions jointly.
        constant_liar: let running trials repel the next ones.
        interim: a trial that was pruned, or that waits, counts from this share of `budget.updates` on: good values of
            early rungs come of points that begin well, not of those that end well.
        shown: most finished trials that one ask looks at: the best quarter and the newest; bounds its cost.

    References:
        Bergstra et al. (2011); Watanabe (2023), arXiv:2304.11127.
    """

    several_objectives: ClassVar[bool] = True
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "startup": Range(0, integer=True),
        "candidates": Range(1, integer=True),
        "multivariate": (True, False),
        "constant_liar": (True, False),
        "interim": SHARE,
        "shown": Range(16, integer=True),
    }

    startup: int = 16
    candidates: int = 24
    multivariate: bool = True
    constant_liar: bool = True
    interim: float = 0.4
    shown: int = 2000

    def trusted_rung(self, plan: SweepPlan) -> int:
        """See `SamplerUnit.trusted_rung`."""
        return rung_of(math.ceil(self.interim * plan.budget.updates), plan.report_every)

    def results(self, ask: Ask) -> list[TrialRecord] | None:
        """See `ModelSampler.results`."""
        records, start = ask.history.finished(self.shown), ask.start(self.startup)
        starting = ask.number + ask.history.warm < start or len(records) < start or len(ask.space) == 0
        return None if starting else records

    def propose(self, ask: Ask) -> dict[str, Any]:
        """Sobol at first, then the candidate with the largest ratio of both densities."""
        records = self.results(ask)
        if records is None:
            return ask.sobol
        conditional = any(dimension.when for dimension in ask.space)
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=0,
            n_ei_candidates=self.candidates,
            seed=ask.seed,
            multivariate=self.multivariate,
            group=self.multivariate and conditional,
            constant_liar=self.constant_liar,
        )
        return suggest(sampler, ask.space, ask.history, records)
