"""Steps within ranges: never out of them, never off the grid, always somewhere else where there is somewhere."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnsweep.sweep.schedulers.moves import drawn, grid_of, scaled, uniform
from rnnsweep.sweep.space import Dimension

DIMENSIONS = (
    Dimension("a", "float", 1e-4, 1.0, log=True),
    Dimension("a", "float", -2.0, 3.0),
    Dimension("a", "float", 0.0, 1.0, step=0.1),
    Dimension("a", "int", 1, 9),
    Dimension("a", "int", 1, 500, log=True),
    Dimension("a", "int", 10, 50, step=5),
    Dimension("a", "categorical", choices=(0.1, 0.5, 0.9)),
    Dimension("a", "categorical", choices=("x", "y", "z")),
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(DIMENSIONS), st.floats(0.0, 1.0, exclude_max=True), st.sampled_from([0.5, 0.8, 1.2, 3.0]))
def test_no_value_ever_leaves_its_range_or_its_grid(dimension: Dimension, share: float, factor: float) -> None:
    value = drawn(dimension, share)
    for _ in range(20):
        assert dimension.fitting(value) == value
        assert type(dimension.fitting(value)) is type(value)
        value = scaled(dimension, value, factor)
    if factor > 1 and dimension.kind != "float":  # after so many steps up it has come to the end, one by one at least
        assert value == grid_of(dimension)[-1] or dimension.high > 100


@pytest.mark.parametrize(
    ("dimension", "value", "factor", "expected"),
    [
        (DIMENSIONS[0], 0.1, 0.8, 0.1 * 0.8),
        (DIMENSIONS[0], 0.9, 1.2, 1.0),
        (DIMENSIONS[1], -2.0, 1.2, -2.0),
        (DIMENSIONS[2], 0.3, 1.2, 0.4),  # 0.36 is nearest to 0.4
        (DIMENSIONS[2], 0.1, 0.8, 0.0),  # 0.08 is nearest to where it was: a step down
        (DIMENSIONS[3], 2, 1.2, 3),
        (DIMENSIONS[3], 9, 1.2, 9),
        (DIMENSIONS[5], 30, 0.8, 25),
        (DIMENSIONS[6], 0.5, 1.2, 0.9),
        (DIMENSIONS[7], "x", 0.8, "x"),
        (DIMENSIONS[7], "z", 0.8, "y"),
    ],
)
def test_steps(dimension: Dimension, value, factor: float, expected) -> None:
    assert scaled(dimension, value, factor) == expected


def test_draws_are_even_on_the_scale_of_the_range() -> None:
    """Kolmogorov's distance of 4000 equally spaced shares from the uniform law: 1/4000, exactly."""
    shares = [(i + 0.5) / 4000 for i in range(4000)]
    logs = [math.log10(drawn(DIMENSIONS[0], share)) for share in shares]
    assert max(abs((x + 4) / 4 - share) for x, share in zip(logs, shares, strict=True)) < 1e-9
    counts = [sum(drawn(DIMENSIONS[3], share) == value for share in shares) for value in range(1, 10)]
    assert max(counts) - min(counts) <= 1


def test_uniform_numbers_are_functions_of_their_words() -> None:
    values = [uniform(7, "explore", rung, trial) for rung in range(20) for trial in range(100)]
    assert len(set(values)) == 2000
    assert all(0 <= value < 1 for value in values)
    # mean of 2000 uniform numbers: standard error 0.0065; six of them, false alarm 2e-9
    assert abs(sum(values) / 2000 - 0.5) < 6 * (1 / 12 / 2000) ** 0.5
    assert uniform(7, 1) != uniform(71)
