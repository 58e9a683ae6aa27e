"""Limits: which one ends a sweep, and which can be changed."""

from __future__ import annotations

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.budget import Spent, better, change, check_raised, reached
from rnnsweep.sweep.plan import Budget, Objective

LEAST, MOST = Objective("valid/error"), Objective("valid/share", goal="maximize")


@pytest.mark.parametrize(
    ("budget", "spent", "best", "reason"),
    [
        (Budget(3, 10), Spent(1e9, 1e9, 10**9), 0.0, None),  # no limit but trials, which the machine counts
        (Budget(3, 10, wall_s=5.0), Spent(wall_s=4.9), None, None),
        (Budget(3, 10, wall_s=5.0), Spent(wall_s=5.0), None, "budget.wall_s=5 reached"),
        (Budget(3, 10, device_s=2.5), Spent(device_s=2.5), None, "budget.device_s=2.5 reached"),
        (Budget(3, 10, target=0.1), Spent(), None, None),
        (Budget(3, 10, target=0.1), Spent(), 0.2, None),
        (Budget(3, 10, target=0.1), Spent(), 0.1, "budget.target=0.1 reached"),
        (Budget(3, 10, target=0.1), Spent(), 0.05, "budget.target=0.1 reached"),
    ],
)
def test_the_limit_that_is_reached_is_named(budget, spent, best, reason) -> None:
    assert reached(budget, LEAST, spent, best) == reason


def test_a_target_of_a_maximised_objective_is_reached_from_below() -> None:
    budget = Budget(3, 10, target=0.9)
    assert reached(budget, MOST, Spent(), 0.89) is None
    assert reached(budget, MOST, Spent(), 0.91) == "budget.target=0.9 reached"


def test_better_is_strict() -> None:
    assert better(LEAST, 1.0, 2.0)
    assert better(MOST, 2.0, 1.0)
    assert not better(LEAST, 1.0, 1.0)
    assert not better(MOST, 1.0, 1.0)


def test_limits_change_while_the_sweep_runs_but_updates_do_not() -> None:
    assert change(Budget(3, 10), {"trials": 5, "target": None}) == Budget(5, 10)
    with pytest.raises(ConfigError, match="resume only"):
        change(Budget(3, 10), {"updates": 20})
    with pytest.raises(ConfigError, match="Did you mean 'trials'"):
        change(Budget(3, 10), {"trails": 20})


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        (Budget(8, 10), Budget(7, 10), "8 or more"),
        (Budget(8, 10), Budget(8, 9), "10 or more"),
        (Budget(None, 10), Budget(8, 10), "null"),
        (Budget(8, 10, wall_s=5.5), Budget(8, 10, wall_s=5.0), "5.5 or more"),
        (Budget(8, 10), Budget(8, 10, device_s=5.0), "null"),
    ],
)
def test_a_smaller_budget_is_refused(before: Budget, after: Budget, allowed: str) -> None:
    with pytest.raises(ConfigError, match=f"may be raised, nothing else; allowed: {allowed}"):
        check_raised(before, after)


def test_a_raised_budget_and_any_target_is_fine() -> None:
    check_raised(Budget(8, 10, wall_s=5.0, target=0.1), Budget(None, 20, wall_s=None, target=0.2))
    check_raised(Budget(8, 10), Budget(8, 10, target=0.1))
