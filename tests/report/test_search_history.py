"""History and incumbent."""

from __future__ import annotations

from dataclasses import replace

from rnnsweep.report.search_history import best_so_far, history, objective_label


def test_the_staircase_never_rises(data):
    (stairs,) = [line for line in history(data).axes[0].lines if line.get_label() == "best so far"]
    values = list(stairs.get_ydata())
    assert values == sorted(values, reverse=True)


def test_every_leader_shows_its_replicas(data):
    collections = best_so_far(data).axes[0].collections
    points = sum(len(one.get_offsets()) for one in collections if len(one.get_offsets()) == data.replicas_per_trial)
    assert points % data.replicas_per_trial == 0
    assert points > 0


def test_the_objective_in_words(data):
    assert objective_label(data) == "validation error, mean of 6\n(lower is better)"


def test_a_lead_that_nobody_took_over_is_no_figure(data):
    """It was a level line."""
    first = data.ranked.sort_values(["finished", "trial"])["trial"].iloc[0]
    trials = data.trials.assign(objective=data.trials["objective"].where(data.trials["trial"] != first, 0.0))
    assert best_so_far(data) is not None
    assert best_so_far(replace(data, trials=trials)) is None
    assert best_so_far(replace(data, trials=data.trials.assign(finished=data.trials["finished"].max()))) is None
