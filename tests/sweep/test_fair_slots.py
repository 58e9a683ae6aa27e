"""Who may have how many rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.sweep.fair_slots import Claim, Limits, fair_slots


def total(slots: dict[str, dict[int, int]], number: int) -> int:
    return sum(here[number] for here in slots.values())


def test_by_weight_over_all_workers() -> None:
    slots = fair_slots({"a": 60, "b": 60}, [Claim(1, weight=1), Claim(2, weight=2), Claim(3, weight=3)])
    assert [total(slots, number) for number in (1, 2, 3)] == [20, 40, 60]


def test_what_rounding_costs_on_one_worker_is_made_good_on_the_next() -> None:
    weights = (1, 1, 2, 1, 3, 1, 2, 1, 1, 2)
    claims = [Claim(index, replicas=1 + index % 2, weight=weight) for index, weight in enumerate(weights)]
    for workers, within in ((1, 0.07), (2, 0.07), (4, 0.02)):
        slots = fair_slots({f"w{index}": 128 for index in range(workers)}, claims)
        for index, weight in enumerate(weights):
            fair = 128 * workers * weight / sum(weights)
            assert abs(total(slots, index) / fair - 1) < within


def test_what_a_small_sweep_cannot_use_goes_to_the_others() -> None:
    slots = fair_slots({"a": 20, "b": 20}, [Claim(1, rows=4), Claim(2)])
    assert [total(slots, number) for number in (1, 2)] == [4, 36]


def test_a_higher_priority_takes_all_that_it_can_use() -> None:
    slots = fair_slots({"a": 8}, [Claim(1), Claim(2, rows=100, priority=1), Claim(3, priority=-1)])
    assert slots == {"a": {1: 0, 2: 8, 3: 0}}


def test_whole_trials_unless_not_one_fits() -> None:
    assert fair_slots({"a": 8}, [Claim(1, replicas=3), Claim(2, replicas=3)]) == {"a": {1: 3, 2: 3}}
    assert fair_slots({"a": 2, "b": 2}, [Claim(1, replicas=3)]) == {"a": {1: 2}, "b": {1: 2}}


def test_limits_of_a_sweep_and_of_a_user_hold_in_the_whole_pool() -> None:
    claims = [Claim(1, user="ada"), Claim(2, user="ada"), Claim(3, user="bob")]
    slots = fair_slots({"a": 30, "b": 30}, claims, Limits(user=20))
    assert total(slots, 1) + total(slots, 2) == 20
    assert total(slots, 3) == 20
    slots = fair_slots({"a": 30, "b": 30}, claims, Limits(sweep=10))
    assert [total(slots, number) for number in (1, 2, 3)] == [10, 10, 10]


def test_a_barred_worker_is_the_others() -> None:
    slots = fair_slots({"a": 6, "b": 6}, [Claim(1, barred=frozenset("a")), Claim(2)])
    assert slots["a"] == {1: 0, 2: 6}
    assert slots["b"][1] == 3


CLAIMS = st.builds(
    Claim,
    st.just(0),
    st.none() | st.integers(0, 50),
    st.integers(1, 4),
    st.floats(0.1, 10),
    st.integers(0, 2),
    st.sampled_from(["", "ada", "bob"]),
)


@given(st.lists(CLAIMS, max_size=6), st.lists(st.integers(1, 40), max_size=4), st.none() | st.integers(1, 30))
def test_no_worker_is_overfull_and_no_limit_exceeded(claims: list[Claim], rooms: list[int], user: int | None) -> None:
    from dataclasses import replace

    claims = [replace(claim, number=number) for number, claim in enumerate(claims)]
    workers = {f"w{number}": room for number, room in enumerate(rooms)}
    slots = fair_slots(workers, claims, Limits(user=user))
    assert all(sum(slots[worker].values()) <= room for worker, room in workers.items())
    for name in ("", "ada", "bob"):
        used = sum(total(slots, claim.number) for claim in claims if claim.user == name) if workers else 0
        assert user is None or used <= user
