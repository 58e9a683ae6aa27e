"""The unit cube: values and coordinates are inverse to each other, on every scale, to the exact type."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.adapters.optuna.cube import (
    cell_count,
    cell_of,
    check_space,
    coordinate,
    exact,
    params_at,
    point_of,
    seed_for,
    value_at,
)
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.space import Dimension, Space

FLOAT = Dimension("x", "float", -1.0, 3.0)
LOG = Dimension("x", "float", 1e-3, 10.0, log=True)
STEPPED = Dimension("x", "float", 0.0, 0.9, step=0.3)
WHOLE = Dimension("n", "int", 1, 9)
WHOLE_LOG = Dimension("n", "int", 2, 512, log=True)
MIXED = Dimension("c", "categorical", choices=(1, True, 1.0, None, "1"))
ALL = (FLOAT, LOG, STEPPED, WHOLE, WHOLE_LOG, MIXED)
unit = st.floats(0.0, 1.0)


@pytest.mark.parametrize("dimension", ALL, ids=lambda d: f"{d.kind}-{'log' if d.log else d.step}")
@given(u=unit)
def test_a_values_coordinate_gives_the_value_again(dimension, u):
    value = value_at(dimension, u)
    again = value_at(dimension, coordinate(dimension, value))
    assert type(again) is type(value)
    assert again == value if not isinstance(value, float) else math.isclose(again, value, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("dimension", [FLOAT, LOG, STEPPED, WHOLE, WHOLE_LOG])
def test_both_ends_are_within_the_bounds(dimension):
    low, high = value_at(dimension, 0.0), value_at(dimension, 1.0)
    assert dimension.low <= low < high <= dimension.high + 1e-12


def test_cells_share_the_interval_equally():
    assert [value_at(MIXED, (i + 0.5) / 5) for i in range(5)] == [1, True, 1.0, None, "1"]
    assert [type(value_at(MIXED, (i + 0.5) / 5)) for i in range(3)] == [int, bool, float]
    assert (cell_count(STEPPED), cell_count(WHOLE), cell_count(FLOAT), cell_count(WHOLE_LOG)) == (4, 9, None, None)


def test_equal_choices_of_other_types_keep_their_cells():
    assert [cell_of(MIXED, value) for value in (1, True, 1.0, None, "1", "2")] == [0, 1, 2, 3, 4, None]


@pytest.mark.parametrize(
    ("dimension", "value"),
    [
        (WHOLE, 20),
        (WHOLE, 2.5),
        (WHOLE_LOG, 20.5),
        (WHOLE, True),
        (WHOLE, "3"),
        (FLOAT, math.nan),
        (FLOAT, math.inf),
        (FLOAT, 3.1),
        (LOG, None),
        (MIXED, "a"),
    ],
)
def test_values_outside_of_a_dimension_have_no_coordinate(dimension, value):
    assert coordinate(dimension, value) is None


def test_a_whole_float_is_a_whole_number():
    assert coordinate(WHOLE, 5.0) == coordinate(WHOLE, 5)


def test_conditions_leave_dimensions_out():
    space = Space((MIXED, Dimension("s", "float", 0.0, 1.0, when={"c": ("1",)})))
    assert params_at(space, (0.0, 0.5)) == {"c": 1}
    assert params_at(space, (0.9, 0.5)) == {"c": "1", "s": 0.5}
    assert point_of(space, {"c": None}) == (0.7, None)
    assert point_of(space, {"c": "1", "s": 2.0}) is None
    assert point_of(space, {"c": "1"}) is None


def test_exact_types():
    assert type(exact(FLOAT, 1)) is float
    assert type(exact(WHOLE, 2.0)) is int
    assert exact(WHOLE, 2.5) == 2.5
    assert exact(MIXED, True) is True


def test_seeds_belong_to_one_ask():
    seeds = {seed_for(seed, number, purpose) for seed in (-1, 0, 1) for number in range(3) for purpose in range(2)}
    assert len(seeds) == 18


@pytest.mark.parametrize(
    "dimension",
    [
        Dimension("x", "float", 1.0, 2.0, log=True, step=0.1),
        Dimension("x", "float", 1.0, 2.0, step=0.0),
        Dimension("n", "int", 1.5, 3),
    ],
)
def test_impossible_dimensions_name_their_key(dimension):
    with pytest.raises(ConfigError) as caught:
        check_space(Space((dimension,)))
    assert caught.value.key == f"space.{dimension.key}"
