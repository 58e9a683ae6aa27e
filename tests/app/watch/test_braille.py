from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.app.watch.braille import GUTTER, draw


def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right() -> None:
    """Eight dots on two letters' width and height: one per column, as drawn by hand."""
    drawing = draw([[(0.0, 0.0), (3.0, 7.0)]], GUTTER + 2, 3)
    assert drawing.lines == (
        "        7 ┤⠀⡜",
        "        0 ┤⡜⠀",
        " " * GUTTER + " 3",
    )
    assert drawing.owners == ((-1, 0), (0, -1))
    assert not drawing.log


def test_later_curves_lie_on_top() -> None:
    flat = [(0.0, 1.0), (9.0, 1.0)]
    drawing = draw([flat, flat[:1]], GUTTER + 10, 5)
    owned = [owner for line in drawing.owners for owner in line if owner >= 0]
    assert owned.count(0) == 9 and owned.count(1) == 1


@pytest.mark.parametrize(("values", "log"), [((1e-4, 1.0), True), ((0.5, 1.0), False), ((0.0, 1.0), False)])
def test_wide_ranges_of_positive_values_are_logarithmic(values: tuple[float, float], log: bool) -> None:
    assert draw([[(0.0, values[0]), (1.0, values[1])]], 40, 6).log is log


@given(
    points=st.lists(st.tuples(st.floats(0, 1e6), st.floats()), max_size=12),
    width=st.integers(GUTTER + 1, 90),
    height=st.integers(2, 12),
)
def test_whatever_comes_the_drawing_has_its_size(points, width, height) -> None:
    drawing = draw([points, []], width, height)
    assert len(drawing.lines) == height
    assert {len(line) for line in drawing.lines} == {width}
    assert [len(line) for line in drawing.owners] == [width - GUTTER] * (height - 1)
    some = any(math.isfinite(y) for _, y in points)
    assert some == any(owner == 0 for line in drawing.owners for owner in line)
