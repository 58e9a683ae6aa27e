"""The papers' questions answered: paired by seed, corrected for cells, with what so few replicas cannot show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnsweep.report.comparison import ReplicaResult, compare, markdown
from rnnsweep.report.published import TABLES
from rnnsweep.report.questions import AsPublished, Effect
from rnnsweep.report.statistics import detectable
from rnnsweep.report.style import brief

OMEGA = Effect("Does Ω help?", (("basic tanh, MSGD-CR", "basic tanh, MSGD-C"),))
SAMPLING = Effect("Does sampling help?", (("T=100 on", "T=100 off"),), values=True)


def solved(row, column, *outcomes):
    return [
        ReplicaResult(row, column, won, 100 if won else None, 200, replica=index) for index, won in enumerate(outcomes)
    ]


def accuracies(row, column, *values):
    return [ReplicaResult(row, column, False, None, 200, value, index) for index, value in enumerate(values)]


def fig7(replicas):
    with_it, without = OMEGA.rows[0]
    return [
        *solved(with_it, "T = 20", *[True] * replicas),
        *solved(without, "T = 20", *[False] * replicas),
        *solved(with_it, "T = 50", *[True] * (replicas - 1), False),
        *solved(without, "T = 50", *[False] * replicas),
    ]


def test_yes_with_interval_test_and_the_cells_that_stand_alone():
    text = OMEGA.answer((), fig7(10))
    assert text.startswith("Does Ω help? Yes: +95 [")
    assert "mean over 2 cells, 10 pairs by seed, sign-flip p = 0.002;" in text  # 2 / 2^10
    # alone: p = 2/2^10 and 2/2^9, by Holm .0039 both
    assert "By itself (Holm over 2 cells): basic tanh, MSGD-CR, T = 20 +100 [" in text
    assert "T = 50 +90 [" in text


def test_five_replicas_cannot_tell_and_say_so():
    text = OMEGA.answer((), fig7(5))
    assert "Cannot be told from 5 replicas per cell, 6 are the fewest that can: +90 points" in text
    assert "none" in text  # no cell by itself either: 2 / 2^5


def test_replicas_are_paired_by_number_not_by_order():
    # The gain is 1 point for every seed beside 30 points between seeds.
    values = [10.0, 40.0, 70.0, 20.0, 90.0, 60.0, 30.0, 80.0]
    on = accuracies("T=100 on", "adding", *(value + 1 for value in values))
    off = accuracies("T=100 off", "adding", *values)
    assert "Yes: +1 [+1, +1] points" in SAMPLING.answer((), [*on, *reversed(off)])


def test_undecided_states_the_power():
    values = [10.0, 40.0, 70.0, 20.0, 90.0, 60.0, 30.0, 80.0]
    gains = [5.0, -5.0] * 4
    on = accuracies("T=100 on", "adding", *(v + g for v, g in zip(values, gains, strict=True)))
    text = SAMPLING.answer((), [*on, *accuracies("T=100 off", "adding", *values)])
    spread = 5 * (8 / 7) ** 0.5
    assert "Undecided: +0 [" in text
    assert f"so many pairs find {brief(detectable(8) * spread)} points in 4 of 5 cases" in text


def test_the_opposite_is_said_to_be():
    values = [50.0] * 8
    on = accuracies("T=100 on", "adding", *(40.0 + i for i in range(8)))
    assert "No, the opposite: -" in SAMPLING.answer((), [*on, *accuracies("T=100 off", "adding", *values)])


def test_replicas_that_one_method_lacks_are_left_out():
    on, off = accuracies("T=100 on", "adding", 1.0, 2.0, 3.0), accuracies("T=100 off", "adding", 1.0)
    assert "1 pair by seed" in SAMPLING.answer((), [*on, *off])
    assert SAMPLING.answer((), on) == "Does sampling help? Not run."


@pytest.mark.parametrize(
    ("outcomes", "says"),
    [
        ([True] * 5, "No cell contradicts it, of 1 cell (Fisher"),
        ([False] * 5, "No: adding 0 of 5 against 5 of 5 (p = 0.0079)"),  # 2 / C(10, 5) = 2/252
        ([False], "1 replica beside 5, which could not show any difference"),  # 1/6
    ],
)
def test_shares_beside_the_published_ones(outcomes, says):
    table = TABLES["pascanu_pathological"]
    question = AsPublished("As often?", table)
    comparison = compare(table, "small", solved("adding", "solved", *outcomes), [], [question])
    assert says in comparison.answers[0]
    assert comparison.answers[0] in markdown(comparison)
    assert compare(table, "small", [], [], [question]).answers == ("As often? Not run.",)


def test_so_many_cells_that_none_can_stand_alone_are_looked_at_together():
    """0 of 5 beside 5 of 5 has p = 1/126, which times seven cells is above 5 %, whatever comes out."""
    table = TABLES["pascanu_pathological"]
    question = AsPublished("As often?", table)
    others = ["multiplication", "temporal order", "3-bit", "memorization 5-bit", "memorization 20-bit"]
    results = [*solved("adding", "solved", *[False] * 5), *solved("permutation", "solved", *[True] * 5)]
    results += [one for row in others for one in solved(row, "solved", *[row != "multiplication"] * 5)]
    (answer,) = compare(table, "small", results, [], [question]).answers
    assert "No cell contradicts it, of 7 cells" in answer
    assert "5 replicas beside 5, which could not show any difference in one" in answer
    assert "All cells together: 25 of 35 against 32 of 35, p = 0." in answer
    (fewer,) = compare(table, "small", results[:5] + results[10:20], [], [question]).answers
    assert "No: adding 0 of 5 against 5 of 5 (p = " in fewer


def test_of_losses_the_smaller_is_the_gain():
    memory = Effect("Does it remember?", (("scoRNN", "LSTM"),), values=True, losses=True)
    low, high = (
        accuracies(row, "copying", *values)
        for row, values in {"scoRNN": [1.0, 2, 3, 1, 2, 3], "LSTM": [90.0, 95, 99, 98, 97, 96]}.items()
    )
    assert "Yes: +94 [" in memory.answer((), [*low, *high])
    swapped = Effect("Does it remember?", (("LSTM", "scoRNN"),), values=True, losses=True)
    assert "No, the opposite: -94 [" in swapped.answer((), [*low, *high])


def test_what_has_learned_nothing_answers_nothing():
    """Two networks at chance differ by what their constant answers happen to be."""
    names = {"off": "T=100 off", "on": "T=100 on"}
    given = {"off": [16, 16.1, 15.9, 16, 16, 16.2], "on": [15, 15.1, 15, 14.9, 15, 15]}
    drawn = {name: accuracies(row, "adding", *given[name]) for name, row in names.items()}
    by_chance = [replace(one, chance=15.4) for own in drawn.values() for one in own]
    told = SAMPLING.answer((), by_chance)
    assert told.startswith("Does sampling help? Cannot be told: in no cell of 1 has a network")
    assert "sign-flip p = 0.031" in told
    # one network that has learned something, or of which that is not known
    for other in (replace(by_chance[-1], value=40.0), replace(by_chance[-1], chance=None)):
        assert "in no cell" not in SAMPLING.answer((), [*by_chance[:-1], other])
    losses = Effect("Does it remember?", (("scoRNN", "LSTM"),), values=True, losses=True)
    same = [replace(one, chance=100.0) for row in losses.rows[0] for one in accuracies(row, "copying", *[99.0] * 6)]
    assert "in no cell" in losses.answer((), same)
    assert "in no cell" not in losses.answer((), [replace(same[0], value=50.0), *same[1:]])
