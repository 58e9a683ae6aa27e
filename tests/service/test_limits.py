"""Bounds on what one caller may have."""

from __future__ import annotations

import pytest

from rnnsweep.service.limits import Buckets, Limits, Streams
from rnnsweep.service.problems import RefusedError


def test_a_bucket_empties_and_fills_and_is_one_callers_own():
    clock = [0.0]
    buckets = Buckets(2.0, 4.0, lambda: clock[0])
    assert [buckets.wait("ada") for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 0.5]
    assert buckets.wait("bob") == 0.0
    clock[0] = 0.5
    assert [buckets.wait("ada") for _ in range(2)] == [0.0, 0.5]
    clock[0] = 100.0
    assert [buckets.wait("ada") for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 0.5]


def test_names_do_not_fill_the_memory():
    buckets = Buckets(1.0, 1.0, lambda: 0.0)
    for index in range(Buckets.KEPT + 500):
        buckets.wait(f"name{index}")
    assert len(buckets._levels) == Buckets.KEPT


def test_streams_are_counted_by_user_and_in_all():
    streams = Streams(Limits(streams=2, all_streams=3))
    first, _ = streams.take("ada"), streams.take("ada")
    with pytest.raises(RefusedError, match="too many event streams"):
        streams.take("ada")
    streams.take("bob")
    with pytest.raises(RefusedError):
        streams.take("eve")
    first()
    streams.take("eve")
