"""The one picture of a sweep."""

from __future__ import annotations

import dataclasses

from rnnsweep.report import overview
from rnnsweep.sweep.space import Space


def test_overview_shows_omega_and_counts_solved_trials(data, empty):
    assert overview.overview(empty) is None
    figure = overview.overview(data)
    solved = int(data.ranked["solved_at"].notna().sum())
    own = data.replicas[data.replicas["trial"].isin(data.ranked["trial"])]["solved_at"]
    counted = f"{solved} of {len(data.ranked)} complete trials ({own.notna().sum()} of {len(own)} replicas)"
    assert figure.get_suptitle() == f"quickstart: {counted} solve the task"
    assert [axes.get_xlabel() for axes in figure.axes] == ["trial", "omega.weight", "omega.weight"]


def test_without_omega_the_most_important_key_is_told(data):
    space = Space(tuple(d for d in data.space if d.key != overview.PREFERRED))
    assert overview.telling_key(dataclasses.replace(data, space=space)) == "init.sigma"
    assert overview.telling_key(dataclasses.replace(data, space=Space(()))) is None
