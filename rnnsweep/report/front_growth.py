"""How the front of a sweep with several objectives grew: the volume that it dominates, as results came in."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rnnsweep.report.data import Frame, SweepData
from rnnsweep.report.style import BLUE, canvas, note, styled
from rnnsweep.sweep.hypervolume import hypervolume
from rnnsweep.wording import counted

MARGIN = 0.1
"""The reference point lies so far beyond the worst values, as a share of their range."""
MOST = 0.9
"""Share of the final volume whose time the answer says."""


def growth(data: SweepData) -> Frame | None:
    """One row per complete trial, in the order of their ends: trial, minutes, complete, share of the final volume.

    The reference point is a tenth of the range beyond the worst value of each objective; objectives count in their
    range. None with one objective, with no range in some, or where no times are known.
    """
    if not data.front:
        return None
    assert data.values is not None  # there is a front
    ended = data.ranked.dropna(subset=["finished"]).sort_values(["finished", "trial"])
    metrics = [objective.metric for objective in data.objectives]
    done = ended[["trial", "finished"]].merge(data.values[["trial", *metrics]].dropna(), on="trial")
    signs = [-1.0 if objective.goal == "maximize" else 1.0 for objective in data.objectives]
    signed = done[metrics] * signs
    spread = signed.max() - signed.min()
    if done.empty or not (spread > 0).all():
        return None
    points = [tuple(row) for row in ((signed - signed.min()) / spread).to_numpy().tolist()]
    reference = (1.0 + MARGIN,) * len(metrics)
    volumes = [hypervolume(points[: count + 1], reference) for count in range(len(points))]
    return done[["trial"]].assign(
        minutes=(done["finished"] - data.trials["started"].min()) / 60,
        complete=range(1, len(done) + 1),
        share=[volume / volumes[-1] for volume in volumes],
    )


def front_growth(data: SweepData) -> Figure | None:
    """The share of the final hypervolume over time and over complete trials; None where `growth` knows nothing."""
    grown = growth(data)
    if grown is None or len(grown) < 2:
        return None
    with styled():
        figure, grid = canvas(1, 2, size=(9.2, 3.8))
        _draw(grid[0, 0], grown, "minutes", "time since the first trial began (minutes)")
        _draw(grid[0, 1], grown, "complete", "complete trials")
        grid[0, 1].xaxis.set_major_locator(MaxNLocator(integer=True))
        note(grid[0, 1], counted(int(grown["share"].diff().gt(0).sum()), "improvement"))
    return figure


def _draw(axes: Axes, grown: Frame, over: str, label: str) -> None:
    axes.step(grown[over], grown["share"], where="post", color=BLUE, linewidth=2)
    axes.axhline(MOST, color=BLUE, linestyle=(0, (2, 2)), linewidth=0.8, alpha=0.6)
    axes.set(xlabel=label, ylabel="share of the final hypervolume", ylim=(0, 1.05))
    axes.set_xlim(left=0)


def answer(data: SweepData) -> str:
    """When most of the front was there; empty where nothing is drawn."""
    grown = growth(data)
    if grown is None or len(grown) < 2:
        return ""
    first = grown[grown["share"] >= MOST].iloc[0]
    of = f"{first['complete']:.0f} of {counted(len(grown), 'complete trial')}"
    return f"The front had {100 * MOST:.0f} % of its volume after {of} and {first['minutes']:.3g} minutes."
