"""How far errors reach back: log10 of the backpropagated norm against depth, at start, middle and end of training."""

from __future__ import annotations

from matplotlib.figure import Figure

from rnnsweep.report.data import SweepData
from rnnsweep.report.style import BLUE, GREY, ORANGE, canvas, number, styled

WHEN = {"start": GREY, "middle": ORANGE, "end": BLUE}


def profiles(data: SweepData) -> Figure | None:
    """One panel per best trial; the mean over replicas as a thick line, every replica behind it.

    References:
        Chernodub, Nowicki (2016), figures 1 and 2.
    """
    if data.profiles.empty:
        return None
    trials = list(dict.fromkeys(data.profiles["trial"]))
    columns = 2 if len(trials) > 1 else 1
    rows = -(-len(trials) // columns)
    with styled():
        figure, grid = canvas(rows, columns, size=(5.2 * columns, 2.7 * rows + 0.5), sharex=True, sharey=True)
        for axes, trial in zip(grid.flat, trials, strict=False):
            own = data.profiles[data.profiles["trial"] == trial]
            for when, colour in WHEN.items():
                lines = own[own["when"] == when]
                if when == "middle" and (lines["update"].max() == own["update"].max()):
                    continue  # it ended within half of its budget: the middle is the end
                for _, line in lines.groupby("replica"):
                    axes.plot(line["depth"], line["log10"], color=colour, linewidth=0.7, alpha=0.4)
                # an error that has died out has no logarithm: the mean ends where the first replica's does
                table = lines.pivot(index="depth", columns="replica", values="log10").dropna()
                mean = table.mean(axis=1)
                update = lines["update"].median() if len(lines) else 0
                name = when if when == "start" else f"{when}, update {number(float(update))}"
                axes.plot(mean.index, mean, color=colour, linewidth=2, label=name)
            axes.set_title(f"trial {trial}", fontweight="normal", fontsize=10)
            axes.legend(fontsize=8)
            axes.set_xlabel("depth (steps back from the end)")
            axes.set_ylabel(r"$\log_{10} \|\delta_t\|$")
        for axes in list(grid.flat)[len(trials) :]:
            axes.set_visible(False)
    return figure
