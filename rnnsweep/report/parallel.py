"""Parallel coordinates: one line per trial through all searched keys to its objective."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnsweep.report.axis_values import MISSING, positions, spread
from rnnsweep.report.data import Frame, SweepData
from rnnsweep.report.style import HALO, INK, canvas, number, objective_colours, short, styled

BELOW = -0.16
"""Height at which trials pass an axis whose key does not exist in them."""
TOP = 3

Ticks = list[tuple[float, str]]
"""Height and text."""


def parallel(data: SweepData) -> Figure | None:
    """One line per trial through all keys to its objective; the best lie on top."""
    keys = list(data.space.keys)
    # worst first: what is drawn last lies on top
    scored = data.scored.iloc[::-1]
    if len(scored) < 2 or not keys:
        return None
    scaled = [_heights(data, key, scored) for key in keys]
    low, high = float(scored["objective"].min()), float(scored["objective"].max())
    heights = np.column_stack([at for at, _ in scaled] + [(scored["objective"] - low) / ((high - low) or 1.0)])
    ticks = [names for _, names in scaled] + [
        [(0.0, number(low)), (1.0, number(high))] if high > low else [(0.0, number(low))]
    ]
    colours = objective_colours(data.minimize, low, high)
    with styled():
        figure, grid = canvas(size=(max(8.6, 1.5 * (len(keys) + 1)), 4.8))
        axes = grid[0, 0]
        best = set(data.ranked["trial"].head(TOP))
        for line, trial, value in zip(heights, scored["trial"], scored["objective"], strict=True):
            top = trial in best
            axes.plot(
                line,
                color=colours.to_rgba(value),
                linewidth=2.4 if top else 1.0,
                alpha=1.0 if top else 0.55,
                zorder=3 if top else 2,
                marker="o",
                markersize=3.5 if top else 2,
            )
        _draw_axes(axes, [short(key) for key in keys] + [data.label(data.objective.metric)], ticks)
        bar = figure.colorbar(colours, ax=axes, pad=0.02, aspect=28)
        bar.set_label(data.label(data.objective.metric))
        bar.outline.set_visible(False)
    return figure


def _heights(data: SweepData, key: str, trials: Frame) -> tuple[np.ndarray, Ticks]:
    """A key's values scaled to 0..1 over its search range, `BELOW` where it does not exist, and the axis's ticks."""
    dimension = data.dimension(key)
    place, names = positions(data, key, trials[key])
    ticks: Ticks
    if names is not None:
        last = max(1, len(names) - 1)
        # Lines through one choice fan out a little, or all trials with it would be one line.
        heights = (place + 0.35 * spread(trials["trial"])) / last
        ticks = [(index / last, name) for index, name in enumerate(names)]
    else:
        low, high = float(dimension.low or 0.0), float(dimension.high or 0.0)
        ticks = [(0.0, number(low)), (1.0, number(high))]
        if dimension.log:
            place, low, high = np.log(place), math.log(low), math.log(high)
        # `or 1.0`: a range of one value
        heights = (place - low) / ((high - low) or 1.0)
    if heights.isna().any():
        ticks = [(BELOW, MISSING), *ticks]
    return heights.fillna(BELOW).to_numpy(dtype=float), ticks


def _draw_axes(axes: Axes, names: list[str], ticks: list[Ticks]) -> None:
    axes.set_xlim(-0.3, len(names) - 0.7)
    missing = any(height < 0 for axis in ticks for height, _ in axis)
    axes.set_ylim(-0.28 if missing else -0.1, 1.1)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.tick_params(axis="x", length=0, pad=8)
    axes.set_xlabel("searched keys, and the objective")
    axes.set_ylabel("value, low to high")
    for place, marks in enumerate(ticks):
        axes.vlines(place, 0, 1, color=INK, linewidth=0.9, zorder=1)
        # No line runs left of the first axis; elsewhere the halo keeps lines off the letters.
        left = place == 0
        for height, text in marks:
            axes.annotate(
                text,
                (place, height),
                xytext=(-7 if left else 7, 0),
                textcoords="offset points",
                ha="right" if left else "left",
                va="center",
                fontsize=8.5,
                color=INK,
                path_effects=[HALO],
                zorder=4,
            )
