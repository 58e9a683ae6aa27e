"""The single unit against closed forms, brute force and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.core.analyses.bifurcation import attractor, bifurcations, fixed_points, sigmoid
from rnnsweep.core.analyses.error_surface import UnitProblem, wall
from rnnsweep.errors import HyperparameterError


def test_bifurcations_of_the_paper_lie_where_the_map_has_slope_one():
    (low_b, high_x), (high_b, low_x) = bifurcations(5.0)
    for b, x in ((low_b, high_x), (high_b, low_x)):
        s = 1 / (1 + np.exp(-x))
        assert 5 * s * (1 - s) == pytest.approx(1, abs=1e-12)  # f'(x) = 1 / w
        assert 5 * s + b == pytest.approx(x, abs=1e-12)
    # s = (1 +- sqrt(1/5)) / 2 by hand: x = +-0.962424, b = -2.655610 and -2.344390
    assert (low_b, high_b) == pytest.approx((-2.655610, -2.344390), abs=1e-6)


@pytest.mark.parametrize(("b", "count"), [(-2.7, 1), (-2.65, 3), (-2.5, 3), (-2.35, 3), (-2.3, 1)])
def test_three_fixed_points_between_the_bifurcations_and_one_outside(b, count):
    found = fixed_points(5.0, b)
    assert len(found) == count
    assert [p.stable for p in found] == ([True, False, True] if count == 3 else [True])


@given(w=st.floats(0.1, 12), b=st.floats(-8, 4))
def test_fixed_points_are_fixed_and_none_is_missed(w, b):
    found = fixed_points(w, b)
    for point in found:
        assert w * sigmoid(point.x) + b == pytest.approx(point.x, abs=1e-9)
    grid = np.linspace(min(b, -3) - 1, max(w + b, 3) + 1, 20001)  # sign changes of the same equation on a fine grid
    off = grid - w * sigmoid(grid) - b
    assert len(found) >= int((np.sign(off[1:]) * np.sign(off[:-1]) < 0).sum())


def test_the_unstable_point_parts_the_basins():
    low, border, high = fixed_points(5.0, -2.5)
    assert attractor(5.0, -2.5, border.x - 1e-6) == pytest.approx(low.x, abs=1e-9)
    assert attractor(5.0, -2.5, border.x + 1e-6) == pytest.approx(high.x, abs=1e-9)


def test_weak_feedback_has_no_bifurcation():
    assert bifurcations(4.0) == ()
    assert len(fixed_points(3.0, -1.5)) == 1
    with pytest.raises(HyperparameterError, match="w=-1"):
        bifurcations(-1.0)


def test_error_surface_against_a_plain_loop():
    problem = UnitProblem()
    x = 0.5
    for _ in range(50):
        x = 4.5 / (1 + np.exp(-x)) - 2.0
    assert problem.error(np.array(4.5), np.array(-2.0)) == pytest.approx((1 / (1 + np.exp(-x)) - 0.7) ** 2, rel=1e-12)


def test_gradient_against_finite_differences():
    problem, step = UnitProblem(steps=20), 1e-6
    w, b = np.array([3.0, 4.5, 5.0, 6.0]), np.array([-1.0, -2.0, -2.7, -3.4])
    _, dw, db = problem.error_and_gradient(w, b)
    near = (problem.error(w + step, b) - problem.error(w - step, b)) / (2 * step)
    assert dw == pytest.approx(near, rel=1e-4, abs=1e-8)
    assert db == pytest.approx(
        (problem.error(w, b + step) - problem.error(w, b - step)) / (2 * step), rel=1e-4, abs=1e-8
    )


def test_the_wall_is_where_the_error_jumps_and_the_gradient_explodes():
    problem, w = UnitProblem(), 6.0
    b = float(wall(np.array(w)))
    below, above = problem.error(np.array(w), np.array([b - 1e-3, b + 1e-3]))
    assert below > 0.3 > 0.1 > above  # the lower basin ends near 0, the upper one near 1: errors .49 and .09
    _, dw, db = problem.error_and_gradient(np.array(w), np.array([b - 1.0, b]))
    norm = np.hypot(dw, db)
    # on the wall tangents grow by w s (1 - s) = 1.41 per step: 1.41^50 = 3e7
    assert norm[1] > 1e5 > 1e3 * norm[0]


def test_clipping_keeps_the_descent_near_the_wall():
    problem = UnitProblem()
    start = (6.0, float(wall(np.array(6.0))))
    plain = problem.descend(start, lr=0.1, steps=5)
    clipped = problem.descend(start, lr=0.1, steps=5, threshold=1.0)
    assert np.abs(plain - plain[0]).max() > 10
    assert np.linalg.norm(np.diff(clipped, axis=0), axis=1).max() <= 0.1 + 1e-12
