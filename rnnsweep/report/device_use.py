"""Time and devices: how many trials trained at once, and where the device seconds went."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rnnsweep.report.data import SweepData
from rnnsweep.report.fates import FATES, fate
from rnnsweep.report.style import BLUE, RED, canvas, styled


def use(data: SweepData) -> Figure | None:
    """Trials in training over time, and device seconds by what became of the trial."""
    begun = data.trials.dropna(subset=["started"])
    if begun.empty:
        return None
    start = begun["started"].min()
    # of a running sweep: until the last moment that is known
    ends = begun["finished"].fillna(begun[["started", "finished"]].max().max())
    times = np.concatenate([begun["started"] - start, ends - start]) / 60
    steps = np.concatenate([np.ones(len(begun)), -np.ones(len(ends))])
    # at equal times those that begin come before those that end: the count never dips for a handover
    order = np.lexsort((-steps, times))
    spent = data.replicas.groupby("trial")["device_s"].sum()
    fates = fate(data, data.trials).groupby(data.trials["trial"]).first()
    by_fate = spent.groupby(spent.index.map(fates)).sum()
    with styled():
        figure, grid = canvas(1, 2, size=(10.4, 3.2), width_ratios=(3, 2))
        grid[0, 0].step(times[order], np.cumsum(steps[order]), where="post", color=BLUE, linewidth=1.6)
        grid[0, 0].set(xlabel="minutes since the first trial began", ylabel="trials in training", ylim=(0, None))
        grid[0, 0].yaxis.set_major_locator(MaxNLocator(integer=True))
        colours = {kind.name: kind.colour for kind in FATES} | {"failed": RED}
        bars = grid[0, 1].barh(list(by_fate.index), by_fate, color=[colours.get(name, BLUE) for name in by_fate.index])
        # nothing may have been trained yet
        total = max(float(by_fate.sum()), 1e-12)
        grid[0, 1].bar_label(bars, [f"{value / total:.0%}" for value in by_fate], padding=4, fontsize=9.5)
        grid[0, 1].set(xlabel="device seconds", ylabel="what became of the trial")
        grid[0, 1].margins(x=0.15)
        grid[0, 1].grid(axis="y", visible=False)
    return figure
