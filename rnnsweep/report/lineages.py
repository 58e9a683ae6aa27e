"""Populations: who trained what became of whom, and the schedule that was found for each key."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnsweep.report.data import Frame, SweepData
from rnnsweep.report.style import BLUE, GREY, ORANGE, canvas, plain_log, styled

MOST_KEYS = 6
"""Keys with a panel of their own: those that changed."""


def lineages(data: SweepData) -> Figure | None:
    """Members as lines, states that went from one to another as steps between them, and each key's values below.

    None where no trial took over another one's state.
    """
    if data.lineages is None or data.lineages.empty:
        return None
    keys = _changing(data)
    with styled():
        figure, grid = canvas(1 + len(keys), 1, size=(8.0, 3.4 + 1.8 * len(keys)))
        axes = [row[0] for row in grid]
        best = _best(data)
        _draw_members(axes[0], data, best)
        for one, key in zip(axes[1:], keys, strict=True):
            _draw_key(one, data, key, best)
        for one in axes[:-1]:
            one.tick_params(labelbottom=False)
        axes[-1].set_xlabel("update")
    return figure


def schedule_table(data: SweepData) -> Frame | None:
    """The best trial's lineage, a line per stretch; None where it took over no state."""
    best = _best(data)
    if best is None or data.lineages is None:
        return None
    own = data.lineages[data.lineages["trial"] == best]
    return None if len(own) < 2 else own.drop(columns="trial").rename(columns={"by": "trained by", "begin": "from"})


def _best(data: SweepData) -> int | None:
    order = data.ranked
    return None if order.empty else int(order["trial"].iloc[0])


def _changing(data: SweepData) -> list[str]:
    assert data.lineages is not None
    keys = [key for key in data.space.keys if key in data.lineages and data.numeric(key)]
    changed = [key for key in keys if (data.lineages.groupby("trial")[key].nunique() > 1).any()]
    return changed[:MOST_KEYS]


def _draw_members(axes: Axes, data: SweepData, best: int | None) -> None:
    """The lineage of each trial from its first weights to its end: along one member, then along the next."""
    assert data.lineages is not None
    for trial, own in data.lineages.groupby("trial"):
        steps, lanes = _steps(own, "by")
        chosen = trial == best
        colour, width = (ORANGE, 2.4) if chosen else (GREY, 0.9)
        axes.plot(steps, lanes, color=colour, linewidth=width, zorder=3 if chosen else 2, label=_name(trial, chosen))
    axes.set(ylabel="trial", ylim=(data.trials["trial"].max() + 0.5, -0.5))
    if best is not None:
        axes.legend(loc="upper right")


def _name(trial: int, chosen: bool) -> str:
    return f"lineage of the best, #{trial}" if chosen else "_"


def _draw_key(axes: Axes, data: SweepData, key: str, best: int | None) -> None:
    assert data.lineages is not None
    for trial, own in data.lineages.groupby("trial"):
        steps, values = _steps(own, key)
        chosen = trial == best
        colour, width = (ORANGE, 2.0) if chosen else (BLUE, 0.7)
        axes.plot(steps, values, color=colour, linewidth=width, alpha=1.0 if chosen else 0.5, zorder=3 if chosen else 2)
    if data.logarithmic(key):
        plain_log(axes, "y")
    axes.set_ylabel(key)


def _steps(own: Frame, column: str) -> tuple[list[float], list[float]]:
    """A line that keeps each stretch's value from its begin to its end."""
    steps: list[float] = []
    values: list[float] = []
    for begin, end, value in zip(own["begin"], own["end"], own[column], strict=True):
        steps += [begin, end]
        values += [value, value]
    return steps, values
