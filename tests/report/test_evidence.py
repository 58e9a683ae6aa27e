"""What few or tied trials cannot carry is left out or cautioned against."""

from __future__ import annotations

import dataclasses

from rnnsweep.report.evidence import few, ordered, varied
from rnnsweep.report.searched import importances, slices


def first(data, count):
    trials = data.trials[data.trials["state"] == "COMPLETE"].head(count)
    return dataclasses.replace(data, trials=trials)


def test_six_tied_trials_say_nothing_about_keys(data):
    six = first(data, 6)
    tied = dataclasses.replace(six, trials=six.trials.assign(objective=0.0))
    for sweep in (six, tied):
        assert not ordered(sweep)
        assert importances(sweep) is None
        texts = [text.get_text() for axes in slices(sweep).axes for text in axes.texts]
        assert not [text for text in texts if text.startswith("importance")]


def test_half_of_the_trials_at_the_best_value_are_no_order(data):
    objective = data.trials["objective"].where(data.trials["trial"] % 2 == 1, 0.0)
    assert not ordered(dataclasses.replace(data, trials=data.trials.assign(objective=objective)))


def test_a_caution_counts_trials_and_ties(data):
    assert "only 19 complete trials for 4 searched keys" in few(data, "wait")
    objective = data.trials["objective"].where(data.trials["trial"] > 5, 0.0)
    tied = dataclasses.replace(data, trials=data.trials.assign(objective=objective))
    assert "trials tie for the best objective" in few(tied, "wait")


def test_one_trial_that_differs_is_no_surface(data):
    assert varied(data)
    alike = dataclasses.replace(data, trials=data.trials.assign(objective=[1.0] + [0.001 * i for i in range(23)]))
    assert ordered(alike)
    assert not varied(alike)
