"""Eigenvalues at the fixed points of a sweep's rows, and how near to instability they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnsweep.report.data import Frame
from rnnsweep.report.style import GREY, INK, canvas, inner_legend, styled
from rnnsweep.report.sweep_figures.axis import Axis, points


def fixed_points(tables: Mapping[str, Frame], axis: Axis) -> Figure:
    """Left: the spectrum at each row's most visited point; right: the largest modulus at every point, by key.

    Args:
        tables: ``points`` and ``eigenvalues``. axis: what the rows are told apart by.
    """
    found, values = tables["points"], tables["eigenvalues"]
    with styled():
        figure, grid = canvas(1, 2, size=(10.4, 4.7), width_ratios=[1, 1.15])
        _plane(grid[0, 0], values[values["point"] == 0], axis)
        _radii(grid[0, 1], found, axis)
        axis.explain(figure, grid[0, 1])
    return figure


def _plane(axes: Axes, values: Frame, axis: Axis) -> None:
    angle = np.linspace(0, 2 * np.pi, 400)
    axes.plot(np.cos(angle), np.sin(angle), color=GREY, linewidth=1)
    order = values.sample(frac=1, random_state=0)  # no trial hides the others
    axes.scatter(
        order["real"],
        order["imaginary"],
        s=7,
        c=[axis.colour(trial) for trial in order["trial"]],
        linewidths=0,
        alpha=0.75,
    )
    reach = max(1.1, 1.05 * float(np.nanmax(values["modulus"], initial=1.0)))
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="Re λ", ylabel="Im λ")
    axes.set_title("Eigenvalues at the most visited point")


def _radii(axes: Axes, found: Frame, axis: Axis) -> None:
    axes.axhline(1, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    fixed = found["kind"] == "fixed"
    stable, unstable = found[fixed & (found["unstable"] == 0)], found[fixed & (found["unstable"] > 0)]
    points(axes, unstable, axis, "radius", hollow=True)
    points(axes, stable, axis, "radius")
    slow = found[~fixed]
    points(axes, slow, axis, "radius", hollow=True, marker="^", s=26, alpha=0.7)
    kinds = [("stable", "o", INK, stable), ("unstable", "o", "white", unstable), ("slow point", "^", "white", slow)]
    handles = [
        Line2D([], [], marker=marker, color=INK, markerfacecolor=face, linestyle="", markersize=5.5, label=label)
        for label, marker, face, frame in kinds
        if len(frame)
    ]
    axis.dress(axes)
    axes.set_ylabel("largest |λ| of the Jacobian")
    axes.set_title("Fixed points")
    if handles:
        inner_legend(axes, handles=handles)
