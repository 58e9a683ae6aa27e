"""Fronts that grow by one point against fronts peeled anew; the net against its definition."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.study._multi_objective import _fast_non_domination_rank

from rnnsweep.sweep.hypervolume import dominates
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.schedulers.ranking import EPSILON_NET, HYPERVOLUME, Fronts, epsilon_net, losses, ranking

points = st.integers(2, 4).flatmap(
    lambda size: st.lists(st.tuples(*[st.integers(0, 4).map(float)] * size), min_size=1, max_size=14)
)


def peeled(known: list[tuple[float, ...]]) -> list[set[int]]:
    """Fronts by their definition."""
    left, fronts = set(range(len(known))), []
    while left:
        front = {one for one in left if not any(dominates(known[other], known[one]) for other in left)}
        fronts.append(front)
        left -= front
    return fronts


@settings(max_examples=150, deadline=None)
@given(points)
def test_fronts_that_grow_are_those_peeled_anew_and_optunas(known: list[tuple[float, ...]]) -> None:
    grown = Fronts(EPSILON_NET)
    for number, point in enumerate(known):
        grown.add(number, point)
        assert [set(front) for front in grown.fronts] == peeled(known[: number + 1])
    ranks = _fast_non_domination_rank(np.array(known))
    assert [{index for index, rank in enumerate(ranks) if rank == one} for one in range(max(ranks) + 1)] == [
        set(front) for front in grown.fronts
    ]


@settings(max_examples=60, deadline=None)
@given(points, st.sampled_from([EPSILON_NET, HYPERVOLUME]))
def test_the_top_is_the_beginning_of_the_order_which_has_everyone_once(known, among: str) -> None:
    grown = Fronts(among)
    for number, point in enumerate(known):
        grown.add(number, point)
    order = grown.ordered()
    assert sorted(order) == list(range(len(known)))
    for count in range(len(known) + 1):
        assert set(grown.top(count)) == set(order[:count])


@settings(max_examples=60, deadline=None)
@given(points)
def test_each_point_of_a_net_is_the_furthest_from_those_before_it(known: list[tuple[float, ...]]) -> None:
    order = epsilon_net(known)
    spread = [max(column) - min(column) or 1.0 for column in zip(*known, strict=True)]
    scaled = [[value / size for value, size in zip(point, spread, strict=True)] for point in known]
    assert known[order[0]] == min(known)
    for place in range(1, len(known)):
        near = {i: min(math.dist(scaled[i], scaled[j]) for j in order[:place]) for i in order[place:]}
        assert near[order[place]] == max(near.values())


def test_hypervolume_puts_the_point_first_without_which_most_is_lost() -> None:
    front = Fronts(HYPERVOLUME)
    for number, point in enumerate([(0.0, 10.0), (1.0, 9.5), (5.0, 2.0), (10.0, 0.0)]):
        front.add(number, point)
    # up to (11, 11), a tenth of the range beyond the worst: 1 x 1, (5 - 1) x 0.5, 5 x 7.5 - ... by `hypervolume`
    assert front.ordered()[0] == 2
    assert front.ordered()[-1] == 0


def test_one_objective_is_sorted_and_ties_go_by_number() -> None:
    single = ranking(1, EPSILON_NET)
    for number, loss in [(4, 0.5), (2, 0.5), (9, 0.1), (1, 0.7)]:
        single.add(number, (loss,))
    assert (single.ordered(), single.top(2), len(single)) == ([9, 2, 4, 1], [9, 2], 4)


def test_losses_are_signed_by_the_goal() -> None:
    goals = (Objective("a"), Objective("b", goal="maximize"))
    assert losses((1.0, 2.0), goals) == (1.0, -2.0)


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
