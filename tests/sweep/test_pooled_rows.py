"""Numbers of trials in a pool, and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.sweep.pooled_rows import widened_orders
from rnnsweep.sweep.rows import (
    Opening,
    Orders,
    RowReport,
    RowSpec,
    Source,
    Withdrawal,
    narrowed,
    owner_of,
    wide,
    widened,
)

SWEEPS, TRIALS = st.integers(0, 1 << 20), st.integers(0, (1 << 32) - 1)


@given(SWEEPS, TRIALS)
def test_there_and_back(sweep: int, trial: int) -> None:
    assert owner_of(wide(sweep, trial)) == (sweep, trial)
    report = RowReport(trial, 1, "t", 2, 20, {})
    assert narrowed(widened(sweep, report)) == (sweep, report)


def test_a_sweep_that_is_alone_keeps_its_numbers_and_its_very_objects() -> None:
    spec = RowSpec(3, 0, "t", {}, 10)
    assert widened(0, spec) is spec
    assert narrowed(spec)[1] is spec


def test_orders_of_two_sweeps_are_one_message_of_strangers() -> None:
    spec = RowSpec(3, 0, "t", {}, 10)
    one = widened_orders(1, Orders(join=(spec,), decided={(3, 0): 4}), Opening("a"))
    two = widened_orders(2, Orders(leave=(Withdrawal(3, 0, "t"),), decided={(3, 0): 5}), Opening("b"))
    both = one.merged(two)
    assert len(both.join) == len(both.leave) == 1, "one sweep's withdrawal takes no other's row back"
    assert sorted(both.decided.values()) == [4, 5]
    assert set(both.open) == {1, 2}


def test_a_state_goes_over_within_one_sweep() -> None:
    spec = RowSpec(3, 0, "t", {}, 10, source=Source(4, 0, ("s",), 2))
    taken = widened_orders(5, Orders(take=(spec,))).take
    assert narrowed(taken[0]) == (5, spec)  # the source keeps its number within the sweep
