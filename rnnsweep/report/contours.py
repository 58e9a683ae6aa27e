"""The objective over pairs of searched keys: what works together."""

from __future__ import annotations

import itertools

import matplotlib.tri as tri
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from rnnsweep.report.axis_values import positions, spread
from rnnsweep.report.data import Column, Frame, SweepData
from rnnsweep.report.evidence import LEAST_SURFACE, varied
from rnnsweep.report.style import PlainLogLocator, canvas, objective_colours, short, styled

KEYS = 3


def contours(data: SweepData) -> Figure | None:
    """One panel per pair of the most important keys, one of them at least a number line; None on too little evidence.

    Trials are points. Between two number lines they lie on a surface interpolated between them; between choices there
    is nothing to interpolate, and each choice is a strip of its own.
    """
    if not varied(data):
        return None
    keys = [key for key in data.searched_by_importance if data.scored[key].notna().sum() >= LEAST_SURFACE // 2][:KEYS]
    pairs = [pair for pair in itertools.combinations(keys, 2) if any(map(data.numeric, pair))]
    if not pairs:
        return None
    values = data.scored["objective"]
    colours = objective_colours(data.minimize, values.min(), values.max())
    with styled():
        figure, grid = canvas(1, len(pairs), size=(max(5.2, 3.9 * len(pairs)), 3.7))
        for axes, (across, up) in zip(grid[0], pairs, strict=True):
            _draw(axes, data, across, up, colours)
        bar = figure.colorbar(colours, ax=grid[0].tolist(), pad=0.02, aspect=26)
        bar.set_label(data.label(data.objective.metric))
        bar.outline.set_visible(False)
    return figure


def _draw(axes: Axes, data: SweepData, across: str, up: str, colours: ScalarMappable) -> None:
    # trials in which both keys exist
    some = data.scored.dropna(subset=[across, up])
    x, y = _place(axes.xaxis, data, across, some), _place(axes.yaxis, data, up, some)
    value = some["objective"].to_numpy(dtype=float)
    measured = data.numeric(across) and data.numeric(up) and len(some) >= LEAST_SURFACE
    surface = _surface(x, y, value) if measured else None
    if surface is not None:
        axes.tricontourf(*surface, levels=12, cmap=colours.get_cmap(), norm=colours.norm, alpha=0.55)
    axes.scatter(x, y, c=colours.to_rgba(value), s=26, edgecolors="white", linewidths=0.7, zorder=3)
    axes.grid(which="major", visible=False)
    axes.margins(0.06)


def _surface(x: np.ndarray, y: np.ndarray, value: np.ndarray) -> tuple[tri.Triangulation, np.ndarray] | None:
    """A triangulation of the points scaled to one size; None where they lie on a line."""
    spans = [np.ptp(x), np.ptp(y)]
    if min(spans) == 0:
        return None
    try:
        # unscaled, the key with the larger numbers alone would decide who is whose neighbour
        scaled = tri.Triangulation((x - x.min()) / spans[0], (y - y.min()) / spans[1])
    except (RuntimeError, ValueError):  # too few different points
        return None
    return tri.Triangulation(x, y, scaled.triangles), value


def _place(axis: Axis, data: SweepData, key: str, trials: Frame) -> np.ndarray:
    """Place of each trial along one axis; logarithmic ranges by their exponent, with plain numbers as ticks."""
    place, names = positions(data, key, trials[key])
    axis.set_label_text(short(key))
    if names is not None:
        place = place + spread(trials["trial"])
        axis.set_ticks(range(len(names)), names)
        # Lines between the choices, so that the sideways spread is not read as a value.
        axis.set_ticks([index + 0.5 for index in range(len(names) - 1)], minor=True)
        axis.grid(which="minor", visible=True)
        axis.set_tick_params(which="minor", length=0)
    elif data.logarithmic(key):
        ticks = PlainLogLocator().tick_values(float(place.min()), float(place.max()))
        axis.set_ticks([float(np.log10(tick)) for tick in ticks], [f"{tick:g}" for tick in ticks])
        place = _exponent(place)
    return place.to_numpy(dtype=float)


def _exponent(values: Column) -> Column:
    return np.log10(values.astype(float))
