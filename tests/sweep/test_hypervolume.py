"""Against Optuna's, and against counting cells of a grid."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume

from rnnsweep.sweep.hypervolume import contributions, dominates, hypervolume

cells = st.integers(1, 4).flatmap(lambda size: st.lists(st.tuples(*[st.integers(0, 6)] * size), max_size=8))


@settings(max_examples=150, deadline=None)
@given(cells)
def test_it_is_the_number_of_grid_cells_that_some_point_dominates(points: list[tuple[int, ...]]) -> None:
    size = len(points[0]) if points else 2
    counted = sum(
        any(all(a <= corner for a, corner in zip(point, cell, strict=True)) for point in points)
        for cell in itertools.product(range(5), repeat=size)
    )
    assert hypervolume([tuple(map(float, point)) for point in points], (5.0,) * size) == counted


@pytest.mark.parametrize("size", [2, 3, 4])
def test_it_equals_optunas(size: int) -> None:
    drawn = np.random.default_rng(size).uniform(size=(12, size))
    reference = (0.9,) * size
    inside = drawn[(drawn < 0.9).all(axis=1)]  # Optuna's takes no others
    mine = hypervolume([tuple(map(float, row)) for row in drawn], reference)
    assert mine == pytest.approx(compute_hypervolume(inside, np.array(reference)), rel=1e-12)


def test_contributions_are_what_is_lost_without_a_point() -> None:
    points = [(0.0, 2.0), (1.0, 1.0), (2.0, 0.0), (2.0, 2.0), (1.0, 1.0)]
    # by hand, up to (3, 3): the corners of the staircase; what is dominated, or there twice, adds nothing
    assert contributions(points, (3.0, 3.0)) == [1.0, 0.0, 1.0, 0.0, 0.0]
    assert hypervolume([], (1.0, 1.0)) == 0.0
    assert hypervolume([(1.0, 0.0)], (1.0, 1.0)) == 0.0


def test_equal_points_do_not_dominate_each_other() -> None:
    assert not dominates((1.0, 1.0), (1.0, 1.0))
    assert dominates((1.0, 0.5), (1.0, 1.0))
