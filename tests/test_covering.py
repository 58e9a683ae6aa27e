"""Coverings have every pair, and are far smaller than their products."""

from __future__ import annotations

import itertools

import pytest

from tests.kit.covering import covered, covering


@pytest.mark.parametrize("sizes", [(3,), (2, 2), (4, 3, 2), (9, 3, 2, 2), (30, 6, 2), (5, 5, 5, 5)])
def test_every_pair_is_there(sizes: tuple[int, ...]) -> None:
    chosen = covering(sizes)
    for i, j in itertools.combinations(range(len(sizes)), 2):
        assert {(place[i], place[j]) for place in chosen} == set(itertools.product(range(sizes[i]), range(sizes[j])))
    assert all({place[i] for place in chosen} == set(range(size)) for i, size in enumerate(sizes))


def test_few_places_are_needed() -> None:
    assert len(covering((30, 6, 2))) == 30 * 6
    assert len(covering((5, 5, 5, 5))) <= 40  # of 625; 25 is the least that there can be


def test_the_rest_of_the_product_is_for_studies_and_the_first_factors_may_stay_whole() -> None:
    mark = covered(whole=2, a=["x", "y"], b=[0, 1, 2], c=[False, True], d=["p", "q"]).mark
    names, params = mark.args
    assert names == ["a", "b", "c", "d"]
    assert len(params) == 24
    assert len({param.id for param in params}) == 24
    run = [param.values for param in params if not param.marks]
    assert len(run) == 6
    assert {values[:2] for values in run} == set(itertools.product("xy", range(3)))
    assert {values[2:] for values in run} == set(itertools.product((False, True), "pq"))
