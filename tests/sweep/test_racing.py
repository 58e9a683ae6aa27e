"""Who loses a race: the distribution of its statistic, its level, and what cannot be raced."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.budget import check_raised
from rnnsweep.sweep.plan import Budget, Objective, Racing
from rnnsweep.sweep.racing import RaceBoard, chance, check_racing, idle_racing, racing_of
from tests.kit.plans import plan
from tests.kit.races import raced


@pytest.mark.parametrize(("rivals", "replicas"), [(1, 4), (2, 3), (3, 4), (5, 2)])
def test_the_chance_is_the_share_of_all_ways_that_ranks_can_fall(rivals, replicas):
    sums = [sum(ranks) for ranks in itertools.product(range(rivals + 1), repeat=replicas)]
    for beaten in range(rivals * replicas + 1):
        share = sum(total >= beaten for total in sums) / len(sums)
        assert chance(beaten, rivals, replicas) == pytest.approx(share, rel=1e-15)


def test_against_one_rival_it_is_the_sign_test():
    for beaten in range(8):
        assert chance(beaten, 1, 7) == pytest.approx(float(binom.sf(beaten - 1, 7, 0.5)), rel=1e-12)


@pytest.mark.parametrize("kind", ["normal", "solved or not"])
def test_of_equal_trials_no_more_lose_than_the_level_says(kind):
    """Every trial is as good as its rivals; replicas share luck (the seed's), and those that solve tie.

    The mean over 150 sweeps of 20 trials; one sweep's share of losers has a standard deviation of at most 0.1, so the
    mean lies within 0.1 / sqrt(150) * 3.1 = 0.025 above its expectation but once in 1000.
    """
    level, shares = 0.2, []
    for seed in range(150):
        draws = np.random.default_rng(seed)
        losses = draws.normal(size=(20, 8)) + draws.normal(size=8)
        if kind != "normal":
            losses = np.where(losses < 0.5, 0.0, losses)
        counts = raced(losses, Racing(level, 2))
        shares.append(sum(count < 8 for count in counts[1:]) / 19)
    assert np.std(shares) < 0.1
    assert 0.005 < np.mean(shares) <= level


def test_a_trial_that_is_worse_everywhere_loses_as_soon_as_it_can():
    losses = np.array([[0.1 * trial] * 10 for trial in range(10)])
    # limit 0.2 / 3; 1 rival up to trial 4: 2^-4 = 0.0625 after 2 + 4 replicas; 2 up to trial 8: 3^-4; 3: 4^-2 = 0.0625
    assert raced(losses, Racing(0.2, 2)) == [10, 6, 6, 6, 6, 6, 6, 6, 6, 4]


def test_who_is_as_good_as_another_was_not_beaten():
    assert raced(np.zeros((12, 8)), Racing(0.9, 1)) == [8] * 12


def test_a_rival_that_lost_before_it_had_the_replica_was_not_better_there():
    board = RaceBoard(plan(replicas=6, racing=Racing(0.5, 1)))
    board.note(0, [0.0, 0.0])
    board.note(1, [1.0, 1.0, 1.0])
    look = board.look(1)
    assert look is not None
    assert (look.rivals, look.beaten, look.of) == ((0,), 1, 2)


def test_the_rivals_are_chosen_by_the_first_block_alone():
    board = RaceBoard(plan(replicas=6, racing=Racing(0.5, 2)))
    board.note(0, [0.2, 0.2, 0.0, 0.0])
    board.note(1, [0.1, 0.2, 9.0, 9.0])
    board.note(2, [0.5, 0.5, 0.5, 0.5])
    look = board.look(2)
    assert look is not None
    assert (look.rivals, look.beaten) == ((1,), 0)


def test_who_has_the_better_mean_does_not_lose_by_ranks():
    """Its rival is a little better nine times in ten and far off once: the mean says which one to take."""
    steady, wild = [0.2] * 10, [0.1] * 9 + [9.0]
    assert raced(np.array([wild[::-1], steady]), Racing(0.3, 1))[1] == 10
    assert (
        raced(np.array([wild[::-1], steady]), Racing(0.3, 1), objectives=(Objective("valid/error", reduce="median"),))[
            1
        ]
        < 10
    )


def test_a_forgotten_trial_is_nobodys_rival():
    board = RaceBoard(plan(replicas=6, racing=Racing(0.5, 1)))
    board.note(0, [0.0, 0.0])
    board.note(1, [1.0, 1.0])
    board.forget(0)
    assert board.look(1) is None
    assert (board.known(0), board.known(1)) == (0, 2)


def refused(seeds: str = "shared", scheduled: bool = False, **changes: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        check_racing(plan(**{"replicas": 5, "racing": Racing(0.1, 2), **changes}), seeds, scheduled=scheduled)
    return caught.value


def test_what_cannot_be_raced_is_refused():
    assert refused("independent").key == "seeds"
    assert "scheduler=none" in str(refused(scheduled=True))
    assert refused(objectives=(Objective("valid/error"), Objective("valid/loss"))).key == "racing.level"
    assert refused(objectives=(Objective("valid/error", reduce="best"),)).key == "objective.reduce"
    few = refused(replicas=4)
    assert (few.key, few.value) == ("replicas", 4)
    assert "5 or more" in str(few)
    check_racing(plan(replicas=5, racing=Racing(0.1, 2)), "shared", scheduled=False)
    check_racing(plan(replicas=1), "independent", scheduled=True)


def test_a_race_that_nobody_can_lose_is_told():
    def why(trials: int | None, level: float, replicas: int = 5) -> str | None:
        return idle_racing(plan(trials, replicas=replicas, racing=Racing(level, 2)))

    assert why(1, 0.1) == "one trial has no rivals"
    assert why(5, 0.1) == "the last of 5 trials has 1 rival, whom 2 replicas are compared with: least p 0.25, limit 0.1"
    assert why(5, 0.25) is None
    assert why(9, 0.12) is None  # two rivals: 3^-2
    assert why(None, 0.001) is None
    assert idle_racing(plan(1)) is None


def test_updates_stay_as_they_are_on_resume():
    with pytest.raises(ConfigError, match=r"budget\.updates=200: cannot be changed with racing\.level"):
        check_raised(Budget(1, 100), Budget(1, 200), Racing(0.1))
    check_raised(Budget(1, 100), Budget(2, 100), Racing(0.1))
    check_raised(Budget(1, 100), Budget(1, 200))


def test_a_config_without_the_block_has_no_races():
    assert racing_of(None) is None
    assert racing_of({"level": None, "block": 3}) is None
    assert racing_of({"level": 0.1, "block": 3}) == Racing(0.1, 3)
