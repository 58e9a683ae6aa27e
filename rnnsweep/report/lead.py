"""Is the winner's lead more than luck of the seed? Its replicas against those of its rivals, paired by seed."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from rnnsweep.report.data import Column, Frame, SweepData
from rnnsweep.report.scores import best_score
from rnnsweep.report.statistics import (
    PairedDifference,
    detectable,
    holm,
    paired_difference,
    paired_shares,
    pairs_needed,
)
from rnnsweep.report.style import BLUE, INK, canvas, number, styled

RIVALS = 100
"""The closest so many are tested; one further behind is never the hardest to beat."""
SHOWN = 9
COLUMNS = ["rival", "objective", "pairs", "better by", "from", "to", "p", "p (Holm)"]


def lead(data: SweepData) -> Frame:
    """The winner against each rival, the closest first: by how much it is better, interval, p alone and corrected.

    Positive is better whatever the goal. Replica r of every trial has the same data and initial pattern, so the
    difference is taken per replica and the luck of that seed drops out. Empty with fewer than two complete trials or
    one replica each.
    """
    order = data.ranked["trial"].tolist()
    rivals, scores = order[1 : RIVALS + 1], _scores(data)
    tests = [(rival, _compare(data, scores[order[0]], scores[rival])) for rival in rivals]
    # one pair has no spread to compare its difference with
    tests = [(rival, test) for rival, test in tests if test.pairs > 1]
    corrected = holm([test.p for _, test in tests])
    objective = data.trials.set_index("trial")["objective"]
    rows = [
        (rival, objective[rival], test.pairs, test.mean, test.low, test.high, test.p, p)
        for (rival, test), p in zip(tests, corrected, strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _compare(data: SweepData, mine: Column, theirs: Column) -> PairedDifference:
    # a replica that one of the two never finished makes no pair
    both = mine.index.intersection(theirs.index)
    if data.objective.reduce == "solved_share":
        return paired_shares(mine[both].tolist(), theirs[both].tolist())
    # so that positive means that the winner is better
    first, second = (theirs, mine) if data.minimize else (mine, theirs)
    return paired_difference(first[both].tolist(), second[both].tolist())


def _scores(data: SweepData) -> dict[int, Column]:
    """What each replica of every trial scores, by replica."""
    shares = data.objective.reduce == "solved_share"
    each = data.replicas.set_index("replica").groupby("trial")
    return {trial: own["solved_at"].notna() if shares else own["value"].dropna() for trial, own in each}


def closest_rivals(data: SweepData) -> Frame | None:
    """The closest rivals for the page; None where there is nothing to compare."""
    table = lead(data)
    return None if table.empty or len(data.leaders) > 1 else table.head(SHOWN)


def verdict(data: SweepData) -> str:
    """The question answered in words; empty where there is no lead to speak of.

    To lead, the winner must beat every rival, so the largest of its p values decides and needs no correction (an
    intersection-union test). That it was chosen by the same replicas does no harm to a two-sided test of first against
    second.

    References:
        Berger (1982), Technometrics 24, 295-300; Hung, Fithian (2019), Annals of Statistics 47, 758-782.
    """
    order = data.ranked
    if len(order) < 2:
        return ""
    if len(data.leaders) > 1:
        return _tie(data)
    winner, second = (f"trial {number_}" for number_ in order["trial"].iloc[:2])
    gap = abs(float(order["objective"].iloc[0]) - float(order["objective"].iloc[1]))
    needed = pairs_needed()
    table = lead(data)
    fewest = 1 if table.empty else int(table["pairs"].min())
    if fewest < needed:
        many = "one replica per trial" if fewest == 1 else f"{fewest} replicas per trial"
        chance = "" if fewest == 1 else f" (by chance all {fewest} favour one side in 1 of {2 ** (fewest - 1)} cases)"
        return (
            f"Cannot be told: {winner} leads {second} by {number(gap)}, but {many} cannot separate that from luck of "
            f"the seed{chance}. replicas={needed} is the least that can."
        )
    return _tested(data, table, winner)


def _tie(data: SweepData) -> str:
    numbers = ", ".join(f"#{trial}" for trial in data.leaders[:SHOWN]) + (", ..." if len(data.leaders) > SHOWN else "")
    first = data.ranked["solved_at"].iloc[:2].tolist()
    # NaN, not solved, is unequal to itself: two that never solved the task are told apart by number.
    rule = "it solved the task first" if first[0] == first[0] != first[1] else "it has the lowest number"
    tie = f"Nobody leads: {len(data.leaders)} trials tie at {best_score(data)} ({numbers})."
    return f"{tie} #{data.leaders[0]} is named first because {rule}."


def _tested(data: SweepData, table: Frame, winner: str) -> str:
    # the largest p decides (see `verdict`)
    closest = table.loc[table["p"].idxmax()]
    pairs = int(closest["pairs"])
    by = f"by {number(float(closest['better by']))} [{number(float(closest['from']))}, {number(float(closest['to']))}]"
    test = "McNemar" if data.objective.reduce == "solved_share" else "sign-flip"
    against = f"over trial {closest['rival']:.0f} {by} on the same {pairs} seeds, {test} p = {closest['p']:.2g}"
    if closest["p"] < 0.05:
        beaten = f"{winner} beats each of its {len(table)} rivals"
        return f"More than luck of the seed: {beaten}; the closest call is {against}."
    return (
        f"May be luck of the seed: {winner} leads {against}. So many pairs find a difference of "
        f"{detectable(pairs):.2g} standard deviations in 4 of 5 cases, and miss smaller ones more often."
    )


def lead_figure(data: SweepData) -> Figure | None:
    """The winner's advantage over its closest rivals with 95 % intervals; None without intervals to draw."""
    table = closest_rivals(data)
    if table is None or table["from"].isna().any():
        return None
    with styled():
        figure, grid = canvas(size=(8.0, 1.3 + 0.34 * len(table)))
        axes = grid[0, 0]
        places = range(len(table))
        axes.hlines(places, table["from"], table["to"], color=BLUE, linewidth=2.2, alpha=0.55)
        axes.scatter(table["better by"], places, s=44, c=BLUE, zorder=3, edgecolors="white", linewidths=0.6)
        axes.axvline(0, color=INK, linewidth=0.9)
        axes.set_yticks(places, [f"#{trial}" for trial in table["rival"]])
        axes.invert_yaxis()
        axes.set(xlabel=f"#{data.leaders[0]} is better by ({data.label(data.objective.metric)})", ylabel="rival")
        axes.grid(axis="y", visible=False)
    return figure
