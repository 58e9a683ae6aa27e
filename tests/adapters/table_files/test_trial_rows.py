"""A trial's row: every column has its value, absent keys are empty and null is a value."""

from __future__ import annotations

from rnnsweep.adapters.table_files.trial_rows import trial_columns, trial_row
from rnnsweep.adapters.tracked_trials import TrackedSweep, TrackerFacts
from tests.kit.demo_sweep import KEYS, PARAMS, STARTED, Journal, make_plan


def row_of(params, **more):
    journal = Journal()
    journal.trial(0, "RUNNING", params=params)
    journal.trial(0, "COMPLETE", (0.25,), params=params, finished=STARTED + 9, **more)
    sweep = TrackedSweep(make_plan(), TrackerFacts(metrics=lambda: KEYS, shape_key=lambda _: "srn"))
    sweep.take(journal.changes)
    names = [name for name, _ in trial_columns(sweep.plan)]
    return dict(zip(names, trial_row(sweep, sweep.trials[0]), strict=True))


def test_a_finished_trial():
    row = row_of(PARAMS, step=100, solved_at=90, attempts=2)
    assert row["trial"] == 0 and row["state"] == "COMPLETE" and row["objective"] == 0.25
    assert row["controllers.clip.threshold"] == 0.5 and row["family.activation"] == "null"
    assert (row["step"], row["solved_at"], row["started"], row["finished"]) == (100, 90, STARTED, STARTED + 9)
    assert (row["attempts"], row["seed"], row["solved"], row["shape_key"]) == ("2", "7", "yes", "srn")


def test_a_key_that_the_trial_has_not_is_empty():
    assert row_of({"controllers.clip.threshold": 0.5})["family.activation"] is None
