"""The objective against the searched keys: importances, slices, parallel coordinates, solved share per value."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from rnnsweep.report.data import Column, Frame, SweepData
from rnnsweep.report.history import KINDS, kind
from rnnsweep.report.statistics import wilson
from rnnsweep.report.style import BLUE, GREY, INK, canvas, chance_line, note, number, plain_log, short, styled

PANELS = 3
BINS = 5


def importances(data: SweepData) -> Figure | None:
    """How much each key separates the best trials from all others, as shares of 1."""
    if not data.importances:
        return None
    items = sorted(data.importances.items(), key=lambda item: item[1])
    with styled():
        figure, grid = canvas(size=(8.0, 0.9 + 0.42 * len(items)))
        axes = grid[0, 0]
        bars = axes.barh([short(key) for key, _ in items], [share for _, share in items], color=BLUE, height=0.62)
        axes.bar_label(bars, [f"{share:.0%}" for _, share in items], padding=4, fontsize=9.5)
        axes.set(xlabel="importance (share)", xlim=(0, 1.08))
        axes.grid(axis="y", visible=False)
    return figure


def positions(data: SweepData, key: str, values: Column) -> tuple[Column, list[str] | None]:
    """Where values lie on an axis: ranges at their numbers, choices at 0, 1, 2, ... with names for ticks."""
    if data.numeric(key):
        return values.astype(float), None
    choices = next(d for d in data.space if d.key == key).choices
    places = {choice: float(index) for index, choice in enumerate(choices)}  # by value: 4 and 4.0 are one choice
    return values.map(lambda value: places.get(value, math.nan)).astype(float), [_name(choice) for choice in choices]


def _name(choice: object) -> str:
    """A choice as a tick says it; an infinite limit is none."""
    return "off" if isinstance(choice, float) and math.isinf(choice) else str(choice)


def spread(numbers: Column) -> Column:
    """Sideways offsets for points that share a choice and would hide each other; the same in every drawing."""
    return ((numbers * 0.618034) % 1 - 0.5) * 0.42


def draw_slice(axes: Axes, data: SweepData, key: str) -> None:
    """Objective against one key; trials in which the key does not exist are left out."""
    scored = data.scored.dropna(subset=[key])
    place, names = positions(data, key, scored[key])
    if names is not None:
        place = place + spread(scored["trial"])
    fate = kind(scored)
    for name, colour, marker, size in KINDS:
        some = fate == name
        if some.any():
            axes.scatter(
                place[some],
                scored.loc[some, "objective"],
                s=size,
                c=colour,
                marker=marker,
                label=name,
                edgecolors="white",
                linewidths=0.6,
                zorder=3,
            )
    chance_line(axes, data.chance)
    if names is not None:
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.grid(axis="x", visible=False)
    elif data.logarithmic(key):
        plain_log(axes)
    axes.set_xlabel(short(key))


def slices(data: SweepData) -> Figure | None:
    """One panel per searched key, the most important first."""
    keys = data.searched_by_importance
    if data.scored.empty or not keys:
        return None
    with styled():
        figure, grid = _panels(len(keys), 2.9)
        for axes, key in zip(grid.flat, keys, strict=False):
            draw_slice(axes, data, key)
            share = data.importances.get(key)
            note(axes, f"importance {share:.0%}" if share is not None else "")
        for row in grid:
            row[0].set_ylabel(data.label(data.objective.metric))
        _one_legend(figure, grid)
    return figure


def solved_share(data: SweepData) -> Figure | None:
    """Share of replicas that solved the task, per value or range of each key, with 95 % Wilson intervals."""
    keys = data.searched_by_importance
    ended = data.replicas[data.replicas["trial"].isin(data.scored["trial"])]
    if ended.empty or not keys or ended["solved_at"].isna().all():
        return None
    table = ended.merge(data.trials[["trial", *keys]], on="trial")
    with styled():
        figure, grid = _panels(len(keys), 2.7, sharey=True)
        for axes, key in zip(grid.flat, keys, strict=False):
            _draw_shares(axes, data, key, table)
        for row in grid:
            row[0].set_ylabel("solved replicas (share)")
        grid[0, 0].set_ylim(-0.04, 1.04)
    return figure


def _draw_shares(axes: Axes, data: SweepData, key: str, table: Frame) -> None:
    some = table.dropna(subset=[key])
    groups, names = _groups(data, key, some[key])
    for place in range(len(names)):
        solved = some.loc[groups == place, "solved_at"].notna()
        n, k = len(solved), int(solved.sum())
        if n == 0:
            continue
        low, high = wilson(k, n)
        axes.vlines(place, low, high, color=BLUE, linewidth=2.2, alpha=0.55)
        axes.scatter(place, k / n, s=44, c=BLUE, zorder=3, edgecolors="white", linewidths=0.6)
        axes.annotate(
            f"{k}/{n}",
            (place, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=GREY,
        )
    axes.set_xticks(range(len(names)), names, fontsize=8.5)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xlabel(short(key))
    axes.grid(axis="x", visible=False)


def _groups(data: SweepData, key: str, values: Column) -> tuple[Column, list[str]]:
    """Group number per value and the groups' names: choices as they are, ranges cut into fifths of the trials."""
    place, names = positions(data, key, values)
    if names is not None:
        return place, names
    shares = np.linspace(0, 1, min(BINS, place.nunique()) + 1)
    edges = np.unique(np.quantile(place, shares))
    if len(edges) < 2:  # one value only
        return place * 0, [number(edges[0])]
    cuts = np.clip(np.searchsorted(edges, place, side="left") - 1, 0, None)
    return pd.Series(cuts, index=values.index), [f"{low:.2g}\n–{high:.2g}" for low, high in itertools.pairwise(edges)]


def parallel(data: SweepData) -> Figure | None:
    """Parallel coordinates: one line per trial through all keys to its objective; the best lie on top."""
    keys = list(data.space.keys)
    scored = data.scored.iloc[::-1]
    if len(scored) < 2 or not keys:
        return None
    axis_values = [_unit(data, key, scored) for key in keys]
    low, high = scored["objective"].min(), scored["objective"].max()
    span = (high - low) or 1.0
    heights = np.column_stack([values for values, _ in axis_values] + [(scored["objective"] - low) / span])
    ends = [ends for _, ends in axis_values] + [(number(low), number(high))]
    colours = mpl_colours(data, low, high)
    with styled():
        figure, grid = canvas(size=(max(8.6, 1.5 * (len(keys) + 1)), 4.4))
        axes = grid[0, 0]
        best = set(data.ranked["trial"].head(3))
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
        _parallel_axes(axes, [short(key) for key in keys] + [data.label(data.objective.metric)], ends)
        bar = figure.colorbar(colours, ax=axes, pad=0.02, aspect=28)
        bar.set_label(data.label(data.objective.metric))
        bar.outline.set_visible(False)
    return figure


def mpl_colours(data: SweepData, low: float, high: float) -> ScalarMappable:
    """Objective -> colour: the better, the darker (cividis, made for colour-vision deficiencies)."""
    return ScalarMappable(Normalize(low, high if high > low else low + 1), "cividis" if data.minimize else "cividis_r")


def _unit(data: SweepData, key: str, trials: Frame) -> tuple[np.ndarray, tuple[str, str]]:
    """A key's values scaled to 0..1 over its search range, and the range's ends as text."""
    dimension = next(d for d in data.space if d.key == key)
    place, names = positions(data, key, trials[key])
    if names is not None:
        return (place / max(1, len(names) - 1)).to_numpy(), (names[0], names[-1])
    low, high = float(dimension.low or 0.0), float(dimension.high or 0.0)
    ends = (number(low), number(high))
    if dimension.log:
        place, low, high = np.log(place), math.log(low), math.log(high)
    return ((place - low) / ((high - low) or 1.0)).to_numpy(), ends


def _parallel_axes(axes: Axes, names: list[str], ends: list[tuple[str, str]]) -> None:
    axes.set_xlim(-0.15, len(names) - 0.85)
    axes.set_ylim(-0.06, 1.06)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.tick_params(axis="x", length=0, pad=14)
    for place, (low, high) in enumerate(ends):
        axes.axvline(place, 0.05, 0.95, color=INK, linewidth=0.9, zorder=1)
        axes.text(place, -0.03, low, ha="center", va="top", fontsize=8.5, color=GREY)
        axes.text(place, 1.03, high, ha="center", va="bottom", fontsize=8.5, color=GREY)


def _panels(count: int, height: float, **options: bool) -> tuple[Figure, np.ndarray]:
    """A grid of panels, three to a row, spare ones hidden."""
    columns = 2 if count in (2, 4) else min(PANELS, count)
    rows = math.ceil(count / columns)
    options.setdefault("sharey", True)
    figure, grid = canvas(rows, columns, size=(max(5.2, 10.4 if columns > 1 else 5.2), height * rows + 0.4), **options)
    for axes in list(grid.flat)[count:]:
        axes.set_visible(False)
    return figure, grid


def _one_legend(figure: Figure, grid: np.ndarray) -> None:
    """One legend for all panels: a fate may be absent from the first."""
    found = {}
    for axes in grid.flat:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=len(found) or 1)
