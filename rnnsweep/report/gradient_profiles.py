"""How far errors reach back: log10 of the backpropagated norm against depth, at start, middle and end of training."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnsweep.report.data import Frame, SweepData
from rnnsweep.report.style import BLUE, GREY, ORANGE, inner_legend, number, panels, styled
from rnnsweep.sweep.censoring import censored_median

WHEN = {"start": GREY, "middle": ORANGE, "end": BLUE}


def profiles(data: SweepData) -> Figure | None:
    """One panel per best trial and layer; the mean over replicas as a thick line, every replica behind it.

    References:
        Chernodub, Nowicki (2016), figures 1 and 2.
    """
    if data.profiles.empty:
        return None
    groups = data.profiles.groupby(["trial", "layer"], sort=False)
    deep = set(data.profiles.loc[data.profiles["layer"] != "1", "trial"])
    with styled():
        figure, grid = panels(len(groups), 2.9, across=2, sharex=True, sharey=True)
        for axes, ((trial, layer), lines) in zip(grid.flat, groups, strict=False):
            _draw(axes, lines)
            axes.tick_params(labelbottom=True, labelleft=True)
            title = f"trial {trial}, layer {layer}" if trial in deep else f"trial {trial}"
            axes.set_title(title, fontweight="normal", fontsize=10)
    return figure


def _draw(axes: Axes, profile: Frame) -> None:
    for when, colour in WHEN.items():
        lines = profile[profile["when"] == when]
        if lines.empty or (when != "end" and lines["update"].max() == profile["update"].max()):
            continue  # trained for one rung, or two: the start or the middle is the end
        for _, line in lines.groupby("replica"):
            axes.plot(line["depth"], line["log10"], color=colour, linewidth=0.7, alpha=0.4)
        # An error that has died out has no logarithm: the mean ends where the first replica's does.
        mean = lines.pivot(index="depth", columns="replica", values="log10").dropna().mean(axis=1)
        # as `solved_at`: a solved replica ends there, and two medians of it on one page would contradict each other
        updates = lines.groupby("replica")["update"].first().tolist()
        middle = censored_median(updates, len(updates))
        assert middle is not None  # every replica has an update
        axes.plot(mean.index, mean, color=colour, linewidth=2, label=f"{when}, update {number(middle)}")
    inner_legend(axes, fontsize=8)
    axes.set_xlabel("depth (steps back from the end)")
    axes.set_ylabel(r"$\log_{10} \|\delta_t\|$")
