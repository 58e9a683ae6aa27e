"""The objective over pairs of searched keys: what works together."""

from __future__ import annotations

import itertools

import matplotlib.tri as tri
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from rnnsweep.report.data import Column, Frame, SweepData
from rnnsweep.report.searched import mpl_colours, positions, spread
from rnnsweep.report.style import canvas, short, styled

KEYS = 3
LEAST = 6
"""Trials below which a surface would be invented."""


def contours(data: SweepData) -> Figure | None:
    """One panel per pair of the most important keys, one of them at least a number line.

    Trials are points on a surface interpolated between them.
    """
    keys = [key for key in data.searched_by_importance if data.scored[key].notna().sum() >= LEAST][:KEYS]
    pairs = [pair for pair in itertools.combinations(keys, 2) if any(map(data.numeric, pair))]
    if not pairs:
        return None
    values = data.scored["objective"]
    colours = mpl_colours(data, values.min(), values.max())
    with styled():
        figure, grid = canvas(1, len(pairs), size=(max(5.2, 3.9 * len(pairs)), 3.7))
        for axes, (across, up) in zip(grid[0], pairs, strict=True):
            _draw(axes, data, across, up, colours)
        bar = figure.colorbar(colours, ax=grid[0].tolist(), pad=0.02, aspect=26)
        bar.set_label(data.label(data.objective.metric))
        bar.outline.set_visible(False)
    return figure


def _draw(axes: Axes, data: SweepData, across: str, up: str, colours: ScalarMappable) -> None:
    some = data.scored.dropna(subset=[across, up])
    x, y = _axis(axes, data, across, some, "x"), _axis(axes, data, up, some, "y")
    value = some["objective"].to_numpy(dtype=float)
    surface = _surface(x, y, value)
    if surface is not None:
        axes.tricontourf(*surface, levels=12, cmap=colours.get_cmap(), norm=colours.norm, alpha=0.55)
    axes.scatter(x, y, c=colours.to_rgba(value), s=26, edgecolors="white", linewidths=0.7, zorder=3)
    axes.grid(visible=False)
    axes.margins(0.06)


def _surface(x: np.ndarray, y: np.ndarray, value: np.ndarray) -> tuple[tri.Triangulation, np.ndarray] | None:
    """A triangulation of the points scaled to one size; None where they lie on a line."""
    spans = [np.ptp(x), np.ptp(y)]
    if min(spans) == 0:
        return None
    try:
        scaled = tri.Triangulation((x - x.min()) / spans[0], (y - y.min()) / spans[1])
    except (RuntimeError, ValueError):  # too few different points
        return None
    return tri.Triangulation(x, y, scaled.triangles), value


def _axis(axes: Axes, data: SweepData, key: str, trials: Frame, side: str) -> np.ndarray:
    """Place of each trial along one axis; logarithmic ranges by their exponent, with plain numbers as ticks."""
    place, names = positions(data, key, trials[key])
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_label_text(short(key))
    if names is not None:
        place = place + 0.5 * spread(trials["trial"])
        axis.set_ticks(range(len(names)), names)
    elif data.logarithmic(key):
        place = _exponent(place)
        ticks = [t for t in _DECADES if place.min() - 0.1 <= np.log10(t) <= place.max() + 0.1]
        axis.set_ticks([float(np.log10(t)) for t in ticks], [f"{t:g}" for t in ticks])
    return place.to_numpy(dtype=float)


_DECADES = [round(m * 10.0**e, 12) for e in range(-9, 7) for m in (1, 2, 5)]


def _exponent(values: Column) -> Column:
    return np.log10(values.astype(float))
