"""The page's sections in order: what each asks, what draws it, and what must be said beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from rnnsweep.report import (
    contours,
    device_use,
    dynamics,
    evidence,
    front_growth,
    gradient_profiles,
    key_verdicts,
    lead,
    levels,
    lineages,
    parallel,
    pareto_front,
    search_history,
    searched,
    solving,
)
from rnnsweep.report.data import Frame, SweepData

Sentence = Callable[[SweepData], str]


@dataclass(frozen=True)
class Section:
    """A part of the page: a figure, and what belongs to it. One that has nothing to show or say is left out.

    Attributes:
        slug: file name without ending, anchor on the page.
        title: heading.
        caption: how to read it.
        draw: draws it; None where the sweep has nothing to show yet.
        answer: the section's question answered in a sentence; empty where it cannot be asked.
        caution: what keeps a reader from believing too much; empty where nothing does. Shown with the figure only.
        table: the numbers below the figure; None where there are none.
        interactive: name of the figure to play with in place of the picture, see `interactive.figures`.
    """

    slug: str
    title: str
    caption: str
    draw: Callable[[SweepData], Figure | None]
    answer: Sentence | None = None
    caution: Sentence | None = None
    table: Callable[[SweepData], Frame | None] | None = None
    interactive: str = ""


SECTIONS = (
    Section(
        "history",
        "Optimisation history",
        "Every trial in the order it was asked. The staircase is the best complete trial so far. Solved means by at "
        "least half of the replicas.",
        search_history.history,
        interactive="history-play",
    ),
    Section(
        "lead",
        "Is the lead more than luck?",
        "By how much the winner is better than its closest rivals, replica by replica on the same seed, with 95 % "
        "intervals. p (Holm) is corrected for all rivals tested.",
        lead.lead_figure,
        answer=lead.verdict,
        table=lead.closest_rivals,
    ),
    Section(
        "best_so_far",
        "Best so far",
        "Each orange group shows the replicas (seeds) of a trial when it took the lead.",
        search_history.best_so_far,
    ),
    Section(
        "pareto_front",
        "Pareto front",
        "Trials that no other one beats in every objective.",
        pareto_front.pareto_front,
        table=pareto_front.front_table,
    ),
    Section(
        "front_growth",
        "Growth of the front",
        "Hypervolume of the front, the volume of objectives that it dominates, as complete trials came in. The "
        "reference point lies a tenth of each objective's range beyond its worst value.",
        front_growth.front_growth,
        answer=front_growth.answer,
    ),
    Section(
        "importances",
        "Which keys mattered",
        "How much each searched key separates the best tenth of the trials from all (PED-ANOVA), as shares of 1.",
        searched.importances,
        caution=key_verdicts.importance_caution,
    ),
    Section(
        "slices",
        "Objective by key",
        "One point per trial. Choices are spread sideways so that none hides.",
        searched.slices,
    ),
    Section(
        "contours",
        "Objective over pairs of keys",
        "Up to three keys, two by two. Points are trials. The surface between is interpolated, not measured, and drawn "
        "between number lines only; choices are strips.",
        contours.contours,
        caution=evidence.sparse,
    ),
    Section(
        "parallel",
        "Parallel coordinates",
        "One line per trial, in the picture the three best thick. Axes run over the search ranges; “–” is where a key "
        "does not exist.",
        parallel.parallel,
        interactive="parallel-play",
    ),
    Section(
        "solved_share",
        "Solved share by level",
        "Share of replicas that solved the task with 95 % Wilson intervals; ranges are cut into fifths of the trials. "
        "Replicas of one trial share its settings: the intervals count how many independent ones they are worth.",
        levels.solved_share,
        answer=key_verdicts.does_it_help,
        table=levels.levels,
    ),
    Section(
        "solved_over_updates",
        "How fast the task was solved",
        "Replicas solved by each update, of all that ended.",
        solving.solved_over_updates,
    ),
    Section(
        "updates_to_solve",
        "Updates to solve",
        "Replicas of the best trials. Open triangles are censored: not solved by the end of their budget. The bar is "
        "the trial's solved_at.",
        solving.updates_to_solve,
    ),
    Section(
        "dynamics",
        "Training of the best trials",
        "Mean over replicas, with every replica as a thin line. Panels of controllers that are off are left out.",
        dynamics.dynamics,
    ),
    Section(
        "lineages",
        "Lineages and schedules",
        "Above, for each trial, whose training led to what it has at its end: a step is a state that went over. Below, "
        "the values that these states were trained with. Orange: the best trial's.",
        lineages.lineages,
        table=lineages.schedule_table,
    ),
    Section(
        "profiles",
        "How far errors reach back",
        "Norm of the backpropagated error against depth at the start, in the middle and at the end of training. A line "
        "that falls is a vanishing gradient, one that rises an exploding one. Replicas end at updates of their own; "
        "the legend gives the update by which half of them had come to that moment.",
        gradient_profiles.profiles,
    ),
    Section(
        "use",
        "Time and device use",
        "Trials in training over the time of the sweep, and the device seconds by what became of the trial.",
        device_use.use,
    ),
)
