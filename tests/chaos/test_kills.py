"""A handful of random kills on a real cluster; `benchmarks/chaos.py` does hundreds."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import TRIALS
from tests.chaos.havoc import Havoc
from tests.chaos.nodes import Nodes
from tests.chaos.sweeps import Record, Store, check_same, check_whole

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

KILLS = 4


def test_random_kills_of_workers_raylets_and_drivers_change_nothing(store: Store, undisturbed: Record) -> None:
    store.environment["RNNSWEEP_REST"] = "0.1"
    nodes = Nodes(2, store.variables())
    try:
        nodes.start()
        weights = {"worker": 5, "raylet": 1, "driver": 1, "truncated checkpoint": 1}
        havoc = Havoc(store, nodes, seed=4, most=KILLS, weights=weights)
        assert havoc.run() == 0, store.output()
    finally:
        nodes.stop()
    assert sum(havoc.done.values()) >= KILLS
    check_same(check_whole(store, TRIALS, havoc.done["truncated checkpoint"]), undisturbed)
