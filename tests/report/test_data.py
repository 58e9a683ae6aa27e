"""The order of trials is the one rule of the sweep engine; ties and fronts are counted by it."""

from __future__ import annotations

import dataclasses

from rnnsweep.report.data import no_profiles
from rnnsweep.sweep.plan import Objective
from tests.report.conftest import one_key, two_objectives


def test_ranking_follows_the_goal(data):
    up = dataclasses.replace(data, objective=Objective("valid/error", goal="maximize"))
    complete = data.trials[data.trials["state"] == "COMPLETE"]["objective"]
    assert data.ranked["objective"].iloc[0] == complete.min()
    assert up.ranked["objective"].iloc[0] == complete.max()


def test_who_solved_first_wins_a_tie_then_the_lower_number():
    data = one_key({0.0: [[True], [True], [False]], 1.0: [[True]]})
    trials = data.trials.assign(solved_at=[300.0, 200.0, None, 200.0])
    data = dataclasses.replace(data, trials=trials)
    assert data.ranked["trial"].tolist() == [1, 3, 0, 2]
    assert data.leaders == [1, 3, 0]


def test_pruned_trials_stand_in_line_but_do_not_win(data):
    assert set(data.scored["state"]) == {"COMPLETE", "PRUNED"}
    assert set(data.ranked["state"]) == {"COMPLETE"}
    assert data.scored["objective"].is_monotonic_increasing


def test_a_front_needs_two_objectives(data):
    assert data.front == []
    both = two_objectives(data)
    values = both.values[both.values["trial"].isin(both.ranked["trial"])].set_index("trial")
    front = values.loc[both.front]
    assert front.index.size > 0
    for _, point in front.iterrows():
        better = (values <= point).all(axis=1) & (values < point).any(axis=1)
        assert not better.any()


def test_an_empty_sweep_has_no_winner(empty):
    assert empty.leaders == []
    assert empty.ranked.empty
    assert no_profiles().empty


def test_importances_that_luck_gives_too_set_no_order(data):
    loud = dataclasses.replace(data, noise=0.9)
    assert loud.searched_by_importance == list(data.space.keys)
    assert data.searched_by_importance[:2] == ["controllers.omega.weight", "init.sigma"]
    assert dataclasses.replace(data, noise=0.3).searched_by_importance == data.searched_by_importance
