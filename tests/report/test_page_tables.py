"""The tables of a report."""

from __future__ import annotations

import dataclasses

from rnnsweep.report import page_tables


def test_best_trials_show_the_spread_over_replicas(data):
    table = page_tables.best(data)
    assert table["trial"].iloc[0] == data.ranked["trial"].iloc[0]
    assert (table["replicas from"] <= table["to"]).all()


def test_reasons_are_counted_the_most_frequent_first(data):
    trials = data.trials.assign(state=["FAILED"] * 3 + ["COMPLETE"] * (len(data.trials) - 3))
    trials["reason"] = ["out of memory", "bug: x", "out of memory"] + [""] * (len(trials) - 3)
    assert page_tables.reasons(dataclasses.replace(data, trials=trials)) == [
        "2 × out of memory (#0, #2)",
        "1 × bug: x (#1)",
    ]


def test_where_a_trial_diverged_is_in_the_table_of_the_best(data):
    one = dataclasses.replace(data, trials=data.trials[data.trials["trial"] == 3])
    assert page_tables.best(one)["diverged_at"].tolist() == [420]
    assert "diverged_at" in page_tables.lost(data)
    whole = dataclasses.replace(data, trials=data.trials.assign(diverged_at=None))
    assert "diverged_at" not in page_tables.best(whole)


def test_every_row_update_is_accounted_for(data):
    table = page_tables.use(data)
    assert table["trials"].sum() == len(data.trials)
    assert table["device_s"].sum() == data.replicas["device_s"].sum()


def test_why_replicas_of_the_best_ended_early_is_told_where_some_did(data):
    assert "reason" not in page_tables.best(data)
    trials = data.trials.assign(reason="no improvement of valid/loss in 4 evaluations")
    assert page_tables.best(dataclasses.replace(data, trials=trials))["reason"].nunique() == 1
