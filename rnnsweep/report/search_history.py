"""Progress of the search: every trial in order, and the best so far with the replicas behind it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rnnsweep.report.data import Frame, SweepData
from rnnsweep.report.fates import scatter_by_fate
from rnnsweep.report.style import BLUE, INK, ORANGE, RED, canvas, chance_line, note, styled
from rnnsweep.wording import counted

TOGETHER = 0.01
"""Share of a sweep's time within which trials end together."""


def draw_history(axes: Axes, data: SweepData, title: str = "Every trial") -> None:
    """Objective against trial number, marked by fate, with the best so far as a staircase."""
    scored = data.scored.sort_values("trial")
    scatter_by_fate(axes, data, scored, scored["trial"], scored["objective"])
    best = staircase(data)
    if len(best):
        axes.step(best["trial"], best["best"], where="post", color=INK, linewidth=1.4, label="best so far", zorder=2)
    failed = data.trials[data.trials["state"] == "FAILED"]
    if len(failed):
        axes.scatter(
            failed["trial"],
            # at the foot of the axes, since they have no objective
            np.full(len(failed), 0.02),
            transform=axes.get_xaxis_transform(),
            marker="x",
            c=RED,
            s=36,
            label="failed",
            clip_on=False,
            zorder=4,
        )
    chance_line(axes, data.chance)
    axes.set(xlabel="trial", ylabel=objective_label(data), title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, -0.16), ncols=3, columnspacing=1.2, handletextpad=0.7, borderaxespad=0
    )


def staircase(data: SweepData) -> Frame:
    """The best complete trial so far at every complete trial: trial, best."""
    complete = data.ranked.sort_values("trial")
    best = complete["objective"].cummin() if data.minimize else complete["objective"].cummax()
    return complete[["trial"]].assign(best=best)


def objective_label(data: SweepData) -> str:
    """The objective in words for an axis: what, over how many replicas, which way is better."""
    aim = "lower is better" if data.minimize else "higher is better"
    over = f", {data.objective.reduce} of {data.replicas_per_trial}" if data.replicas_per_trial > 1 else ""
    return f"{data.label(data.objective.metric)}{over}\n({aim})"


def history(data: SweepData) -> Figure | None:
    """Optimisation history."""
    if data.scored.empty:
        return None
    with styled():
        figure, axes = canvas(size=(8.6, 4.3))
        draw_history(axes[0, 0], data, "")
    return figure


def best_so_far(data: SweepData) -> Figure | None:
    """The incumbent over time, with its replicas as points; None where time shows nothing.

    That is where the first complete trial was never beaten, or all that led ended together, as rows of one pack do.
    """
    # by number among those that finished in one batch, which have the same time
    done = data.ranked.dropna(subset=["finished"]).sort_values(["finished", "trial"])
    if done.empty:
        return None
    start = data.trials["started"].min()
    minutes = (done["finished"] - start) / 60
    best = done["objective"].cummin() if data.minimize else done["objective"].cummax()
    # trials that improved on the best so far
    lead = done[best.ne(best.shift())]
    if minutes[lead.index].max() - minutes[lead.index].min() <= TOGETHER * minutes.max():
        return None
    with styled():
        figure, grid = canvas(size=(8.6, 4.0))
        axes = grid[0, 0]
        end = max(minutes.max(), (data.trials["finished"].max() - start) / 60)
        axes.step([*minutes, end], [*best, best.iloc[-1]], where="post", color=BLUE, linewidth=2, label="best so far")
        _replica_points(axes, data, lead, start)
        chance_line(axes, data.chance)
        axes.set(xlabel="time since the first trial began (minutes)", ylabel=objective_label(data))
        axes.set_xlim(left=0)
        note(axes, counted(len(lead) - 1, "improvement"))
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.17), ncols=2, borderaxespad=0)
    return figure


def _replica_points(axes: Axes, data: SweepData, lead: Frame, start: float) -> None:
    """Replicas of each trial that took the lead; a thin bar joins the worst and the best of them."""
    for index, row in enumerate(lead.itertuples()):
        values = data.replicas.loc[data.replicas["trial"] == row.trial, "value"].dropna()
        if values.empty:
            continue
        at = (row.finished - start) / 60
        axes.vlines(at, values.min(), values.max(), color=ORANGE, linewidth=1, zorder=3)
        axes.scatter(
            np.full(len(values), at),
            values,
            s=22,
            c=ORANGE,
            edgecolors="white",
            linewidths=0.5,
            zorder=4,
            label="replicas of the leader" if index == 0 else None,
        )
