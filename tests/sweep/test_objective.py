from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.budget import Spent, change, reached
from rnnsweep.sweep.objective import Curve, reduced, rung_history, rung_metrics, trial_solved_at
from rnnsweep.sweep.plan import Budget, Objective
from rnnsweep.sweep.policy import halves, signature
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import RowState, TrialState
from rnnsweep.sweep.summary import best, pareto, ranked
from tests.kit.plans import plan

ERROR = "valid/error"


def report(replica: int, rung: int, value: float | None, state: RowState = RowState.ACTIVE, solved: int | None = None):
    metrics = {} if value is None else {ERROR: value}
    return RowReport(0, replica, "t", rung, 10 * rung, metrics, state, solved)


def curves(objective: Objective, *rows: list[RowReport]) -> list[Curve]:
    made = []
    for reports in rows:
        curve = Curve()
        for one in reports:
            curve.take(one, plan(objectives=(objective,)))
        made.append(curve)
    return made


def value(objective: Objective, *rows: list[RowReport], **changes) -> float:
    return reduced(plan(objectives=(objective,), replicas=len(rows), **changes), curves(objective, *rows), 40)[0]


THREE = ([report(0, 1, 0.9), report(0, 2, 0.3)], [report(1, 1, 0.1), report(1, 2, 0.6)], [report(2, 1, 0.2)])


@pytest.mark.parametrize(
    ("take", "reduce", "goal", "expected"),
    [
        ("last", "mean", "minimize", (0.3 + 0.6 + 0.2) / 3),
        ("last", "median", "minimize", 0.3),
        ("last", "best", "minimize", 0.2),
        ("last", "best", "maximize", 0.6),
        ("best", "mean", "minimize", (0.3 + 0.1 + 0.2) / 3),
        ("best", "mean", "maximize", (0.9 + 0.6 + 0.2) / 3),
        ("best", "median", "maximize", 0.6),
    ],
)
def test_take_and_reduce(take: str, reduce: str, goal: str, expected: float) -> None:
    assert value(Objective(ERROR, goal, take, reduce), *THREE) == pytest.approx(expected, rel=1e-15)


def test_a_diverged_replica_scores_the_worst_even_where_its_best_was_good() -> None:
    gone = [report(0, 1, 0.0), report(0, 2, None, RowState.DIVERGED)]
    fine = [report(1, 1, 0.5), report(1, 2, 0.5)]
    assert value(Objective(ERROR, take="best", worst=0.9), gone, fine) == pytest.approx(0.7)
    assert value(Objective(ERROR, worst=0.9), gone, fine, worst={ERROR: 1.0}) == pytest.approx(0.75)


def test_a_solved_replica_keeps_its_last_value() -> None:
    solved = [report(0, 1, 0.0, RowState.SOLVED, 10)]
    going = [report(1, 1, 0.8), report(1, 2, 0.4)]
    assert value(Objective(ERROR), solved, going) == pytest.approx(0.2)


def test_solved_at_is_censored_at_the_budget() -> None:
    rows = ([report(0, 1, 0.0, RowState.SOLVED, 10)], [report(1, 4, 0.5, RowState.DONE)], THREE[0])
    assert value(Objective("solved_at"), *rows) == pytest.approx((10 + 40 + 40) / 3)
    assert value(Objective("solved_at", reduce="median"), *rows) == 40.0
    assert value(Objective("solved_at", reduce="solved_share", goal="maximize"), *rows) == pytest.approx(1 / 3)
    left = [report(0, 1, 0.0, RowState.ACTIVE, 10), replace(report(0, 2, None, RowState.DIVERGED), solved_at=10)]
    assert value(Objective("solved_at"), left) == 40.0


def test_the_median_of_solved_at_is_the_one_that_tables_show() -> None:
    """Solved at 10 and 20 of 40, two never: half had by 20; (20 + 40) / 2 is a time at which nothing happened."""
    rows = [[report(0, 1, 0.0, RowState.SOLVED, step)] for step in (10, 20)]
    rows += [[report(0, 4, 0.5, RowState.DONE)]] * 2
    objective = Objective("solved_at", reduce="median")
    assert value(objective, *rows) == trial_solved_at(curves(objective, *rows)) == 20
    assert value(objective, *rows[1:]) == 40.0


def test_trial_level_solved_at_is_the_lower_median_and_needs_half() -> None:
    def solved(*steps: int | None) -> int | None:
        return trial_solved_at(curves(Objective(ERROR), *([report(0, 1, 0.0, solved=step)] for step in steps)))

    assert solved(30, 10, 20) == 20
    assert solved(30, None, 20) == 30
    assert solved(None, None, 20) is None
    assert solved(None, 20) == 20
    assert solved(None, None, 30, 20) == 30
    assert solved(None) is None


@given(
    st.lists(st.lists(st.floats(), min_size=0, max_size=3), min_size=1, max_size=4),
    st.sampled_from(["mean", "median", "best", "solved_share"]),
    st.sampled_from(["last", "best"]),
    st.sampled_from(["minimize", "maximize"]),
)
def test_the_objective_is_finite_whatever_workers_report(rows, reduce, take, goal) -> None:
    reports = [[report(r, n + 1, v) for n, v in enumerate(values)] for r, values in enumerate(rows)]
    assert math.isfinite(value(Objective(ERROR, goal, take, reduce), *reports))


def test_rung_metrics_are_means_with_worst_for_diverged_and_an_objective() -> None:
    objective = Objective(ERROR)
    made = curves(objective, [report(0, 1, 0.2, solved=7)], [report(1, 1, 0.4), report(1, 2, None, RowState.DIVERGED)])
    sweep = plan(objectives=(objective,), worst={ERROR: 1.0})
    assert rung_metrics(sweep, made, (0.6,)) == {ERROR: pytest.approx(0.6), "solved_at": 7.0, "objective": 0.6}


def test_history_counts_rungs_that_all_replicas_have_and_that_say_something_new() -> None:
    reports = [report(0, 1, None), report(1, 1, None), report(0, 2, 0.4), report(1, 2, 0.2), report(0, 3, 0.1)]
    assert rung_history(plan(), reports, 40) == [(20, pytest.approx(0.3), (0.4, 0.2))]
    ended = [*reports[:4], report(0, 3, 0.0, RowState.SOLVED), report(1, 3, 0.2), report(1, 4, 0.6, RowState.DONE)]
    assert rung_history(plan(), ended, 40)[1:] == [(30, 0.1, (0.0, 0.2)), (40, 0.3, (0.0, 0.6))]


def test_budget_limits() -> None:
    lower, higher = Objective(ERROR), Objective(ERROR, "maximize")
    assert reached(Budget(1, 1), lower, Spent(1e9, 1e9, 10**9), -1e9) is None
    assert reached(Budget(1, 1, wall_s=5), lower, Spent(wall_s=4.9), None) is None
    assert reached(Budget(1, 1, wall_s=5), lower, Spent(wall_s=5.0), None) == "budget.wall_s=5 reached"
    assert reached(Budget(1, 1, device_s=5), lower, Spent(device_s=6.0), None) == "budget.device_s=5 reached"
    assert reached(Budget(1, 1, target=0.5), lower, Spent(), 0.6) is None
    assert reached(Budget(1, 1, target=0.5), higher, Spent(), 0.6) == "budget.target=0.5 reached"
    assert change(Budget(1, 1), {"trials": 3}).trials == 3
    with pytest.raises(ConfigError, match="Did you mean 'wall_s'"):
        change(Budget(1, 1), {"walls": 3})
    with pytest.raises(ConfigError, match="by resume only"):
        change(Budget(1, 1), {"updates": 3})


@given(st.integers(1, 40), st.integers(1, 40))
def test_bisection_splits_until_single_and_loses_nobody(count: int, most: int) -> None:
    parts, rounds = [list(range(count))], 0
    while any(len(part) > 1 for part in parts):
        parts = [piece for part in parts for piece in halves(part, most)]
        assert all(len(part) <= most for part in parts)
        rounds += 1
    assert sorted(number for part in parts for number in part) == list(range(count))
    assert rounds <= math.ceil(math.log2(count)) if count > 1 else rounds == 0


def test_signatures_ignore_what_differs_between_rows() -> None:
    one = "File 'a.py', line 3\nValueError: shape 3 x 4 at 0x7f31"
    assert signature(one, "") == signature(one.replace("3 x 4 at 0x7f31", "12 x 4.5 at 0x9"), "")
    assert signature(one, "") != signature("KeyError: 'x'", "")


def test_best_ranked_and_pareto() -> None:
    complete, pruned = TrialState.COMPLETE, TrialState.PRUNED
    points = [(2.0, 1.0), (1.0, 2.0), (1.0, 3.0), (0.0, 9.0)]
    views = [TrialView(n, complete if n < 3 else pruned, {}, values) for n, values in enumerate(points)]
    two = (Objective("a"), Objective("b", "maximize"))
    assert [view.number for view in ranked(views, two)] == [1, 2, 0]
    assert [view.number for view in ranked(views, two, 1)] == [2, 1, 0]
    assert best(views, two) is views[1]
    assert best([], two) is None
    assert [view.number for view in pareto(views, two)] == [2]
