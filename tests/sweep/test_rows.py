"""What a worker holds, as orders and reports say it."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.sweep.rows import ActiveRows, Orders, RowFailure, RowReport, RowSpec, Withdrawal
from rnnsweep.sweep.states import RowState

OLD, NEW = RowSpec(0, 0, "old", {}, 10), RowSpec(0, 0, "new", {}, 10)


def test_a_row_withdrawn_before_it_was_handed_over_is_in_no_order() -> None:
    both = Orders(join=(OLD,)).merged(Orders(leave=(Withdrawal(0, 0, "old"),), join=(NEW,)))
    assert both == Orders(join=(NEW,))
    kept = Orders(leave=(Withdrawal(0, 0, "old", 3),)).merged(Orders(join=(NEW,)))
    assert kept == Orders(leave=(Withdrawal(0, 0, "old", 3),), join=(NEW,))


def test_what_is_to_be_taken_over_is_revoked_by_a_withdrawal_of_its_token_alone() -> None:
    told = Orders(take=(NEW,))
    assert not told.empty
    assert told.merged(Orders(leave=(Withdrawal(0, 0, "old"),))).take == (NEW,)
    assert told.merged(Orders(leave=(Withdrawal(0, 0, "new"),))).take == ()
    assert told.merged(Orders(take=(OLD,))).take == (NEW, OLD)


@given(st.lists(st.dictionaries(st.tuples(st.integers(0, 2), st.just(0)), st.integers(0, 9)), max_size=4))
def test_what_is_acknowledged_only_grows_in_whatever_order_messages_come(messages: list[dict]) -> None:
    forward = backward = Orders()
    for message in messages:
        forward = forward.merged(Orders(acknowledged=message, decided=message))
    for message in reversed(messages):
        backward = backward.merged(Orders(acknowledged=message, decided=message))
    largest = {row: max(m[row] for m in messages if row in m) for m in messages for row in m}
    assert forward.acknowledged == backward.acknowledged == forward.decided == largest


orders = st.builds(
    Orders,
    join=st.lists(
        st.builds(RowSpec, st.integers(0, 2), st.just(0), st.sampled_from("ab"), st.just({}), st.just(9))
    ).map(lambda specs: tuple({spec.key: spec for spec in specs}.values())),
    leave=st.lists(st.builds(Withdrawal, st.integers(0, 2), st.just(0), st.sampled_from("ab"))).map(tuple),
)


@given(orders, orders)
def test_merged_orders_leave_the_same_rows_as_both_in_turn(first: Orders, second: Orders) -> None:
    one, both = ActiveRows(), ActiveRows()
    one.obey(first)
    one.obey(second)
    both.obey(first.merged(second))
    assert len(one) == len(both)


def report(state: RowState, step: int, token: str = "new") -> RowReport:
    return RowReport(0, 0, token, 1, step, {}, state)


@pytest.mark.parametrize(
    ("state", "step", "ends"),
    [
        (RowState.ACTIVE, 10, False),
        (RowState.DONE, 10, True),
        (RowState.DONE, 5, False),  # an old report of a row whose updates were raised
        (RowState.SOLVED, 5, True),
        (RowState.DIVERGED, 5, True),
    ],
)
def test_a_row_ends_with_its_own_last_update(state: RowState, step: int, ends: bool) -> None:
    assert NEW.ends_with(report(state, step)) is ends
    rows = ActiveRows()
    rows.obey(Orders(join=(NEW,)))
    rows.settle([report(state, step)], [])
    assert len(rows) == (0 if ends else 1)


def test_messages_of_another_attempt_change_nothing() -> None:
    rows = ActiveRows()
    rows.obey(Orders(join=(NEW,)))
    rows.settle([report(RowState.DONE, 10, "old")], [RowFailure(0, 0, "old", "bug", "x")])
    rows.obey(Orders(leave=(Withdrawal(0, 0, "old"),)))
    assert len(rows) == 1
    rows.settle([], [RowFailure(0, 0, "new", "bug", "x")])
    assert len(rows) == 0


def test_orders_are_empty_only_where_nothing_is_said_and_survive_pickling() -> None:
    said = [Orders(join=(NEW,)), Orders(leave=(Withdrawal(0, 0, "x"),)), Orders(decided={(0, 0): 1})]
    assert Orders().empty
    assert not any(message.empty for message in said)
    assert [pickle.loads(pickle.dumps(message)) for message in said] == said
    assert replace(NEW, trial=3).row == (3, 0)
