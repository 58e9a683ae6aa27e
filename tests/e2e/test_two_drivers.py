"""Two drivers, one sweep: refused, taken over, fenced; and how fast a killed sweep trains again."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.chaos.conftest import UNMIRRORED
from tests.chaos.sweeps import Store, check_same, check_whole, freeze, kill, record, status

pytestmark = [pytest.mark.slow, pytest.mark.chaos]
TRIALS = 3
OPTIONS = ("sampler=random", f"budget.trials={TRIALS}", "budget.updates=300")
RESTING = {"RNNSWEEP_REST": "1"}
"""A sweep of 30 s at least: it is still training when a second command has started, however busy the machine."""


def test_a_driver_that_wakes_after_a_takeover_writes_nothing_more(tmp_path: Path) -> None:
    """SIGSTOP for longer than the lock's deadline; the second takes over, the first wakes up and ends with 4."""
    store = Store(tmp_path / "s", OPTIONS, environment=dict(RESTING))
    first = store.launch("cluster=inline", *UNMIRRORED)
    assert store.await_rungs(20, first), store.output()
    refused = store.resume()
    assert store.finish(refused) == 4, store.output()
    freeze(store, first)
    store.environment.clear()  # the second need not last
    second = store.resume()
    try:
        assert store.await_rungs(10, second), store.output()
        first.send_signal(signal.SIGCONT)
        assert store.finish(first, 180) == 4, store.output()
        assert store.finish(second) == 0, store.output()
    finally:
        for process in (first, second):
            process.send_signal(signal.SIGCONT)
            kill(process)
    found = record(store)
    calm = Store(tmp_path / "calm", OPTIONS)
    assert calm.finish(calm.launch("cluster=inline", *UNMIRRORED)) == 0, calm.output()
    check_same(found, check_whole(calm, TRIALS))


def test_after_kill_9_of_everything_training_goes_on_within_seconds(tmp_path: Path, capsys) -> None:
    """From the command to the first rung begun; 10 s on an idle machine, three times that where it is shared."""
    store = Store(tmp_path / "s", OPTIONS, environment=dict(RESTING))
    first = store.launch("cluster=inline")
    assert store.await_rungs(20, first), store.output()
    kill(first)
    assert status(store)["state"] == "INTERRUPTED"
    began = time.monotonic()
    again = store.resume()
    try:
        assert store.await_rungs(1, again), store.output()
        seconds = time.monotonic() - began
    finally:
        kill(again)
    with capsys.disabled():
        print(f"\nfrom resume to training: {seconds:.1f} s")
    assert seconds < 30.0
