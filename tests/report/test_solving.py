"""Times to solve, with those that did not solve as censored."""

from __future__ import annotations

import dataclasses

from rnnsweep.report.solving import solved_over_updates, updates_to_solve
from tests.report.conftest import one_key


def test_solved_and_censored_replicas_are_told_apart():
    axes = updates_to_solve(one_key({1.0: [[True, True, False]]})).axes[0]
    solved, censored = axes.collections
    assert solved.get_offsets().tolist() == [[100.0, 0.0], [100.0, 0.0]]
    assert censored.get_offsets().tolist() == [[1000.0, 0.0]]
    assert [
        line.get_xdata().tolist() if hasattr(line.get_xdata(), "tolist") else line.get_xdata() for line in axes.lines
    ]


def test_a_trial_is_named_by_the_key_that_matters(data):
    names = [tick.get_text() for tick in updates_to_solve(data).axes[0].get_yticklabels()]
    assert all("omega.weight" in name for name in names)
    key = data.searched_by_importance[0]
    absent = dataclasses.replace(data, trials=data.trials.assign(**{key: float("nan")}))
    assert next(tick.get_text() for tick in updates_to_solve(absent).axes[0].get_yticklabels()) == f"#{data.leaders[0]}"


def test_the_share_counts_all_that_ended():
    line = solved_over_updates(one_key({1.0: [[True, False, False, False]]})).axes[0].lines[0]
    assert line.get_ydata()[-1] == 0.25
