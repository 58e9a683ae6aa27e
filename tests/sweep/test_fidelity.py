"""Stages as the machine sees them: what counts as a result, and what is compared with what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnsweep.sweep.fidelity import full_after, reached, stage_after, stages_of
from rnnsweep.sweep.objective import SOLVED_AT, Curve, rung_values
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.rebuild import Records, rebuild
from rnnsweep.sweep.records import OpenTrial, Row
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.rungs import take_rung
from rnnsweep.sweep.states import RowState, TrialState
from tests.kit.plans import plan

ERROR = "valid/error"
STAGES = stages_of({"task.length": {"0": 10, "20": 20}, "training.data_share": {"0": 0.5, "30": 1.0}}, 10)


def report(rung: int, value: float) -> RowReport:
    return RowReport(0, 0, "t", rung, 10 * rung, {ERROR: value})


def test_keys_that_change_at_different_updates_make_a_stage_each() -> None:
    assert [(one.rung, one.step, *one.values.values()) for one in STAGES] == [
        (0, 0, 10, 0.5),
        (2, 20, 20, 0.5),
        (3, 30, 20, 1.0),
    ]
    assert full_after(STAGES) == 3
    assert [stage_after(STAGES, rung) for rung in (0, 1, 2, 3, 9)] == [STAGES[i] for i in (0, 0, 1, 2, 2)]
    assert dict(reached(STAGES, 30)) == {"task.length": 20, "training.data_share": 0.5}


def test_a_block_that_is_not_settled_has_no_stages_yet() -> None:
    assert stages_of({"task.length": [10, 20]}, 10) == ()
    assert stages_of({}, 10) == ()
    assert full_after(()) == 0


def test_the_best_value_begins_anew_with_every_stage() -> None:
    """An easy task's best would hide whatever comes later; rungs 1 and 2, 3, and 4 and 5 are a stage each."""
    best = Objective(ERROR, take="best")
    values = [0.1, 0.2, 0.5, 0.9, 0.95]
    reports = [report(rung, value) for rung, value in enumerate(values, 1)]
    grown = plan(objectives=(best,), replicas=1, stages=STAGES)
    assert [value for _, _, (value,) in rung_values(grown, reports, 40)] == [0.1, 0.1, 0.5, 0.9, 0.9]
    same = replace(grown, stages=())
    assert [value for _, _, (value,) in rung_values(same, reports, 40)] == [0.1] * 5


def test_a_rung_without_an_evaluation_does_not_bring_the_stage_before_back() -> None:
    grown, curve = plan(objectives=(Objective(ERROR, take="best"),), stages=STAGES), Curve()
    curve.take(report(2, 0.1), grown)
    curve.take(replace(report(4, 0.0), metrics={}), grown)
    assert curve.best == [0.1]  # nothing was measured since, and nothing is decided on it
    curve.take(report(5, 0.8), grown)
    assert curve.best == [0.8]


def test_values_of_a_smaller_fidelity_are_no_result() -> None:
    trial = OpenTrial(0, {}, [Row(0)], TrialState.PAUSED, values=(0.1,), unpromoted=True, full=False)
    assert trial.sampled().state is TrialState.PRUNED
    assert trial.sampled().values == ()
    assert replace(trial, full=True).sampled().values == (0.1,)
    assert replace(trial, state=TrialState.PRUNED).view().values == ()
    assert replace(trial, state=TrialState.PRUNED, full=True).view().values == (0.1,)
    # nothing but divergence completes a trial before: what it scores is no measurement
    assert replace(trial, state=TrialState.COMPLETE).view().values == (0.1,)


@pytest.mark.parametrize(
    ("metric", "diverged", "full"),
    [
        (ERROR, False, [False, False, False, False, True]),
        (ERROR, True, [False, False, False, True]),  # it ends there, and has nothing more to show
        (SOLVED_AT, False, [False, False, False, True, True]),
    ],
)
def test_a_value_that_was_measured_at_the_stage_before_is_none_of_full_fidelity(metric, diverged, full) -> None:
    """Of rungs 1 to 5 every odd one has an evaluation; rung 4 is the first of the last stage."""
    memory, _ = rebuild(plan(objectives=(Objective(metric),), replicas=2, stages=STAGES), 1, 0.0, Records())
    trial, found = OpenTrial(0, {}, [Row(0), Row(1)]), []
    for rung in range(1, 6):
        for row in trial.rows:
            one = replace(report(rung, 0.5), replica=row.replica)
            if rung % 2 == 0:
                one = replace(one, metrics={})
            if rung == 4 and diverged:
                one = replace(one, state=RowState.DIVERGED)
            row.ahead[rung] = one
        if take_rung(memory, trial):
            found.append(trial.full)
    assert found == full
