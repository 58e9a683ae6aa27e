"""What training looked like in the best trials: error, clipping, admission, Ω and spectral radius over updates."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnsweep.report.data import Frame, SweepData
from rnnsweep.report.style import CYCLE, GREY, canvas, plain_log, styled

BEST = 4
LOGARITHMIC = {"grad/norm", "valid/loss"}


def dynamics(data: SweepData) -> Figure | None:
    """One panel per quantity, one colour per trial: mean over replicas, each replica as a thin line behind it."""
    # a sweep whose trials were all pruned has curves too
    best = data.ranked["trial"].head(BEST).tolist() or data.scored["trial"].head(BEST).tolist()
    curves = data.curves[data.curves["trial"].isin(best)]
    keys = [key for key in data.metrics if data.metrics[key].drawn and _says_something(curves, key)]
    if not keys:
        return None
    columns = 2
    rows = -(-len(keys) // columns)
    with styled():
        figure, grid = canvas(rows, columns, size=(10.4, 2.35 * rows + 0.6), sharex=True)
        for axes, key in zip(grid.flat, keys, strict=False):
            _draw(axes, curves[curves["key"] == key], key, best)
            axes.set_ylabel(data.label(key))
        for axes in list(grid.flat)[len(keys) :]:
            axes.set_visible(False)
        for axes in list(grid.flat)[max(0, len(keys) - columns) : len(keys)]:
            axes.set_xlabel("updates")
            axes.tick_params(labelbottom=True)
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names) or 1)
    return figure


def _says_something(curves: Frame, key: str) -> bool:
    """A controller that is off everywhere draws a flat line at nothing: leave its panel out."""
    values = curves.loc[curves["key"] == key, "value"]
    return len(values) > 0 and not (values == 0).all()


def _draw(axes: Axes, curves: Frame, key: str, best: list[int]) -> None:
    for colour, trial in zip(CYCLE, best, strict=False):
        own = curves[curves["trial"] == trial]
        for _, replica in own.groupby("replica"):
            axes.plot(replica["step"], replica["value"], color=colour, linewidth=0.7, alpha=0.35)
        # A replica that has solved the task keeps its last value, as it does in the objective.
        mean = own.pivot_table(index="step", columns="replica", values="value").ffill().mean(axis=1)
        alone = "o" if len(mean) == 1 else None  # one rung is a point, and a line through one point is nothing
        axes.plot(mean.index, mean, color=colour, linewidth=1.9, marker=alone, label=f"trial {trial}")
    if key in LOGARITHMIC and (curves["value"] > 0).all():
        plain_log(axes, "y")
    if key == "weights/rho":
        axes.axhline(1.0, color=GREY, linestyle=(0, (2, 2)), linewidth=1)
    axes.margins(x=0.01)
