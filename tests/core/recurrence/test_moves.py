"""Copies and fills in vectors touch what they are told, and nothing beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnnsweep.core.recurrence.cpu import host
from rnnsweep.core.recurrence.cpu.compiling import part
from rnnsweep.core.recurrence.cpu.emit.vectors import Ahead, Blank, Move, blank, fetch_ahead, move

pytestmark = pytest.mark.skipif(host.VECTOR_BYTES == 0, reason="this CPU has no vectors with fused multiply-add")


@part
def moved(zero: Any, target: int, source: int, count: int) -> None:
    move(zero, Move(target=target, source=source, count=count))


@part
def blanked(zero: Any, target: int, count: int) -> None:
    blank(zero, Blank(target=target, count=count))


@part
def fetched(zero: Any, address: int, count: int) -> None:
    fetch_ahead(zero, Ahead(address=address, count=count, write=0))
    fetch_ahead(zero, Ahead(address=address, count=count, write=1))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_every_count_at_every_place(kind: Any) -> None:
    """Also counts below 0, differences of sizes that are not there: none, not as many as an unsigned number means."""
    source = np.arange(1, 101, dtype=kind)
    for count in (*range(-3, 40), 64, 77):
        for first in (0, 3):
            place, own = first * source.itemsize, max(count, 0)
            target = np.full(100, -1, dtype=kind)
            moved(kind(0), target.ctypes.data + place, source.ctypes.data, count)
            want = np.full(100, -1, dtype=kind)
            want[first : first + own] = source[:own]
            np.testing.assert_array_equal(target, want)
            blanked(kind(0), target.ctypes.data + place, count)
            want[first : first + own] = 0
            np.testing.assert_array_equal(target, want)


def test_fetching_ahead_changes_nothing_wherever_it_points() -> None:
    x = np.arange(64, dtype=np.float32)
    for address in (x.ctypes.data, 0, -64, 1 << 60):
        for count in (-5, 0, 1, 64):
            fetched(np.float32(0), address, count)
    np.testing.assert_array_equal(x, np.arange(64, dtype=np.float32))
