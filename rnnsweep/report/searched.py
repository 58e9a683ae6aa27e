"""The objective against the searched keys: importances and slices."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnsweep.report.axis_values import name_axis, positions, spread
from rnnsweep.report.data import SweepData
from rnnsweep.report.evidence import ordered
from rnnsweep.report.fates import scatter_by_fate
from rnnsweep.report.style import BLUE, INK, canvas, chance_line, note, one_legend, panels, short, styled

LETTERS = 0.08
"""What a bar's label takes of the axis, with some room."""


def importances(data: SweepData) -> Figure | None:
    """How much each key separates the best trials from all others, as shares of 1; None on too little evidence."""
    if not data.importances or not ordered(data):
        return None
    # ascending: bars are drawn from below, the largest ends up on top
    items = sorted(data.importances.items(), key=lambda item: item[1])
    with styled():
        figure, grid = canvas(size=(8.0, 0.9 + 0.42 * len(items)))
        axes = grid[0, 0]
        axes.barh([short(key) for key, _ in items], [share for _, share in items], color=BLUE, height=0.62)
        for place, (_, share) in enumerate(items):
            _label(axes, share, place, data.noise)
        if data.noise is not None:
            axes.axvline(data.noise, color=INK, linestyle=(0, (4, 3)), linewidth=1)
            note(axes, "dashed: shuffled objectives stay below it in 95 %")
        axes.set(xlabel="importance (share)", ylabel="searched key", xlim=(0, 1.08))
        axes.grid(axis="y", visible=False)
    return figure


def _label(axes: Axes, share: float, place: int, noise: float | None) -> None:
    """A bar's share behind its end, and behind the dashed line where that would run through the letters."""
    crossed = noise is not None and share <= noise < share + LETTERS
    end = noise if crossed and noise is not None else share
    axes.annotate(f"{share:.0%}", (end, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9.5)


def draw_slice(axes: Axes, data: SweepData, key: str) -> None:
    """Objective against one key; trials in which the key does not exist are left out."""
    scored = data.scored.dropna(subset=[key])
    place, names = positions(data, key, scored[key])
    if names is not None:
        place = place + spread(scored["trial"])
    scatter_by_fate(axes, data, scored, place, scored["objective"])
    chance_line(axes, data.chance)
    name_axis(axes, data, key, names)
    axes.set_xlabel(short(key))


def slices(data: SweepData) -> Figure | None:
    """One panel per searched key, the most important first."""
    keys = data.searched_by_importance
    if data.scored.empty or not keys:
        return None
    with styled():
        figure, grid = panels(len(keys), 2.9, sharey=True)
        for axes, key in zip(grid.flat, keys, strict=False):
            draw_slice(axes, data, key)
            share = data.telling_importances.get(key) if ordered(data) else None
            note(axes, f"importance {share:.0%}" if share is not None else "")
        for row in grid:
            row[0].set_ylabel(data.label(data.objective.metric))
        one_legend(figure, grid)
    return figure
