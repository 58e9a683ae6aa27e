"""The one picture of a sweep: what was tried, and what made the difference."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnsweep.report.axis_values import name_axis, positions, spread
from rnnsweep.report.data import SweepData
from rnnsweep.report.scores import best_score
from rnnsweep.report.search_history import draw_history
from rnnsweep.report.searched import draw_slice
from rnnsweep.report.style import GREEN, GREY, ORANGE, canvas, number, short, styled
from rnnsweep.wording import counted

PREFERRED = "controllers.omega.weight"


def telling_key(data: SweepData) -> str | None:
    """The key to draw beside the history: the Ω weight where it is searched, else the most important one."""
    if PREFERRED in data.space.keys:
        return PREFERRED
    keys = data.searched_by_importance
    return keys[0] if keys else None


def overview(data: SweepData) -> Figure | None:
    """History; the objective against the telling key; and, where the task was solved, how soon."""
    if data.scored.empty:
        return None
    # Ω is what this project is about; otherwise the most important key tells most.
    key = telling_key(data)
    with styled():
        timed = key is not None and bool(data.replicas["solved_at"].notna().any())
        columns = 1 + (key is not None) + timed
        figure, grid = canvas(1, columns, size=(4.6 + 4.1 * (columns - 1), 4.9))
        draw_history(grid[0, 0], data)
        if key:
            draw_slice(grid[0, 1], data, key)
            grid[0, 1].set_title(f"By {short(key)}")
            # the same objective side by side is read across
            grid[0, 1].set_ylim(grid[0, 0].get_ylim())
        if key and timed:
            draw_times(grid[0, 2], data, key)
        figure.suptitle(f"{data.name}: {_headline(data)}", x=0.012, ha="left", fontsize=13, fontweight="bold")
        figure.supxlabel(_small_print(data), x=0.012, ha="left", fontsize=8.5, color=GREY)
    return figure


def draw_times(axes: Axes, data: SweepData, key: str) -> None:
    """Updates to solve of every replica against one key; those that had not solved are open triangles at their end."""
    some = data.replicas[data.replicas["trial"].isin(data.scored["trial"])]
    some = some.merge(data.trials[["trial", key]], on="trial").dropna(subset=[key])
    place, names = positions(data, key, some[key])
    if names is not None:
        # by replica: those of one trial share the choice and would lie upon each other
        place = place + spread(some["trial"] * data.replicas_per_trial + some["replica"])
    name_axis(axes, data, key, names)
    solved = some["solved_at"].notna()
    axes.scatter(
        place[solved],
        some.loc[solved, "solved_at"],
        s=40,
        c=GREEN,
        edgecolors="white",
        linewidths=0.6,
        zorder=3,
        label="solved",
    )
    axes.scatter(
        place[~solved],
        some.loc[~solved, "step"],
        s=36,
        marker="^",
        facecolors="none",
        edgecolors=ORANGE,
        zorder=3,
        label="not solved by then",
    )
    axes.set(xlabel=short(key), ylabel="updates", title="Updates to solve", ylim=(0, data.updates * 1.06))
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, -0.16), ncols=2, columnspacing=1.2, handletextpad=0.7, borderaxespad=0
    )


def _headline(data: SweepData) -> str:
    done = data.ranked
    solved = int(done["solved_at"].notna().sum())
    if solved:
        replicas = data.replicas[data.replicas["trial"].isin(done["trial"])]
        # half of a trial's replicas make it solved: the other half must not be passed over
        own = f" ({int(replicas['solved_at'].notna().sum())} of {len(replicas)} replicas)"
        complete = counted(len(done), "complete trial")
        return f"{solved} of {complete}{own if data.replicas_per_trial > 1 else ''} solve the task"
    if len(done):
        return f"best {data.label(data.objective.metric)} {best_score(data)} (trial {done['trial'].iloc[0]})"
    return f"{counted(len(data.trials), 'trial')} so far"


def _small_print(data: SweepData) -> str:
    trained, trials = data.totals.get("updates", 0), counted(len(data.trials), "trial")
    replicas = counted(data.replicas_per_trial, "replica")
    return (
        f"{trials} × {replicas}, up to {number(data.updates)} updates each; "
        f"{number(trained)} updates in {data.totals.get('wall_s', 0):.0f} s"
    )
