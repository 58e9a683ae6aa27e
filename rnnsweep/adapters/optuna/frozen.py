"""Our records in Optuna's words: distributions, frozen trials, and a study that shows what we choose.

Categorical values and the cells of stepped ranges are shown as their index: 1, 1.0 and True stay three values, None and
lists are no trouble, and no rounding of a step moves a bound.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Container, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as State

from rnnsweep.adapters.optuna.cube import bounds, cell_count, cell_of, cell_value
from rnnsweep.adapters.optuna.history import History, TrialRecord
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import TrialState

warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
optuna.logging.set_verbosity(optuna.logging.WARNING)

STATES = {TrialState.RUNNING: State.RUNNING, TrialState.COMPLETE: State.COMPLETE, TrialState.PRUNED: State.PRUNED}


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension as Optuna's samplers see it."""
    if dimension.kind == "categorical":
        return CategoricalDistribution(range(len(dimension.choices)))
    cells, (low, high) = cell_count(dimension), bounds(dimension)
    if cells is not None:
        return IntDistribution(0, cells - 1)
    if dimension.kind == "int":
        return IntDistribution(int(low), int(high), log=True)
    return FloatDistribution(low, high, log=dimension.log)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """All dimensions by key, in order."""
    return {dimension.key: distribution(dimension) for dimension in space}


def to_optuna(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """The dimensions that exist at `params`, discrete values as index."""
    values: dict[str, Any] = {}
    for d in space:
        if d.active(params):
            values[d.key] = params[d.key] if cell_count(d) is None else cell_of(d, params[d.key])
    return values


def from_optuna(dimension: Dimension, value: Any) -> Any:
    """A value that Optuna proposed, with the exact type and on the exact cell of its dimension."""
    if cell_count(dimension) is not None:
        return cell_value(dimension, int(value))
    low, high = bounds(dimension)
    # exp(log(high)) may come out above `high`
    inside = min(max(value, low), high)
    return int(inside) if dimension.kind == "int" else float(inside)


def frozen(
    number: int,
    state: State,
    curve: Mapping[int, float],
    values: Sequence[float] = (),
    system: Mapping[str, Any] | None = None,
) -> FrozenTrial:
    """A trial without params."""
    return FrozenTrial(
        number=number,
        state=state,
        value=None,
        values=list(values) or None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs=dict(system or {}),
        intermediate_values=dict(curve),
        trial_id=number,
    )


def frozen_record(space: Space, every: Mapping[str, BaseDistribution], record: TrialRecord) -> FrozenTrial:
    """A record with its params and the constraint `diverged`; kept with the record once it has ended."""
    if record.frozen is not None:
        # `suggest` may have emptied them in the ask before
        record.frozen.system_attrs = {"constraints:diverged": record.diverged}
        return record.frozen
    running = record.state is TrialState.RUNNING
    # of a curve Optuna's samplers use the newest point only; whole curves would make every ask slower
    curve = {} if running else dict([record.last])
    # with several objectives Optuna's samplers know no pruned trials: one that waits at a rung, or that a user has
    # ended, counts with the values that it has there
    state = TrialState.COMPLETE if len(record.values) > 1 else record.state
    values = record.values if state is TrialState.COMPLETE else ()
    trial = frozen(record.number, STATES[state], curve, values, {"constraints:diverged": record.diverged})
    trial.params = to_optuna(space, record.params)
    trial.distributions = {key: every[key] for key in trial.params}
    if not running:
        record.frozen = trial
    return trial


class _Shown(InMemoryStorage):
    """A storage that shows a given list of trials; notes of samplers and pruners are dropped."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self.trials = list(trials)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[State] | None = None
    ) -> list[FrozenTrial]:
        del study_id
        # the list that was handed over: a storage of Optuna's own would have to be filled anew for each ask
        trials = [trial for trial in self.trials if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return next(trial for trial in self.trials if trial._trial_id == trial_id)

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        # InMemoryStorage keeps track of its own trials only
        return BaseStorage.get_best_trial(self, study_id)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        del trial_id, key, value


def study_of(trials: Sequence[FrozenTrial], goals: Sequence[str]) -> optuna.Study:
    """A study of exactly these trials."""
    storage = _Shown(trials)
    directions = [StudyDirection.MAXIMIZE if goal == "maximize" else StudyDirection.MINIMIZE for goal in goals]
    storage.create_new_study(directions, "shown")
    return optuna.Study("shown", storage, sampler=optuna.samplers.RandomSampler(), pruner=optuna.pruners.NopPruner())


def suggest(
    sampler: optuna.samplers.BaseSampler, space: Space, history: History, records: Sequence[TrialRecord]
) -> dict:
    """One point from an Optuna sampler that sees `records` and all running trials.

    Values of conditional dimensions that the sampler does not relate are drawn one by one, parents first.
    """
    every = distributions(space)
    # Optuna's samplers look at its number: it must be no other trial's
    number = 1 + max((record.number for record in [*records, *history.running()]), default=-1)
    trial = frozen(number, State.RUNNING, {})
    running = [record for record in history.running() if record.point is not None]
    trials = [frozen_record(space, every, record) for record in [*records, *running]]
    if not any(record.diverged for record in records):
        for one in trials:  # a constraint that nothing violates would only cost time
            one.system_attrs = {}
    study = study_of([*trials, trial], history.goals)
    wanted = sampler.infer_relative_search_space(study, trial)
    # What Optuna's `Study.ask` and `Trial.suggest_*` do, without a storage that would remember the trial.
    related = sampler.sample_relative(study, trial, wanted)
    params: dict[str, Any] = {}
    for d in space:
        if d.active(params):
            alone = d.key not in related
            value = sampler.sample_independent(study, trial, d.key, every[d.key]) if alone else related[d.key]
            params[d.key] = from_optuna(d, value)
    return params
