"""Gradient norms against the steps back from the end, and their rate by key."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from rnnsweep.report.data import Frame
from rnnsweep.report.style import GREY, canvas, plain_log, styled
from rnnsweep.report.sweep_figures.axis import Axis, curves, points


def gradient_flow(tables: Mapping[str, Frame], axis: Axis) -> Figure:
    """Left: |dL/ds_t| by lag; right: its rate of growth per step back.

    Args:
        tables: ``norms`` and ``summary``. axis: what the rows are told apart by.
    """
    norms = tables["norms"][tables["norms"]["norm"] > 0]  # what has died out has no logarithm
    with styled():
        figure, grid = canvas(1, 2, size=(10.4, 4.2), width_ratios=[1.25, 1])
        curves(grid[0, 0], norms, axis, "lag", "norm", geometric=True)
        plain_log(grid[0, 0], "y")
        grid[0, 0].set(xlabel="lag (steps back from the end)", ylabel=r"mean $\|\partial L / \partial s_t\|$")
        grid[0, 0].set_title("Gradient through time")
        grid[0, 0].margins(x=0.01)
        points(grid[0, 1], tables["summary"], axis, "rate")
        grid[0, 1].axhline(0, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        grid[0, 1].set_ylabel("growth per step back (nats)")
        grid[0, 1].set_title("Vanishing (< 0) or exploding (> 0)")
        axis.dress(grid[0, 1])
        axis.explain(figure, grid[0, 1])
    return figure
