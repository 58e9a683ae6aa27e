"""Dimensions, conditions, and the cells of a grid."""

from __future__ import annotations

import math

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.space import Dimension, Space

FAMILY = Dimension("family", "categorical", choices=("srn", "lstm"))
FORGET = Dimension("family.forget", "categorical", choices=(0, 1, 2), when={"family": ("lstm",)})


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"kind": "categorical"}, "at least one value"),
        ({"kind": "float", "low": 0.0}, "finite"),
        ({"kind": "float", "low": 0.0, "high": math.inf}, "finite"),
        ({"kind": "float", "low": math.nan, "high": 1.0}, "finite"),
        ({"kind": "int", "low": 3, "high": 2}, "empty"),
        ({"kind": "float", "low": 0.0, "high": 1.0, "log": True}, "positive"),
    ],
)
def test_an_impossible_dimension_names_its_key(fields: dict, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as error:
        Dimension("optimizer.lr", **fields)
    assert error.value.key == "space.optimizer.lr"


@pytest.mark.parametrize(
    ("dimension", "cells"),
    [
        (Dimension("a", "categorical", choices=("x", None, 2)), ("x", None, 2)),
        (Dimension("a", "int", 2, 5), (2, 3, 4, 5)),
        (Dimension("a", "int", 2, 9, step=3), (2, 5, 8)),
        (Dimension("a", "float", 0.0, 1.0, step=0.25), (0.0, 0.25, 0.5, 0.75, 1.0)),
        (Dimension("a", "float", 0.5, 0.5, step=0.1), (0.5,)),
    ],
)
def test_cells_of_a_dimension(dimension: Dimension, cells: tuple) -> None:
    assert dimension.cells() == cells
    assert [type(cell) for cell in dimension.cells()] == [type(cell) for cell in cells]


@pytest.mark.parametrize("dimension", [Dimension("a", "float", 0, 1), Dimension("a", "int", 1, 8, log=True)])
def test_a_range_without_steps_has_no_grid(dimension: Dimension) -> None:
    with pytest.raises(ConfigError, match="stepped range"):
        dimension.cells()


def test_a_condition_gives_one_cell_where_its_dimension_does_not_exist() -> None:
    space = Space((FAMILY, FORGET))
    assert list(space.grid()) == [{"family": "srn"}, *({"family": "lstm", "family.forget": n} for n in range(3))]
    assert (space.keys, len(space), list(space)) == (("family", "family.forget"), 2, [FAMILY, FORGET])
    assert FORGET.active({"family": "lstm"})
    assert not FORGET.active({})


def test_an_empty_space_has_one_cell() -> None:
    assert list(Space().grid()) == [{}]


KNOWN = Space(
    (
        Dimension("family", "categorical", choices=("srn", "lstm")),
        Dimension("hidden", "int", 16, 64),
        Dimension("lr", "float", 0.1, 1.0),
        Dimension("leak", "float", 0.0, 1.0, step=0.1),
        Dimension("on", "categorical", choices=(True, False, None, 1)),
        Dimension("forget", "float", 0.0, 2.0, when={"family": ("lstm",)}),
    )
)


@pytest.mark.parametrize(
    "point",
    [
        {"hidden": 20.5}, {"hidden": -1}, {"hidden": "20"}, {"hidden": True}, {"hidden": None}, {"hidden": [1]},
        {"hidden": math.nan}, {"hidden": math.inf}, {"hidden": "a"}, {"hidden": 65}, {"lr": math.nan}, {"lr": 0.0},
        {"lr": "0.5"}, {"lr": False}, {"leak": 0.25}, {"family": "gru"}, {"family": None}, {"on": "true"},
        {"on": [True]}, {"hiden": 20}, {"forget": 1.0}, {"forget": 1.0, "family": "srn"}, "hidden", None, [1],
    ],
)  # fmt: skip
def test_a_point_outside_of_the_space_is_no_point(point):
    with pytest.raises(ConfigError) as caught:
        KNOWN.fitting(point, "points.0")
    assert (caught.value.key or "").startswith("points.0")
    assert caught.value.allowed


def test_a_point_has_its_dimensions_types():
    point = {"family": "lstm", "hidden": 32.0, "lr": 1, "leak": 0.30000000000000004, "on": 1, "forget": 0}
    fitting = KNOWN.fitting(point, "points.0")
    assert fitting == point
    assert [type(value) for value in fitting.values()] == [str, int, float, float, int, float]
    assert KNOWN.fitting({"on": True}, "points.0")["on"] is True
    assert KNOWN.fitting({}, "points.0") == {}


def test_a_huge_space_is_counted_without_making_its_points():
    """A driver hung on `range(0,1,1e-9)`: it made each point to learn that they are too many."""
    huge = Space((Dimension("a", "float", 0.0, 1.0, step=1e-9), Dimension("b", "int", 1, 10**15)))
    assert huge.size() is None
