"""What is left of a disturbance at the end, by lag, and the half-life by key."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnsweep.report.data import Frame
from rnnsweep.report.style import GREY, INK, canvas, inner_legend, plain_log, styled
from rnnsweep.report.sweep_figures.axis import Axis, curves, points

_NAMES = {"input": "of one step's input", "state": "of the state"}
_LEAST = 1e-8
"""Smaller shares are of no interest to a reader, and of no effect on an output."""


def effective_memory(tables: Mapping[str, Frame], axis: Axis) -> Figure:
    """Above: the share that is left of a change of input and of state; below: half-lives, and what is left at last.

    Args:
        tables: ``responses`` and ``summary``. axis: what the rows are told apart by.
    """
    responses, summary = tables["responses"], tables["summary"]
    longest = float(responses["lag"].max())
    with styled():
        figure, grid = canvas(2, 2, size=(10.4, 7.4))
        for axes, (what, words) in zip(grid[0], _NAMES.items(), strict=True):
            shown = responses[(responses["what"] == what) & (responses["response"] > _LEAST)]
            curves(axes, shown, axis, "lag", "response", geometric=True)
            axes.axhline(0.5, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
            plain_log(axes, "y")
            axes.set(xlabel="lag (steps before the end)", ylabel="share left at the end")
            axes.set_title(f"A change {words}")
        state = summary[summary["what"] == "state"]
        _half_lives(grid[1, 0], state, axis, longest)
        points(grid[1, 1], state[state["at_longest"] > 0], axis, "at_longest")
        plain_log(grid[1, 1], "y")
        grid[1, 1].set_ylabel(f"share left after {longest:.0f} steps")
        grid[1, 1].set_title("Of a change of the state")
        axis.dress(grid[1, 1])
        axis.explain(figure, grid)
    return figure


def _half_lives(axes: Axes, summary: Frame, axis: Axis, longest: float) -> None:
    beyond = np.isinf(summary["half_life"])
    points(axes, summary[~beyond], axis, "half_life")
    points(axes, summary[beyond].assign(half_life=longest), axis, "half_life", hollow=True, marker="^", s=40)
    axis.dress(axes)
    plain_log(axes, "y")
    axes.set_ylabel("half-life (steps)")
    axes.set_title("Until half of it is left")
    if beyond.any():
        mark = Line2D([], [], marker="^", color=INK, markerfacecolor="white", linestyle="", label="longer than tested")
        inner_legend(axes, handles=[mark])
