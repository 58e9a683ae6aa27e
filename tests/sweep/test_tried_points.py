"""What is remembered of the points that were tried."""

from __future__ import annotations

from rnnsweep.sweep.tried_points import IN_A_ROW, TriedPoints, point_key


def test_points_are_told_apart_as_choices_are() -> None:
    alike = [{"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": None}]
    assert len({point_key(point) for point in alike}) == 5
    assert point_key({"b": 2, "a": 1}) == point_key({"a": 1, "b": 2})


def test_a_space_is_used_up_by_its_points_or_by_a_sampler_that_finds_no_more() -> None:
    tried = TriedPoints(cells=3, left=set("abc"))
    for point in "aab":
        tried.count(point)
    assert (tried.used_up, tried.in_a_row, tried.repeats) == (False, 0, 0)
    for _ in range(IN_A_ROW):
        assert not tried.used_up
        tried.count("a")
    assert tried.used_up
    tried.count("c")
    assert (tried.used_up, tried.in_a_row) == (True, 0)
    tried.count("a")
    assert tried.repeats == 1


def test_a_space_without_end_is_never_used_up() -> None:
    tried = TriedPoints()
    for _ in range(3 * IN_A_ROW):
        tried.count("a")
    assert not tried.used_up
