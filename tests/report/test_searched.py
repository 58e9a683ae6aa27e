"""Importances and slices."""

from __future__ import annotations

import dataclasses

from rnnsweep.report.searched import importances, slices


def test_bars_are_the_shares_with_the_noise_beside_them(data):
    figure = importances(dataclasses.replace(data, noise=0.3))
    widths = sorted(round(bar.get_width(), 2) for bar in figure.axes[0].patches)
    assert widths == [0.04, 0.09, 0.25, 0.62]
    assert figure.axes[0].lines[0].get_xdata()[0] == 0.3


def test_a_slice_per_key_the_most_important_first(data):
    labels = [axes.get_xlabel() for axes in slices(data).axes if axes.get_visible()]
    assert labels == ["omega.weight", "init.sigma", "clip.threshold", "sampling.q_max"]


def test_no_line_runs_through_a_share(data):
    """62, 25, 9 and 4 % against a line at 30 %: the letters of 25 % would lie on it, and stand behind it."""
    axes = importances(dataclasses.replace(data, noise=0.3)).axes[0]
    ends = {text.get_text(): round(text.xy[0], 2) for text in axes.texts if text.get_text()[:-1].isdigit()}
    assert ends == {"4%": 0.04, "9%": 0.09, "25%": 0.3, "62%": 0.62}
