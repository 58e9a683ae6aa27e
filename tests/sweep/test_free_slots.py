"""Who is to get rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.sweep.free_slots import FreeSlots, Room


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 4), st.integers(0, 3), st.integers(1, 5)), max_size=300))
def test_free_slots_equal_a_look_at_every_worker(changes: list[tuple[int, int, int, int]]) -> None:
    slots, plain = FreeSlots(), dict[int, Room]()
    for worker, free, held, rows in changes:
        if free < 0:
            slots.forget(f"w{worker}")
            plain.pop(worker, None)
        else:
            plain[worker] = Room(free, held, 1 + worker % 3, worker)
            slots.set(f"w{worker}", plain[worker])
        rooms = [room for room in plain.values() if room.free]
        load = lambda room: ((room.rows + 1) / room.at_once, -room.free, room.order)  # noqa: E731
        emptiest = min(rooms, key=load, default=None)
        if emptiest is not None and emptiest.free < rows:
            emptiest = min(rooms, key=lambda room: (-room.free, room.order))
        idle = min(
            (room for room in rooms if not room.rows), key=lambda r: (-r.at_once, -r.free, r.order), default=None
        )
        assert slots.total == sum(room.free for room in plain.values())
        assert slots.emptiest(rows) == (None if emptiest is None else f"w{emptiest.order}")
        assert slots.idle() == (None if idle is None else f"w{idle.order}")


def placed(rows: int, trials: int, **workers: tuple[int, int]) -> dict[str, int]:
    """Rows by worker, whose slots and speed are given, after so many trials."""
    slots, held = FreeSlots(), dict.fromkeys(workers, 0)
    for _ in range(trials):
        for order, (name, (most, at_once)) in enumerate(workers.items()):
            slots.set(name, Room(most - held[name], held[name], at_once, order))
        name = slots.emptiest(rows)
        assert name is not None
        held[name] += rows
    return held


def test_of_two_processors_the_one_with_more_memory_is_not_filled_first() -> None:
    assert placed(10, 8, large=(400, 1), small=(350, 1)) == {"large": 40, "small": 40}


def test_a_gpu_is_given_rows_until_it_would_take_as_long_as_a_core() -> None:
    assert placed(10, 13, core=(400, 1), gpu=(4000, 132)) == {"core": 0, "gpu": 130}
    assert placed(10, 16, core=(400, 1), gpu=(4000, 132)) == {"core": 10, "gpu": 150}
