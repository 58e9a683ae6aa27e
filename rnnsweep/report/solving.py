"""Who solved the task, and after how many updates; replicas that did not are marked as censored."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnsweep.report.axis_values import choice_name
from rnnsweep.report.data import Frame, SweepData
from rnnsweep.report.style import BLUE, GREY, INK, ORANGE, canvas, note, short, styled
from rnnsweep.sweep.censoring import censored_median
from rnnsweep.wording import counted

SHOWN = 20


def updates_to_solve(data: SweepData) -> Figure | None:
    """One line per trial: its replicas' updates to solve, their median, arrows where they had not by the end."""
    best = data.ranked["trial"].head(SHOWN).tolist()
    if not best or data.replicas["solved_at"].isna().all():
        return None
    with styled():
        figure, grid = canvas(size=(8.6, 1.4 + 0.27 * len(best)))
        axes = grid[0, 0]
        for place, trial in enumerate(best):
            _draw_trial(axes, data, place, data.replicas[data.replicas["trial"] == trial])
        axes.set_yticks(range(len(best)), [_name(data, trial) for trial in best], fontsize=8.5)
        axes.invert_yaxis()
        axes.set(xlabel="updates", ylabel="trial, best first", xlim=(0, data.updates * 1.05))
        note(axes, "● solved   ▷ not solved by then (censored)   | median, solved_at")
    return figure


def _draw_trial(axes: Axes, data: SweepData, place: int, replicas: Frame) -> None:
    solved = replicas["solved_at"].dropna().astype(float)
    open_ = replicas.loc[replicas["solved_at"].isna(), "step"].astype(float)
    axes.scatter(solved, np.full(len(solved), place), s=34, c=BLUE, edgecolors="white", linewidths=0.5, zorder=3)
    axes.scatter(open_, np.full(len(open_), place), s=34, marker=">", facecolors="none", edgecolors=ORANGE, zorder=3)
    middle = censored_median(solved.tolist(), len(replicas))
    if middle is not None:
        axes.plot([middle, middle], [place - 0.32, place + 0.32], color=INK, linewidth=1.6, zorder=2)


def _name(data: SweepData, trial: int) -> str:
    """Trial number and the value of the key that mattered most."""
    keys = data.searched_by_importance
    if not keys:
        return f"#{trial}"
    value = data.trials.loc[data.trials["trial"] == trial, keys[0]].iloc[0]
    if isinstance(value, float) and math.isnan(value):  # the key does not exist in this trial
        return f"#{trial}"
    text = f"{value:.3g}" if isinstance(value, float) and math.isfinite(value) else choice_name(value)
    return f"#{trial}   {short(keys[0])} {text}"


def solved_over_updates(data: SweepData) -> Figure | None:
    """Share of all replicas that had solved the task by each update."""
    ended = data.replicas[data.replicas["trial"].isin(data.scored["trial"])]
    times = np.sort(ended["solved_at"].dropna().astype(float).to_numpy())
    if len(times) == 0:
        return None
    with styled():
        figure, grid = canvas(size=(8.6, 3.6))
        axes = grid[0, 0]
        # of all that ended: leaving the unsolved out would let every task look solved
        share = np.arange(1, len(times) + 1) / len(ended)
        # to the end of the budget, so that a curve that stopped rising shows it
        axes.step([0, *times, data.updates], [0, *share, share[-1]], where="post", color=BLUE, linewidth=2)
        axes.axhline(1, color=GREY, linewidth=0.8)
        axes.set(xlabel="updates", ylabel="solved replicas (share)", xlim=(0, data.updates), ylim=(0, 1.04))
        note(axes, f"{len(times)} of {counted(len(ended), 'replica')}")
    return figure
