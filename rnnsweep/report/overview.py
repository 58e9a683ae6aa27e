"""The one picture of a sweep: what was tried, and what made the difference."""

from __future__ import annotations

from matplotlib.figure import Figure

from rnnsweep.report.data import SweepData
from rnnsweep.report.history import draw_history
from rnnsweep.report.searched import draw_slice
from rnnsweep.report.style import GREY, canvas, label, number, short, styled

PREFERRED = "controllers.omega.weight"


def telling_key(data: SweepData) -> str | None:
    """The key to draw beside the history: the Ω weight where it is searched, else the most important one."""
    if PREFERRED in data.space.keys:
        return PREFERRED
    keys = data.searched_by_importance
    return keys[0] if keys else None


def overview(data: SweepData) -> Figure | None:
    """History on the left, the objective against the telling key on the right."""
    if data.scored.empty:
        return None
    key = telling_key(data)
    with styled():
        figure, grid = canvas(1, 2 if key else 1, size=(12.0, 4.9), sharey=True)
        draw_history(grid[0, 0], data)
        if key:
            draw_slice(grid[0, 1], data, key)
            grid[0, 1].set_title(f"By {short(key)}")
        figure.suptitle(f"{data.name}: {_headline(data)}", x=0.012, ha="left", fontsize=13, fontweight="bold")
        figure.supxlabel(_small_print(data), x=0.012, ha="left", fontsize=8.5, color=GREY)
    return figure


def _headline(data: SweepData) -> str:
    done = data.ranked
    solved = int(done["solved_at"].notna().sum())
    if solved:
        return f"{solved} of {len(done)} complete trials solve the task"
    if len(done):
        value, trial = float(done["objective"].iloc[0]), done["trial"].iloc[0]
        return f"best {label(data.objective.metric)} {number(value)} (trial {trial})"
    return f"{len(data.trials)} trials so far"


def _small_print(data: SweepData) -> str:
    trained = data.totals.get("updates", 0)
    return (
        f"{len(data.trials)} trials × {data.replicas_per_trial} replica(s), up to {number(data.updates)} updates each; "
        f"{number(trained)} updates in {data.totals.get('wall_s', 0):.0f} s"
    )
