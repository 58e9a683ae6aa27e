"""Our records in Optuna's words and back, and the study that shows exactly what it is given."""

import math

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState as State

from rnnsweep.adapters.optuna.frozen import (
    distributions,
    from_optuna,
    frozen,
    frozen_record,
    study_of,
    suggest,
    to_optuna,
)
from rnnsweep.adapters.optuna.history import History
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import TrialState

SPACE = Space(
    (
        Dimension("x", "float", 0.1, 10.0, log=True),
        Dimension("n", "int", 1, 9, step=2),
        Dimension("c", "categorical", choices=(None, 1, True)),
        Dimension("s", "float", 0.0, 0.9, step=0.3, when={"c": (None,)}),
    )
)
PARAMS = {"x": 0.5, "n": 5, "c": None, "s": 0.3}


def test_distributions_show_cells_as_indices():
    assert distributions(SPACE) == {
        "x": FloatDistribution(0.1, 10.0, log=True),
        "n": IntDistribution(0, 4),
        "c": CategoricalDistribution(range(3)),
        "s": IntDistribution(0, 3),
    }


def test_params_go_to_optuna_and_back_with_their_types():
    shown = to_optuna(SPACE, PARAMS)
    assert shown == {"x": 0.5, "n": 2, "c": 0, "s": 1}
    back = {d.key: from_optuna(d, shown[d.key]) for d in SPACE}
    assert back == PARAMS
    assert from_optuna(SPACE.dimensions[2], 2) is True
    assert to_optuna(SPACE, {**PARAMS, "c": 1}) == {"x": 0.5, "n": 2, "c": 1}


def test_what_lies_beyond_a_bound_by_rounding_is_brought_back():
    assert from_optuna(SPACE.dimensions[0], math.nextafter(10.0, 11.0)) == 10.0


def test_a_study_shows_exactly_its_trials_and_keeps_nothing():
    trials = [frozen(3, State.COMPLETE, {1: 0.5}, (0.5,)), frozen(7, State.RUNNING, {})]
    study = study_of(trials, ["maximize"])
    assert [trial.number for trial in study.get_trials(deepcopy=False)] == [3, 7]
    assert [trial.number for trial in study.get_trials(states=(State.RUNNING,))] == [7]
    assert study.best_value == 0.5
    study._storage.set_trial_system_attr(7, "note", 1)
    assert study.get_trials()[1].system_attrs == {}


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED])
def test_a_finished_record_is_shown_with_its_last_report_and_constraint(state):
    history = History(SPACE, (Objective("e"),))
    history.start(0, PARAMS)
    for rung, value in ((1, 0.9), (2, 0.7)):
        history.report(0, rung, value)
    history.finish(TrialView(0, state, PARAMS, (0.7,), diverged_share=0.5))
    record = history.get(0)
    shown = frozen_record(SPACE, distributions(SPACE), record)
    assert shown.intermediate_values == {2: 0.7}
    assert shown.system_attrs == {"constraints:diverged": 0.5}
    assert shown.values == ([0.7] if state is TrialState.COMPLETE else None)
    assert frozen_record(SPACE, distributions(SPACE), record) is shown


def test_suggestions_lie_in_the_space_and_follow_its_conditions():
    history = History(SPACE, (Objective("e"),))
    for seed in range(20):
        params = suggest(optuna.samplers.RandomSampler(seed), SPACE, history, [])
        assert 0.1 <= params["x"] <= 10.0 and params["n"] in (1, 3, 5, 7, 9)
        assert ("s" in params) == (params["c"] is None)
