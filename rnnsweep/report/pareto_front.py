"""Sweeps with several objectives: the trials that no other one beats in all of them."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnsweep.report.data import Frame, SweepData
from rnnsweep.report.style import BLUE, HALO, ORANGE, canvas, one_legend, styled


def pareto_front(data: SweepData) -> Figure | None:
    """The first objective against each other one; the front as a staircase. None with one objective or no result."""
    if not data.front:
        return None
    others = [objective.metric for objective in data.objectives[1:]]
    with styled():
        figure, grid = canvas(1, len(others), size=(max(6.4, 4.6 * len(others)), 4.2))
        for axes, other in zip(grid[0], others, strict=True):
            _draw(axes, data, other)
        one_legend(figure, grid)
    return figure


def _draw(axes: Axes, data: SweepData, other: str) -> None:
    first = data.objective.metric
    assert data.values is not None  # there is a front
    complete = data.values[data.values["trial"].isin(data.ranked["trial"])]
    front = complete[complete["trial"].isin(data.front)].sort_values(first)
    axes.scatter(complete[first], complete[other], s=30, c=BLUE, label="trial", edgecolors="white", linewidths=0.6)
    if len(data.objectives) == 2:  # with more the front is a surface, and a line through it would mean nothing
        axes.plot(front[first], front[other], color=ORANGE, linewidth=1.4, drawstyle="steps-post", zorder=2)
    axes.scatter(front[first], front[other], s=58, c=ORANGE, label="Pareto front", edgecolors="white", zorder=3)
    for trial, x, y in zip(front["trial"], front[first], front[other], strict=True):
        axes.annotate(f"#{trial}", (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8, path_effects=[HALO])
    axes.set(xlabel=data.label(first), ylabel=data.label(other))


def front_table(data: SweepData) -> Frame | None:
    """The front's trials with their objectives and searched keys; None where there is none."""
    if not data.front:
        return None
    assert data.values is not None  # there is a front
    front = data.values[data.values["trial"].isin(data.front)]
    return front.merge(data.trials[["trial", *data.space.keys]], on="trial").sort_values(data.objective.metric)
