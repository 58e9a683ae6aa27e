"""Which searched keys matter: PED-ANOVA by Optuna, robust to few trials and constant values."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as State

from rnnsweep.adapters.optuna.cube import point_of
from rnnsweep.adapters.optuna.frozen import distributions, frozen, study_of, to_optuna
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.space import Space
from rnnsweep.sweep.states import TrialState

LEAST = 4
"""COMPLETE trials that an answer needs."""


def importances(
    space: Space, trials: Sequence[TrialView], objective: int = 0, goal: str = "minimize"
) -> dict[str, float]:
    """Share of each searched key in what separates the best tenth of trials from all; shares sum to 1, largest first.

    All are 0 where there is nothing to tell: fewer than four COMPLETE trials inside the space, or equal values.

    Args:
        space: searched dimensions.
        trials: of any state; only COMPLETE ones count.
        objective: index into `values`.
        goal: ``minimize`` or ``maximize``.

    References:
        Watanabe, Bansal, Hutter (2023), PED-ANOVA, arXiv:2304.10255.
    """
    known = [trial for trial in (_frozen(space, view, objective) for view in trials) if trial is not None]
    shares = dict.fromkeys(space.keys, 0.0)
    if len(known) >= LEAST and len({trial.value for trial in known}) > 1:
        # a key that had one value throughout separates nothing
        used = [key for key in space.keys if len({trial.params.get(key) for trial in known}) > 1]
        shares.update(_evaluate(known, goal, used))
    total = sum(shares.values())
    scaled = {key: value / total if total > 0 else 0.0 for key, value in shares.items()}
    return dict(sorted(scaled.items(), key=lambda item: -item[1]))


def _frozen(space: Space, view: TrialView, objective: int) -> FrozenTrial | None:
    if view.state is not TrialState.COMPLETE or len(view.values) <= objective:
        return None
    if not math.isfinite(view.values[objective]) or point_of(space, view.params) is None:
        return None
    trial = frozen(view.number, State.COMPLETE, {}, view.values[objective : objective + 1])
    every = distributions(space)
    trial.params = to_optuna(space, view.params)
    trial.distributions = {key: every[key] for key in trial.params}
    return trial


def _evaluate(trials: list[FrozenTrial], goal: str, used: list[str]) -> dict[str, float]:
    if not used:
        return {}
    evaluator = PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        # experimental, says Optuna; a user of a report cannot do anything about it
        warnings.simplefilter("ignore")
        shares = evaluator.evaluate(study_of(trials, [goal]), used)
    return {key: value for key, value in shares.items() if math.isfinite(value) and value > 0}
