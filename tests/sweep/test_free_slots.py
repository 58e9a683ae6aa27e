"""Which worker is the emptiest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.sweep.free_slots import FreeSlots


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 4), st.integers(1, 5)), max_size=300))
def test_free_slots_equal_a_look_at_every_worker(changes: list[tuple[int, int, int]]) -> None:
    slots, plain = FreeSlots(), dict[int, tuple[int, int]]()
    for worker, free, rows in changes:
        if free < 0:
            slots.forget(f"w{worker}")
            plain.pop(worker, None)
        else:
            slots.set(f"w{worker}", free, max(free, 2 * worker + 4), worker)
            plain[worker] = free, max(free, 2 * worker + 4)
        room = [one for one in plain if plain[one][0]]
        emptiest = min(room, key=lambda w: (1 - plain[w][0] / plain[w][1], -plain[w][1], w), default=None)
        if emptiest is not None and plain[emptiest][0] < rows:
            emptiest = min(room, key=lambda w: (-plain[w][0], w))
        assert slots.total == sum(free for free, _ in plain.values())
        assert slots.emptiest(rows) == (None if emptiest is None else f"w{emptiest}")


def test_of_two_processors_the_one_with_more_memory_is_not_filled_first() -> None:
    slots, held = FreeSlots(), {"large": 0, "small": 0}
    most = {"large": 400, "small": 350}
    for _ in range(8):
        for order, name in enumerate(most):
            slots.set(name, most[name] - held[name], most[name], order)
        name = slots.emptiest(10)
        assert name is not None
        held[name] += 10
    assert held == {"large": 40, "small": 40}
