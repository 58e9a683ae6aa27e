"""Which searched keys matter: shares that sum to 1, and silence where there is nothing to tell."""

import math

import pytest

from rnnsweep.adapters.optuna.importance import importances
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import TrialState

SPACE = Space((Dimension("x", "float", 0.0, 1.0), Dimension("y", "float", 0.0, 1.0)))


def trials(value, count=40, state=TrialState.COMPLETE):
    points = [{"x": (n * 7 % count) / count, "y": n / count} for n in range(count)]
    return [TrialView(n, state, point, (value(point),)) for n, point in enumerate(points)]


@pytest.mark.parametrize(("key", "goal"), [("x", "minimize"), ("y", "maximize")])
def test_the_key_that_alone_decides_comes_first(key, goal):
    shares = importances(SPACE, trials(lambda point: point[key]), goal=goal)
    assert next(iter(shares)) == key
    assert math.isclose(sum(shares.values()), 1.0)
    assert shares[key] > 0.6


@pytest.mark.parametrize(
    "views",
    [
        [],
        trials(lambda point: point["x"], count=3),
        trials(lambda point: 0.5),
        trials(lambda point: point["x"], state=TrialState.PRUNED),
        trials(lambda point: math.inf),
    ],
)
def test_nothing_to_tell_is_zero_for_every_key(views):
    assert importances(SPACE, views) == {"x": 0.0, "y": 0.0}


def test_points_outside_of_the_space_do_not_count():
    outside = [TrialView(99 + n, TrialState.COMPLETE, {"x": 5.0, "y": 0.0}, (-9.0,)) for n in range(9)]
    views = trials(lambda point: point["x"])
    assert importances(SPACE, [*views, *outside]) == importances(SPACE, views)


def test_the_second_objective_has_its_own_answer():
    views = [TrialView(v.number, v.state, v.params, (v.params["x"], v.params["y"])) for v in trials(lambda point: 0.0)]
    assert next(iter(importances(SPACE, views, objective=1))) == "y"
