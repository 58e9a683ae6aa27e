"""Against the paper's rules, written down once more over whole histories."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rnnsweep.sweep.schedulers.asha import Asha
from rnnsweep.sweep.schedulers.base import AtRung, Decision
from rnnsweep.sweep.schedulers.halving import milestones
from rnnsweep.sweep.schedulers.pasha import Pasha, noise, same_order
from tests.kit.plans import plan

PLAN = plan(200, updates=640, replicas=1)  # 64 rungs; milestones with eta = 2 at rungs 1, 2, 4, ..., 32


def at(trial: int, rung: int, loss: float, last: bool = False) -> AtRung:
    return AtRung(trial, rung, 10 * rung, (loss,), {}, last)


def play(scheduler, trials: int, loss, rungs: int = 64):
    """One trial after the other to where it stops, those that are promoted first; (decisions, longest rung)."""
    made, longest = list[Decision](), 0
    waiting = [(number, 0) for number in reversed(range(trials))]
    while waiting:
        number, rung = waiting.pop()
        while True:
            rung += 1
            longest = max(longest, rung)
            new = list(scheduler.reached(at(number, rung, loss(number, rung), rung == rungs)))
            made += new
            waiting += [(one.trial, one.rung) for one in new if one.verdict == "promote"]
            if rung == rungs or any(one.trial == number and one.verdict == "pause" for one in new):
                break
    return made, longest


def test_where_the_order_never_changes_nobody_trains_beyond_the_second_milestone() -> None:
    _, longest = play(Pasha(eta=2).start(PLAN), 64, lambda number, rung: number / 64)
    assert longest == milestones(PLAN, None, 2)[1] == 2
    assert play(Asha(eta=2).start(PLAN), 64, lambda number, rung: number / 64)[1] == 64


def test_where_it_changes_at_every_milestone_it_goes_as_far_as_asha() -> None:
    def shuffled(number: int, rung: int) -> float:
        return random.Random(f"{number}/{rung}").random()

    assert play(Pasha(eta=2, epsilon=0.0).start(PLAN), 64, shuffled)[1] > 8
    # with so much noise allowed for, no change of order is one
    assert play(Pasha(eta=2, epsilon=1.0).start(PLAN), 64, shuffled)[1] == 2


def test_what_is_opened_is_opened_by_the_first_result_that_shows_another_order() -> None:
    scheduler = Pasha(eta=2, epsilon=0.0).start(PLAN)
    assert scheduler.reached(at(0, 1, 0.5)) == [Decision(0, 1, "pause")]
    assert scheduler.reached(at(1, 1, 0.4)) == [Decision(1, 1, "keep")]
    assert scheduler.reached(at(2, 1, 0.3)) == [Decision(2, 1, "keep")]
    assert scheduler.reached(at(3, 1, 0.9)) == [Decision(3, 1, "pause")]
    assert scheduler.reached(at(1, 2, 0.2)) == [Decision(1, 2, "pause")]
    # one of two is the best of the second milestone, and 2 stood before 1 at the first: the third is opened
    assert scheduler.reached(at(2, 2, 0.25)) == [Decision(2, 2, "pause"), Decision(1, 2, "promote")]


def test_orders_are_compared_as_in_the_paper() -> None:
    """For each place of the order above: is whoever stands there equivalent to whoever stood there below?"""
    draw = random.Random(0)
    for _ in range(200):
        below = {number: round(draw.random(), 1) for number in range(6)}
        above = {number: round(draw.random(), 1) for number in range(6)}
        epsilon = draw.choice([0.0, 0.1, 0.3, 1.0])
        lists = [
            {one for one in below if abs(below[one] - below[there]) <= epsilon}
            for there in sorted(below, key=lambda number: (below[number], number))
        ]
        order = sorted(above, key=lambda number: (above[number], number))
        expected = all(number in equivalent for number, equivalent in zip(order, lists, strict=True))
        assert same_order(below, above, epsilon) == expected


def test_noise_is_a_percentile_of_distances_between_those_that_overtake_each_other_twice() -> None:
    crossing = [{1: 0.5, 2: 0.1, 3: 0.5, 4: 0.2}, {1: 0.4, 2: 0.3, 3: 0.4, 4: 0.35}]  # > < > <
    once = {1: 0.9, 2: 0.2, 3: 0.1}  # overtakes each of them once
    assert noise([*crossing, once], 90.0) == pytest.approx(0.15)
    assert noise([once, crossing[0]], 90.0) == 0.0
    draw = random.Random(1)
    curves = [{rung: draw.random() for rung in range(6)} for _ in range(9)]
    distances = [
        abs(one[5] - other[5])
        for index, one in enumerate(curves)
        for other in curves[:index]
        if sum((one[r] > other[r]) != (one[r + 1] > other[r + 1]) for r in range(5)) >= 2
    ]
    assert noise(curves, 70.0) == pytest.approx(np.percentile(distances, 70.0))


@pytest.mark.parametrize("unit", [Pasha(eta=2), Pasha(eta=2, epsilon=0.05)])
def test_restored_after_any_rung_it_reaches_as_far_and_decides_the_rest_alike(unit: Pasha) -> None:
    def loss(number: int, rung: int) -> float:
        return random.Random(number).random() + 0.2 * random.Random(f"{number}/{rung}").random()

    rungs: list[AtRung] = []
    made: list[list[Decision]] = []

    class Kept:
        inner = unit.start(PLAN)

        def reached(self, case: AtRung):
            rungs.append(case)
            made.append(list(self.inner.reached(case)))
            return made[-1]

    play(Kept(), 24, loss)
    for cut in range(0, len(rungs), 11):
        again = unit.start(PLAN)
        again.restore(rungs[:cut], [one for new in made[:cut] for one in new], [])
        assert [list(again.reached(case)) for case in rungs[cut:]] == made[cut:]
