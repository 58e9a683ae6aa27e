"""Whose turn it is within a worker, by a clock of the test's own: time goes by weight."""

from __future__ import annotations

from collections import Counter

import pytest

from rnnsweep.app.worker.turns import PackTurns
from rnnsweep.sweep.rows import Opening

Packs = dict[str, list[int]]


class Worker:
    """Trains packs for as long as each takes."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.now, self.seconds = 0.0, seconds
        self.turns = PackTurns[str](clock=lambda: self.now)
        self.spent: Counter[str] = Counter()

    def turn(self, packs: Packs, sweeps: dict[int, Opening]) -> list[str]:
        order = []
        for key in self.turns.turn(packs, sweeps):
            order.append(key)
            self.now += self.seconds[key]
            self.turns.charge(key, self.seconds[key])
            self.spent[key] += self.seconds[key]
        return order


def weights(*values: float) -> dict[int, Opening]:
    return {number: Opening(None, weight) for number, weight in enumerate(values, 1)}


def test_one_sweep_trains_all_its_packs_in_every_turn() -> None:
    worker = Worker({"a": 5.0, "b": 0.1, "c": 1.0})
    assert worker.turn({"a": [1], "b": [1, 1], "c": [1]}, weights(1)) == ["a", "b", "c"]


@pytest.mark.parametrize("weight", [1, 2, 5])
def test_time_goes_by_weight_however_long_rungs_are_and_many_rows(weight: int) -> None:
    worker = Worker({"a": 0.7, "b": 0.02})
    while worker.now < 800:
        worker.turn({"a": [1] * 30, "b": [2] * 3}, weights(1, weight))
    assert worker.spent["b"] / worker.spent["a"] == pytest.approx(weight, rel=0.02)


def test_a_pack_of_two_sweeps_has_the_weight_of_both() -> None:
    worker = Worker({"ab": 0.3, "c": 0.2})
    while worker.now < 200:
        worker.turn({"ab": [1, 2, 1, 2], "c": [3]}, weights(1, 2, 1))
    assert worker.spent["ab"] / worker.spent["c"] == pytest.approx(3, rel=0.02)


def test_the_weight_of_a_sweep_is_spread_over_its_packs_by_rows() -> None:
    worker = Worker({"a1": 0.1, "a2": 0.1, "b": 0.1})
    while worker.now < 200:
        worker.turn({"a1": [1], "a2": [1, 1, 1], "b": [2]}, weights(1, 1))
    assert worker.spent["a2"] / worker.spent["a1"] == pytest.approx(3, rel=0.02)
    assert worker.spent["b"] / (worker.spent["a1"] + worker.spent["a2"]) == pytest.approx(1, rel=0.02)


def test_a_pack_trains_one_rung_per_turn_and_a_turn_ends_in_time() -> None:
    worker = Worker({name: 0.2 for name in "abcdef"})
    packs = {name: [number] for number, name in enumerate("abcdef", 1)}
    assert worker.turn(packs, weights(*[1] * 6)) == ["a", "b"], "0.25 s and the rung in progress"
    worker = Worker({"a": 0.001, "b": 0.1})
    turns = [worker.turn({"a": [1], "b": [2]}, weights(1, 1)) for _ in range(20)]
    assert all(len(turn) == len(set(turn)) for turn in turns)


def test_who_comes_later_has_no_claim_to_the_time_before() -> None:
    worker = Worker({"a": 0.1, "b": 0.1, "c": 0.1})
    while worker.now < 100:
        worker.turn({"a": [1], "b": [2]}, weights(1, 1, 1))
    before = worker.spent.copy()
    while worker.now < 130:
        worker.turn({"a": [1], "b": [2], "c": [3]}, weights(1, 1, 1))
    assert worker.spent["c"] == pytest.approx(worker.spent["a"] - before["a"], rel=0.1)


def test_a_higher_priority_goes_first_and_the_others_wait() -> None:
    worker = Worker({"a": 0.1, "b": 0.1})
    sweeps = {1: Opening(None, 1.0), 2: Opening(None, 1.0, priority=3)}
    for _ in range(50):
        assert worker.turn({"a": [1], "b": [2]}, sweeps) == ["b"]
    low = {1: Opening(None, 1.0), 2: Opening(None, 1.0)}
    worker.spent.clear()
    while worker.now < 60:
        worker.turn({"a": [1], "b": [2]}, low)
    assert worker.spent["a"] == pytest.approx(worker.spent["b"], rel=0.02), "no claim for having waited"
