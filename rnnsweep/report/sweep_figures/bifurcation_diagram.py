"""The bifurcation diagram of a sweep: attractors of the trained rows, and their largest exponents, by key."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnsweep.report.data import Frame
from rnnsweep.report.style import BLUE, GREEN, GREY, ORANGE, canvas, styled
from rnnsweep.report.sweep_figures.axis import Axis

_KINDS = {"fixed point": BLUE, "cycle": GREEN, "neither within its samples": ORANGE}


def bifurcation_diagram(tables: Mapping[str, Frame], axis: Axis) -> Figure:
    """Above: what the attractors visit; below: the largest exponent of each; colours say what kind they are.

    Args:
        tables: ``samples`` and ``summary``. axis: the key.
    """
    summary = tables["summary"].assign(kind=_kind(tables["summary"]["period"]))
    where = ["trial", "replica", "start"]
    samples = tables["samples"].merge(summary[[*where, "kind"]], on=where)
    with styled():
        figure, grid = canvas(2, 1, size=(8.6, 6.4), sharex=True, height_ratios=[1.6, 1])
        above, below = grid[:, 0]
        _scatter(above, samples, axis, "value", 6)
        above.set_ylabel("observed value on the attractor")
        above.set_title("Attractors without input")
        _scatter(below, summary.replace([-np.inf], np.nan), axis, "exponent", 20)
        below.axhline(0, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        below.set_ylabel("largest exponent\n(nats / step)")
        axis.dress(below)
        handles = [
            Line2D([], [], marker="o", linestyle="", color=_KINDS[kind], markersize=6, label=kind)
            for kind in _present(summary)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _kind(period: Frame) -> Frame:
    fixed, cycle, neither = _KINDS
    return np.where(period == 1, fixed, np.where(period > 1, cycle, neither))


def _present(frame: Frame) -> list[str]:
    return [kind for kind in _KINDS if (frame["kind"] == kind).any()]


def _scatter(axes: Axes, frame: Frame, axis: Axis, y: str, size: float) -> None:
    known = frame[frame["trial"].isin(list(axis.places))]
    for kind in _present(frame):
        own = known[known["kind"] == kind]
        # rasterised: as vectors thousands of dots would be megabytes
        axes.scatter(axis.x(own), own[y], s=size, c=_KINDS[kind], linewidths=0, alpha=0.6, rasterized=True)
