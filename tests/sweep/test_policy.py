"""Rules of failures as data."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.sweep.policy import halves, lost_for_good, repeated_bug, signature


@given(st.lists(st.integers(0, 99), min_size=1, unique=True), st.integers(-1, 9))
def test_suspects_are_split_in_two_and_into_parts_that_fit(trials: list[int], most: int) -> None:
    parts = halves(trials, most)
    assert [trial for part in parts for trial in part] == trials
    assert all(1 <= len(part) <= min(max(1, most), math.ceil(len(trials) / 2)) for part in parts)


def test_the_same_bug_has_one_signature_whatever_its_numbers_and_names() -> None:
    one = "File 'a.py', line 3\nIndexError: index -3 is out of bounds for axis 0 at 0x7fab"
    other = "File 'b.py', line 14\nIndexError: index 1e3 is out of bounds for axis 0 at 0x10"
    assert signature(one, "") == signature(other, "")
    assert signature("", "index 3 is out") != signature("", "index 3 is in")
    assert signature("  \n", "reason 1") == signature("", "reason 2")


def test_reasons_that_people_read() -> None:
    assert lost_for_good(1, "lost: w").endswith("failed alone once, no retries left")
    assert lost_for_good(4, "lost: w").endswith("failed alone 4 times, no retries left")
    assert repeated_bug([1, 4, 7], "ValueError: x", "") == "bug: the same error on trials 1, 4, 7: ValueError: x"
    assert repeated_bug([1], "ValueError: x", "Traceback\n  here\n").endswith("ValueError: x\nTraceback\n  here")
