"""Surfaces between number lines only, and only on evidence."""

from __future__ import annotations

import dataclasses

import pytest

from rnnsweep.report.contours import contours
from rnnsweep.report.evidence import sparse


def surfaces(figure):
    return [bool(axes.collections[:-1]) for axes in figure.axes if axes.get_label() != "<colorbar>"]


def test_choices_are_strips_without_a_surface(data):
    figure = contours(data)  # pairs: (omega, sigma), (omega, clip), (sigma, clip); omega is a choice
    assert surfaces(figure) == [False, False, True]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["0", "1", "2", "4"]


def some(data, count):
    kept = data.ranked["trial"].tolist()[:count] if count else []
    return dataclasses.replace(
        data,
        trials=data.trials[data.trials["trial"].isin(kept)],
        replicas=data.replicas[data.replicas["trial"].isin(kept)],
    )


@pytest.mark.parametrize("count", [0, 3, 6])
def test_left_out_on_few_trials(data, count):
    assert contours(some(data, count)) is None


def test_left_out_where_all_but_one_tie(data):
    tied = data.trials.assign(objective=[1.0] + [0.0] * (len(data.trials) - 1))
    assert contours(dataclasses.replace(data, trials=tied)) is None


def test_few_trials_have_points_and_a_caution_but_no_surface(data):
    few = some(data, 10)
    assert surfaces(contours(few)) == [False, False, False]
    assert "Too few trials for a surface" in sparse(few)
