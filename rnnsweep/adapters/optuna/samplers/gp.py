"""Gaussian process with expected improvement, by Optuna, after a Sobol start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import optuna

from rnnsweep.adapters.optuna.frozen import suggest
from rnnsweep.adapters.optuna.history import TrialRecord
from rnnsweep.adapters.optuna.samplers.base import Ask, ModelSampler
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Gp(ModelSampler):
    """Strong with few, expensive trials; an ask takes a second or so from some hundred trials on.

    PRUNED trials tell it nothing. Dimensions that do not exist in every trial are drawn independently.

    Attributes:
        startup: trials that come from the Sobol sequence (by number, and until as many have ended); at most a quarter
            of `budget.trials`.
        shown: most finished trials that one ask looks at: the best quarter and the newest; an ask costs shown³.

    References:
        `optuna.samplers.GPSampler` (Matérn 5/2 kernel, logEI; qLogEI beside running trials, Ament et al. 2023).
    """

    several_objectives: ClassVar[bool] = True
    fixed: ClassVar[Mapping[str, Range]] = {"startup": Range(2, integer=True), "shown": Range(16, integer=True)}

    startup: int = 12
    shown: int = 250

    def results(self, ask: Ask) -> list[TrialRecord] | None:
        """See `ModelSampler.results`."""
        records, start = ask.history.finished(self.shown, pruned=False), ask.start(self.startup)
        starting = ask.number + ask.history.warm < start or len(records) < start or len(ask.space) == 0
        return None if starting else records

    def propose(self, ask: Ask) -> dict[str, Any]:
        """Sobol at first, then the maximum of the acquisition function."""
        records = self.results(ask)
        if records is None:
            return ask.sobol
        sampler = optuna.samplers.GPSampler(seed=ask.seed, n_startup_trials=0, warn_independent_sampling=False)
        return suggest(sampler, ask.space, ask.history, records)
