"""What became of each trial, in words, colours and markers that all figures share."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes

from rnnsweep.report.data import Column, Frame, SweepData
from rnnsweep.report.style import BLUE, GREEN, GREY, ORANGE


@dataclass(frozen=True)
class Fate:
    """How trials of one fate are drawn. Attributes: name, colour, marker, size (points^2)."""

    name: str
    colour: str
    marker: str
    size: int


FATES = (
    Fate("solved", GREEN, "o", 46),
    Fate("not solved", BLUE, "o", 34),
    Fate("complete", BLUE, "o", 34),
    Fate("pruned", GREY, "v", 26),
    Fate("diverged", ORANGE, "X", 46),
)


def fate(data: SweepData, trials: Frame) -> Column:
    """Each trial's fate: solved, not solved, pruned, diverged or its state.

    Solved means by at least half of the replicas. Where nothing in the sweep was solved and its objective does not ask
    for it, solving may mean nothing to the task: complete trials are then called complete.
    """
    words = trials["state"].str.lower()
    complete = trials["state"] == "COMPLETE"
    solved = complete & trials["solved_at"].notna()
    if data.solvable:
        words = words.mask(complete, "not solved")
    # In this order: solved even where nobody asked for it, and diverged before either, since one lost replica is what
    # a reader must not miss.
    words = words.mask(solved, "solved")
    return words.mask(complete & (trials["diverged_share"] > 0), "diverged")


def scatter_by_fate(axes: Axes, data: SweepData, trials: Frame, x: Column, y: Column) -> None:
    """One point per trial, marked by its fate; `x` and `y` have the index of `trials`."""
    fates = fate(data, trials)
    for kind in FATES:
        some = fates == kind.name
        if some.any():
            axes.scatter(
                x[some],
                y[some],
                s=kind.size,
                c=kind.colour,
                marker=kind.marker,
                label=kind.name,
                edgecolors="white",
                linewidths=0.6,
                zorder=3,
            )
