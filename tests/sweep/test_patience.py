"""When a row has had its chances, what cannot be waited for, and what a trial's record says of it."""

from __future__ import annotations

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.sweep import machine
from rnnsweep.sweep.budget import check_raised
from rnnsweep.sweep.events import Judged
from rnnsweep.sweep.patience import Patience, Standing, patience_of
from rnnsweep.sweep.plan import Budget, Objective
from rnnsweep.sweep.ports import PutTrial
from rnnsweep.sweep.rebuild import Records, rebuild
from rnnsweep.sweep.states import RowState, TrialState
from tests.kit.plans import plan
from tests.sweep.test_rungs import of, trained, training


def ended_at(values, **options) -> int:
    patience, standing = Patience(**{"metric": "m", "goal": "minimize", "evaluations": 2, **options}), Standing()
    for index, value in enumerate(values):
        standing = patience.after(standing, {} if value is None else {"m": value})
        if patience.exhausted(standing):
            return index
    return -1


@pytest.mark.parametrize(
    ("values", "options", "end"),
    [
        ([1, 0.9, 0.8, 0.7], {}, -1),
        ([1, 1, 1], {}, 2),
        ([1, 1.1, 0.9, 0.95, 0.9], {}, 4),
        ([1, None, None, 1, None, 1], {}, 5),
        ([1, 0.95, 0.91, 0.89, 0.85, 0.8], {"min_delta": 0.1}, 2),
        ([1, 0.95, 0.89, 0.85, 0.8], {"min_delta": 0.1}, 4),
        ([0.1, 0.2, 0.3, 0.3, 0.2], {"goal": "maximize"}, 4),
        ([1, 1], {"evaluations": 1}, 1),
    ],
)
def test_evaluations_without_an_improvement_end_a_row(values, options, end):
    assert ended_at(values, **options) == end


def test_slow_progress_below_the_least_change_is_none_of_each_step_but_of_all_together():
    """Against the best, as in Keras: a value that has crept up to it by small steps does count."""
    assert ended_at([1, 0.94, 0.88, 0.82, 0.76], min_delta=0.1, evaluations=2) == -1


@pytest.mark.parametrize(
    ("objectives", "words"),
    [
        ((Objective("valid/error"), Objective("valid/loss")), "waits for one objective"),
        ((Objective("solved_at"),), "solved_at has none before it is there"),
        ((Objective("valid/error", reduce="solved_share"),), "solved_share has none before"),
    ],
)
def test_what_cannot_be_waited_for(objectives, words):
    with pytest.raises(ConfigError, match=words) as caught:
        patience_of(plan(1, objectives=objectives, budget=Budget(1, 100, patience=3)))
    assert caught.value.key == "budget.patience"
    assert patience_of(plan(1, objectives=objectives)) is None


def test_it_cannot_be_changed_on_resume():
    with pytest.raises(ConfigError, match=r"budget\.patience=4: cannot be changed on resume; allowed: 3"):
        check_raised(Budget(1, 100, patience=3), Budget(1, 100, patience=4))
    with pytest.raises(ConfigError, match=r"budget\.min_delta=0.1: cannot be changed"):
        check_raised(Budget(1, 100, patience=3), Budget(1, 100, patience=3, min_delta=0.1))


def test_a_stalled_replica_keeps_its_value_and_the_trial_says_so():
    memory = training(budget=Budget(1, 100, patience=2))
    trained(memory, 0, 1, 0.4)
    trained(memory, 1, 1, 0.2, state=RowState.STALLED)
    machine.step(memory, Judged(0, 1, False))
    commands = trained(memory, 0, 2, 0.1, state=RowState.DONE)
    [*_, last] = of(PutTrial, commands)
    assert (last.view.state, last.view.values) == (TrialState.COMPLETE, (pytest.approx(0.15),))
    assert last.view.reason == "no improvement of valid/error in 2 evaluations: replica 1"


def test_it_is_the_same_after_the_driver_died():
    """Stored reports say that the row is STALLED: it is neither trained again nor extended."""
    whole = training(replicas=1, budget=Budget(1, 100, patience=2))
    view = whole.open[0].view()
    [*_, attempt] = [whole.open[0].attempt()]
    reports = []
    from rnnsweep.sweep.ports import PutReports

    for put in of(PutReports, trained(whole, 0, 1, 0.4, state=RowState.STALLED)):
        reports += put.reports
    memory, commands = rebuild(whole.plan, 2, 0.0, Records(None, [view], [attempt], {0: reports}, []))
    assert not memory.open
    [*_, last] = of(PutTrial, commands)
    assert last.view.reason == "no improvement of valid/error in 2 evaluations"
