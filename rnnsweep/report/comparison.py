"""A published table beside ours: cells with replicas and confidence intervals, as markdown, CSV and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnsweep.report.data import Frame
from rnnsweep.report.published import Table
from rnnsweep.report.statistics import censored_median, mean_interval, wilson
from rnnsweep.report.style import BLUE, CYCLE, GREY, ORANGE, canvas, number, styled


@dataclass(frozen=True)
class Result:
    """What one replica came to.

    Attributes:
        row, column: its cell's place; `column` without "best" or "mean".
        solved: whether it solved the task, confirmed on fresh sequences.
        solved_at: the update at which it did, or None.
        step: updates that it was trained.
        accuracy: % of fresh sequences, where the table is one of accuracies.
    """

    row: str
    column: str
    solved: bool
    solved_at: int | None
    step: int
    accuracy: float | None = None


@dataclass(frozen=True)
class Cell:
    """One cell of the comparison.

    Attributes:
        published: as printed in the paper; empty where it prints nothing.
        ours: our number, in the table's unit; None where nothing was run.
        low, high: 95 % confidence interval, where there is one.
        replicas: how many `ours` rests on.
        note: what a reader must know beside it.
    """

    row: str
    column: str
    published: str
    ours: float | None = None
    low: float | None = None
    high: float | None = None
    replicas: int = 0
    note: str = ""

    @property
    def shown(self) -> str:
        """Ours as text; empty where nothing was run."""
        if self.ours is None:
            return ""
        interval = "" if self.low is None or self.high is None else f" [{self.low:.0f}, {self.high:.0f}]"
        return f"{self.ours:.0f}{interval}" + (f" {self.note}" if self.note else "")


@dataclass(frozen=True)
class Comparison:
    """A published table beside what was run.

    Attributes:
        table: the paper's.
        scale: smoke, small or full.
        cells: all of the table's cells in order, those not run without a number.
        deviations: from the paper's setting, in words.
        results: every replica.
    """

    table: Table
    scale: str
    cells: tuple[Cell, ...]
    deviations: tuple[str, ...]
    results: tuple[Result, ...]

    def cell(self, row: str, column: str) -> Cell:
        """One cell."""
        return next(cell for cell in self.cells if (cell.row, cell.column) == (row, column))


def compare(table: Table, scale: str, results: Sequence[Result], deviations: Sequence[str]) -> Comparison:
    """Fill the table's cells with what was run.

    Columns that end in "best" or "mean" are the best and the mean accuracy over the replicas of the column; all
    others are the share of replicas that solved the task, in %.
    """
    cells = []
    for place in table.cells:
        column, _, kind = place.column.rpartition(" ")
        accurate = kind in ("best", "mean")
        own = [r for r in results if r.row == place.row and r.column == (column if accurate else place.column)]
        empty = Cell(place.row, place.column, place.shown)
        cells.append(_accuracy(empty, own, kind) if accurate else _solved(empty, own))
    return Comparison(table, scale, tuple(cells), tuple(deviations), tuple(results))


def _accuracy(cell: Cell, own: Sequence[Result], kind: str) -> Cell:
    values = [result.accuracy for result in own if result.accuracy is not None]
    if not values:
        return cell
    if kind == "best":
        return replace(cell, ours=max(values), replicas=len(values))
    low, high = mean_interval(values, 0.0, 100.0)
    return replace(cell, ours=sum(values) / len(values), low=low, high=high, replicas=len(values))


def _solved(cell: Cell, own: Sequence[Result]) -> Cell:
    if not own:
        return cell
    count = sum(result.solved for result in own)
    low, high = wilson(count, len(own))
    times = [float(result.solved_at) for result in own if result.solved and result.solved_at is not None]
    middle = censored_median(times, len(own))
    trained = max(result.step for result in own)
    note = f"({number(middle)} updates)" if middle is not None else f"(by {number(trained)} updates)"
    share = 100 * count / len(own)
    return replace(cell, ours=share, low=100 * low, high=100 * high, replicas=len(own), note=note)


def frame(comparison: Comparison) -> Frame:
    """The cells as a frame: the CSV file."""
    return pd.DataFrame([vars(cell) for cell in comparison.cells])


def results_frame(comparison: Comparison) -> Frame:
    """Every replica as a frame: the CSV file."""
    return pd.DataFrame([vars(result) for result in comparison.results])


def markdown(comparison: Comparison, picture: str | None = None) -> str:
    """The comparison as a page: published and ours side by side in every cell, deviations below."""
    table = comparison.table
    lines = [
        f"# {table.name}, scale {comparison.scale}",
        "",
        f"{table.title}. {table.unit}.",
        "",
        f"Source: {table.source}.",
    ]
    lines += ["", "Each cell: published / ours [95 % interval]. A cell without our number was not run.", ""]
    lines += ["| | " + " | ".join(table.columns) + " |", "|---" * (len(table.columns) + 1) + "|"]
    for row in table.rows:
        texts = []
        for column in table.columns:
            cell = comparison.cell(row, column)
            texts.append(f"{_plain(cell.published) or '–'} / {cell.shown}".strip())
        lines.append(f"| {row} | " + " | ".join(texts) + " |")
    counts = sorted({cell.replicas for cell in comparison.cells if cell.replicas})
    if counts:
        lines += ["", f"Replicas per cell: {', '.join(map(str, counts))}."]
    if picture:
        lines += ["", f"![ours beside the published numbers]({picture})"]
    lines += [
        "",
        "## Deviations from the paper's setting",
        "",
        *(f"- {text}" for text in comparison.deviations or ["none"]),
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    return text.replace("|", r"\|")


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
            axes.set(xlabel="sequence length T", title=title, ylim=(-4, 104))
        grid[0, 0].set_ylabel("replicas that solve the task (%)")
        handles, names = grid[0, 0].get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside lower center", ncols=len(names) or 1)
    return drawn


def _draw_lengths(axes: Axes, cells: Sequence[Cell], index: int, colour: str) -> None:
    run = [cell for cell in cells if cell.ours is not None and cell.low is not None and cell.high is not None]
    at = np.array([float(cell.column.removeprefix("T = ")) for cell in run]) + 1.6 * (index - 1)
    ours = np.array([cell.ours for cell in run], dtype=float)
    low, high = (np.array([getattr(cell, end) for cell in run], dtype=float) for end in ("low", "high"))
    axes.vlines(at, low, high, color=colour, linewidth=2, alpha=0.35)
    marker = ("o", "s", "^")[index % 3]
    axes.plot(
        at, ours, color=colour, marker=marker, markersize=6, linewidth=1.5, label=cells[0].row.rpartition(", ")[2]
    )


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
    values = [r.accuracy for r in comparison.results if (r.row, r.column) == (row, stem) and r.accuracy is not None]
    if kind == "mean":
        axes.scatter(np.full(len(values), place + 0.16), values, s=9, color=ORANGE, zorder=2)
    if cell.low is not None and cell.high is not None:
        axes.vlines(place, cell.low, cell.high, color=BLUE, linewidth=2, alpha=0.5)
    axes.scatter(place, cell.ours, s=46, color=BLUE, edgecolors="white", linewidths=0.6, zorder=3)
