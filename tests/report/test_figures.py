"""The figures show what the data say; an empty sweep has none, and says so by None."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from rnnsweep.report import history, overview, searched
from rnnsweep.report.page import SECTIONS
from rnnsweep.sweep.plan import Objective


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.slug)
def test_every_section_draws_labelled_axes(section, data):
    figure = section.draw(data)
    assert figure is not None
    shown = [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]
    assert shown
    if section.slug not in ("importances", "updates_to_solve", "parallel", "dynamics"):
        assert all(axes.get_xlabel() for axes in shown)
        assert shown[0].get_ylabel()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.slug)
def test_a_sweep_without_results_has_no_figure(section, empty):
    assert section.draw(empty) is None


def test_overview_shows_omega_and_counts_solved_trials(data, empty):
    assert overview.overview(empty) is None
    figure = overview.overview(data)
    solved = int(data.ranked["solved_at"].notna().sum())
    assert figure.get_suptitle() == f"quickstart: {solved} of {len(data.ranked)} complete trials solve the task"
    assert [axes.get_xlabel() for axes in figure.axes] == ["trial", "omega.weight", "omega.weight"]


def test_fate_of_trials(data):
    fate = history.kind(data.trials)
    assert fate[3] == "diverged"
    assert fate[5] == "pruned"
    assert fate[7] == "failed"


def test_ranking_follows_the_goal(data):
    up = dataclasses.replace(data, objective=Objective("valid/error", goal="maximize"))
    complete = data.trials[data.trials["state"] == "COMPLETE"]["objective"]
    assert data.ranked["objective"].iloc[0] == complete.min()
    assert up.ranked["objective"].iloc[0] == complete.max()


def test_choices_have_places_and_ranges_keep_their_numbers(data):
    place, names = searched.positions(data, "controllers.omega.weight", data.trials["controllers.omega.weight"])
    assert names == ["0.0", "1.0", "2.0", "4.0"]
    assert set(place) <= {0.0, 1.0, 2.0, 3.0}
    whole, _ = searched.positions(data, "controllers.omega.weight", pd.Series([4, 0]))
    assert whole.tolist() == [3.0, 0.0]  # 4 and 4.0 are one choice
    place, names = searched.positions(data, "init.sigma", data.trials["init.sigma"])
    assert names is None
    assert place.tolist() == data.trials["init.sigma"].tolist()
