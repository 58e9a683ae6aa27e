"""Where a rung takes long it is said how far it is, at a bounded pace; where it does not, nothing is."""

from __future__ import annotations

import io

import pytest

from rnnsweep.app import live_training
from rnnsweep.app.live_training import LiveTraining


@pytest.fixture
def clock(monkeypatch):
    """Time that stands until it is moved."""
    now = [100.0]
    monkeypatch.setattr(live_training.time, "monotonic", lambda: now[0])
    return now


def trained(live: LiveTraining, clock: list[float], updates: int, each: float, begin: int = 0) -> None:
    for update in range(begin + 1, begin + updates + 1):
        clock[0] += each
        live.within(update, begin + 200)


def test_a_quick_rung_says_nothing(clock):
    stream = io.StringIO()
    live = LiveTraining(stream)
    trained(live, clock, 200, 0.02)
    live.rung()
    assert stream.getvalue() == ""


def test_a_slow_one_says_how_far_it_is_and_what_an_update_takes(clock):
    """The first update's time, a compilation perhaps, is no part of that: 0.5 s, whatever the first one took."""
    stream = io.StringIO()
    live = LiveTraining(stream)
    clock[0] += 4.0
    trained(live, clock, 100, 0.5)
    assert stream.getvalue().splitlines() == [
        "update 2, next report at 200 · 0.5 s per update · 1:39 to go",
        "update 62, next report at 200 · 0.5 s per update · 1:09 to go",
    ]


def test_on_a_terminal_one_line_moves_and_goes_before_a_report(clock):
    stream = io.StringIO()
    live = LiveTraining(stream, width=40)
    trained(live, clock, 20, 0.5)
    lines = stream.getvalue().split("\r\x1b[K")
    assert max(map(len, lines)) < 40
    assert lines[-1].startswith("update 20, next report at 200")
    live.rung()
    assert stream.getvalue().endswith("\r\x1b[K")
