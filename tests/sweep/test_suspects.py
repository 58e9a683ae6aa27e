"""Which sweep kills the workers that it shares."""

from __future__ import annotations

from rnnsweep.sweep.suspects import GIVEN_UP, Suspects

BOTH = {1: [(0, 0)], 2: [(0, 0), (1, 0)]}


def test_one_death_suspects_nobody_two_without_progress_do() -> None:
    suspects = Suspects()
    suspects.died(BOTH)
    assert suspects.suspected == []
    suspects.died(BOTH)
    assert suspects.suspected == [1, 2]


def test_a_sweep_that_dies_alone_is_its_drivers_matter() -> None:
    suspects = Suspects()
    for _ in range(3):
        suspects.died({1: [(0, 0)]})
    assert suspects.suspected == []


def test_who_gets_on_is_cleared_and_who_does_not_is_not() -> None:
    suspects = Suspects()
    suspects.died(BOTH)
    suspects.died(BOTH)
    for _ in range(2):
        suspects.trained(1, [(0, 0)])
        suspects.trained(2, [(1, 0)])
    assert suspects.suspected == [2]
    assert suspects.barred(["a", "b"], [1, 2, 3]) == {1: {"a"}, 2: {"b"}, 3: {"a"}}
    assert suspects.barred(["a"], [1, 2]) == {1: {"a"}, 2: frozenset()}


def test_the_second_suspect_waits_for_the_first() -> None:
    suspects = Suspects()
    suspects.died(BOTH)
    suspects.died(BOTH)
    assert suspects.barred(["a", "b"], [1, 2, 3]) == {1: {"b"}, 2: {"a", "b"}, 3: {"a"}}


def test_a_row_that_does_not_come_back_is_given_up_as_the_others_get_on() -> None:
    suspects = Suspects()
    suspects.died(BOTH)
    suspects.died(BOTH)
    suspects.trained(1, [(7, 0)] * (GIVEN_UP - 1))
    assert 1 in suspects.suspected
    suspects.trained(1, [(8, 0)])
    assert 1 not in suspects.suspected
