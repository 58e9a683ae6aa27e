"""Numbers and ticks as a reader wants them."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from rnnsweep.report.style import PlainLogLocator, one_legend, panels, plain_log


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.3, 1.5, [1.3, 1.35, 1.4, 1.45, 1.5]),
        (0.3, 6.0, [0.5, 1, 2, 5]),
        (1e-6, 1.0, [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_round(low, high, expected):
    assert PlainLogLocator().tick_values(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("span", [(1.384, 1.39), (0.8, 1.2), (1e-9, 1e9), (3.0, 3.0001)])
def test_every_span_has_ticks_in_plain_numbers(span):
    figure = Figure()
    axes = figure.subplots()
    axes.set_ylim(*span)
    plain_log(axes, "y")
    figure.draw_without_rendering()
    texts = [tick.get_text() for tick in axes.get_yticklabels(which="both") if tick.get_text()]
    assert 2 <= len(texts) <= 12
    assert all(float(text) >= 0 for text in texts)


def test_a_legend_for_all_panels_names_each_once():
    figure, grid = panels(3, 2.0)
    for axes in grid.flat[:3]:
        axes.plot([0], [0], label="one")
    grid.flat[1].plot([0], [0], label="two")
    one_legend(figure, grid)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
    assert sum(axes.get_visible() for axes in figure.axes) == 3
