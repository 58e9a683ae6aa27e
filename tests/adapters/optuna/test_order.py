"""A sorted list that is kept up to date: always what sorting anew would give."""

from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.adapters.optuna.order import Order


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40))
def test_it_is_what_sorting_gives(steps):
    order, items = Order(), set()
    for add, item in steps:
        if add and item not in items:
            order.add(item)
            items.add(item)
        elif not add:
            order.drop(item)  # nothing happens where it is not in
            items.discard(item)
    plain = sorted(items)
    assert (list(order), list(reversed(order)), len(order)) == (plain, plain[::-1], len(plain))
    for count in (-1, 0, 1, 3, 99):
        assert list(order.first(count)) == plain[: max(0, count)]
        assert list(order.last(count)) == plain[len(plain) - min(max(0, count), len(plain)) :]
    assert order.below(5) == sum(item < 5 for item in plain)
