"""A published table beside ours as a figure: over sequence length, or cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from rnnsweep.report.comparison import ComparedCell, Comparison
from rnnsweep.report.style import BLUE, CYCLE, GREY, ORANGE, canvas, styled


def figure(comparison: Comparison) -> Figure | None:
    """Ours as points with intervals, the published number as a bar of ink; one panel per group of rows.

    Rows are drawn along the horizontal axis where columns are few, lines join what differs by the column only.
    """
    if not any(cell.ours is not None for cell in comparison.cells):
        return None
    if all(cell.column.startswith("T = ") for cell in comparison.cells):
        return _over_length(comparison)
    return _beside(comparison)


def _over_length(comparison: Comparison) -> Figure:
    """Solved share over sequence length: one panel per network, one line per method ("network, method" rows)."""
    groups: dict[str, list[str]] = {}
    for row in comparison.table.rows:
        groups.setdefault(row.rpartition(", ")[0], []).append(row)
    with styled():
        drawn, grid = canvas(1, len(groups), size=(3.6 * len(groups), 3.7), sharey=True)
        for axes, (title, rows) in zip(grid[0], groups.items(), strict=True):
            for index, (row, colour) in enumerate(zip(rows, CYCLE, strict=False)):
                _draw_lengths(axes, [c for c in comparison.cells if c.row == row], index, colour)
            lengths = [_length(column) for column in comparison.table.columns]
            axes.set_xticks(lengths)
            axes.set(xlabel="sequence length T", title=title, ylim=(-4, 104), xlim=(0, max(lengths) * 1.06))
        grid[0, 0].set_ylabel("replicas that solve the task (%)")
        handles, names = grid[0, 0].get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside lower center", ncols=len(names) or 1)
    return drawn


def _draw_lengths(axes: Axes, cells: Sequence[ComparedCell], index: int, colour: str) -> None:
    run = [cell for cell in cells if cell.ours is not None and cell.low is not None and cell.high is not None]
    at = np.array([_length(cell.column) for cell in run])
    ours = np.array([cell.ours for cell in run], dtype=float)
    low, high = (np.array([getattr(cell, end) for cell in run], dtype=float) for end in ("low", "high"))
    # Points stand at their length; only the intervals step aside, by points on paper, so that none hides.
    assert isinstance(axes.figure, Figure)
    aside = axes.transData + ScaledTranslation((index - 1) * 4 / 72, 0, axes.figure.dpi_scale_trans)
    axes.vlines(at, low, high, color=colour, linewidth=2, alpha=0.35, transform=aside)
    marker = ("o", "s", "^")[index % 3]
    axes.plot(
        at, ours, color=colour, marker=marker, markersize=6, linewidth=1.5, label=cells[0].row.rpartition(", ")[2]
    )


def _length(column: str) -> float:
    return float(column.removeprefix("T = "))


def _beside(comparison: Comparison) -> Figure:
    """One panel per row of the table: published numbers as bars of ink, ours as points, replicas behind them."""
    rows = [
        row
        for row in comparison.table.rows
        if any(comparison.cell(row, c).ours is not None for c in comparison.table.columns)
    ]
    with styled():
        drawn, grid = canvas(1, len(rows), size=(max(4.6, 4.6 * len(rows)), 4.2), sharey=True)
        for axes, row in zip(grid[0], rows, strict=True):
            for place, column in enumerate(comparison.table.columns):
                _draw_cell(axes, comparison, row, column, place)
            axes.set_xticks(range(len(comparison.table.columns)), comparison.table.columns, rotation=35, ha="right")
            axes.set_title(row)
            axes.grid(axis="x", visible=False)
        grid[0, 0].set_ylabel(comparison.table.unit)
        grid[0, 0].plot([], [], color=GREY, linewidth=3, label="published")
        grid[0, 0].plot([], [], "o", color=BLUE, label="ours, 95 % interval")
        grid[0, 0].plot([], [], ".", color=ORANGE, label="our replicas")
        handles, names = grid[0, 0].get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside lower center", ncols=3)
    return drawn


def _draw_cell(axes: Axes, comparison: Comparison, row: str, column: str, place: int) -> None:
    published, cell = comparison.table.cell(row, column), comparison.cell(row, column)
    if published is not None and published.value is not None:
        axes.hlines(published.value, place - 0.3, place + 0.3, color=GREY, linewidth=3)
    if cell.ours is None:
        return
    stem, _, kind = column.rpartition(" ")
    values = [r.value for r in comparison.results if (r.row, r.column) == (row, stem) and r.value is not None]
    if kind == "mean":
        axes.scatter(np.full(len(values), place + 0.16), values, s=9, color=ORANGE, zorder=2)
    if cell.low is not None and cell.high is not None:
        axes.vlines(place, cell.low, cell.high, color=BLUE, linewidth=2, alpha=0.5)
    axes.scatter(place, cell.ours, s=46, color=BLUE, edgecolors="white", linewidths=0.6, zorder=3)
