"""State-space portraits: trajectories and fixed points along the first two principal components of each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnsweep.report.data import Frame
from rnnsweep.report.style import GREY, INK, one_legend, panels, styled
from rnnsweep.report.sweep_figures.axis import CLASS_COLOURS, Axis

MOST = 6
"""Rows that are drawn: the first ones, in the order in which trials were asked for."""


def portrait(tables: Mapping[str, Frame], axis: Axis) -> Figure:
    """One panel per row; lines are sequences, dots their ends, in the colour of their class; rings fixed points.

    Args:
        tables: ``trajectories``, ``fixed_points``, ``components``. axis: what the rows are told apart by.
    """
    rows = list(tables["trajectories"].groupby(["trial", "replica"], sort=False).groups)[:MOST]
    with styled():
        figure, grid = panels(len(rows), 3.5)
        for axes, row in zip(grid.flat, rows, strict=False):
            own = {name: _of(frame, row) for name, frame in tables.items()}
            _draw(axes, own)
            axes.set_title(axis.said(row[0]), fontsize=10)
        one_legend(figure, grid)
    return figure


def _of(frame: Frame, row: Any) -> Frame:
    return frame[(frame["trial"] == row[0]) & (frame["replica"] == row[1])]


def _draw(axes: Axes, own: Mapping[str, Frame]) -> None:
    for _, line in own["trajectories"].groupby(["target", "sequence"]):
        target = int(line["target"].iloc[0])
        colour = CLASS_COLOURS[target % len(CLASS_COLOURS)] if target >= 0 else GREY
        axes.plot(line["pc1"], line["pc2"], color=colour, linewidth=0.8, alpha=0.55)
        name = f"class {target}" if target >= 0 else "end"
        axes.plot(line["pc1"].iloc[-1:], line["pc2"].iloc[-1:], "o", color=colour, markersize=5, label=name)
    found = own["fixed_points"]
    for label, face, some in (
        ("stable point", INK, found[found["unstable"] == 0]),
        ("unstable point", "white", found[found["unstable"] > 0]),
    ):
        if len(some):
            axes.scatter(
                some["pc1"],
                some["pc2"],
                s=52,
                marker="D",
                facecolors=face,
                edgecolors=INK,
                zorder=4,
                linewidths=1.2,
                label=label,
            )
    shares = own["components"].set_index("component")["variance"]
    axes.set(xlabel=f"PC 1 ({shares.loc[1]:.0%} of variance)", ylabel=f"PC 2 ({shares.loc[2]:.0%})")
