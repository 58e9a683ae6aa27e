"""Solved share by the levels of each searched key, with intervals that know which replicas belong together."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnsweep.report.axis_values import positions
from rnnsweep.report.data import Column, Frame, SweepData
from rnnsweep.report.statistics import effective_size, wilson
from rnnsweep.report.style import BLUE, GREY, number, panels, short, styled

BINS = 5
COLUMNS = ["key", "level", "trials", "replicas", "solved", "share", "from", "to"]


def levels(data: SweepData) -> Frame:
    """One row per level of each key: trials, replicas, solved ones, their share with its 95 % interval.

    Choices are levels as they are; ranges are cut into fifths of the trials. Replicas of one trial share its
    hyperparameters, so the interval counts them as the effective number of independent ones (see `effective_size`).
    Empty where nothing was solved.
    """
    ended = data.replicas[data.replicas["trial"].isin(data.scored["trial"])]
    keys = data.searched_by_importance
    if ended.empty or not keys or ended["solved_at"].isna().all():
        return pd.DataFrame(columns=COLUMNS)
    joined = ended.merge(data.trials[["trial", *keys]], on="trial")
    rows = [row for key in keys for row in _rows(data, key, joined.dropna(subset=[key]))]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(data: SweepData, key: str, replicas: Frame) -> list[tuple[object, ...]]:
    group, names = _groups(data, key, replicas[key])
    rows = []
    for place, name in enumerate(names):
        some = replicas[group == place]
        if some.empty:
            continue
        by_trial = some["solved_at"].notna().groupby(some["trial"]).agg(["sum", "size"])
        solved, count = int(by_trial["sum"].sum()), int(by_trial["size"].sum())
        rows.append((key, name, len(by_trial), count, solved, *interval_of(by_trial)))
    return rows


def _groups(data: SweepData, key: str, values: Column) -> tuple[Column, list[str]]:
    """Group number per value and the groups' names: choices as they are, ranges cut into fifths of the trials."""
    place, names = positions(data, key, values)
    if names is not None or place.empty:
        return place, names or []
    shares = np.linspace(0, 1, min(BINS, place.nunique()) + 1)
    # unique: many equal values give quantiles that coincide
    edges = np.unique(np.quantile(place, shares))
    if len(edges) < 2:  # one value only
        return place * 0, [number(edges[0])]
    # the clip brings the smallest value, which lies on the first edge, into the first fifth
    cuts = np.clip(np.searchsorted(edges, place, side="left") - 1, 0, None)
    return pd.Series(cuts, index=values.index), [f"{low:.2g} – {high:.2g}" for low, high in itertools.pairwise(edges)]


def interval_of(by_trial: Frame) -> tuple[float, float, float]:
    """Share of solved replicas with its 95 % interval, as many as the replicas of some trials are worth.

    Args:
        by_trial: one row per trial: sum, its solved replicas; size, all of them.
    """
    solved, count = int(by_trial["sum"].sum()), int(by_trial["size"].sum())
    worth = effective_size(by_trial["sum"].tolist(), by_trial["size"].tolist())
    # the share of all replicas, its width that of the independent ones
    return (solved / count, *wilson(solved / count * worth, worth))


def solved_share(data: SweepData) -> Figure | None:
    """Share of replicas that solved the task, per level of each key, with 95 % intervals."""
    table = levels(data)
    if table.empty:
        return None
    keys = list(dict.fromkeys(table["key"]))
    with styled():
        figure, grid = panels(len(keys), 2.7, sharey=True)
        for axes, key in zip(grid.flat, keys, strict=False):
            _draw(axes, key, table[table["key"] == key])
        for row in grid:
            row[0].set_ylabel("solved replicas (share)")
        grid[0, 0].set_ylim(-0.04, 1.04)
    return figure


def _draw(axes: Axes, key: str, table: Frame) -> None:
    places = range(len(table))
    axes.vlines(places, table["from"], table["to"], color=BLUE, linewidth=2.2, alpha=0.55)
    axes.scatter(places, table["share"], s=44, c=BLUE, zorder=3, edgecolors="white", linewidths=0.6)
    for place, solved, replicas in zip(places, table["solved"], table["replicas"], strict=True):
        axes.annotate(
            f"{solved}/{replicas}",
            (place, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=GREY,
        )
    axes.set_xticks(places, [name.replace(" – ", "\n– ") for name in table["level"]], fontsize=8.5)
    axes.set_xlim(-0.6, len(table) - 0.4)
    axes.set_xlabel(short(key))
    axes.grid(axis="x", visible=False)
