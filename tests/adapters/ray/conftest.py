"""A Ray cluster of several nodes on this machine, and what the tests ask of it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.nodes import patiently

os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")
KIT = Path(__file__).parents[2] / "contract" / "executor_kit"
sys.path.insert(0, str(KIT))

HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 8,  # fewer, and a busy machine loses healthy nodes
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without room for workers and two nodes with two cores each, the driver connected to the head."""
    import ray
    from ray.cluster_utils import Cluster

    made = patiently(lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": HEALTH}))
    ray.init(address=made.address, log_to_driver=False, logging_level="error")
    made.first = [patiently(lambda: made.add_node(num_cpus=2)) for _ in range(2)]
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def started(cluster: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start executors on the cluster; they are stopped at the end."""
    from counting_trainer import factory

    from rnnsweep.adapters.ray.cluster import RaySettings
    from rnnsweep.adapters.ray.executor import RayExecutor

    made: list[RayExecutor] = []

    def start(trainers: Any = None, **settings: Any) -> RayExecutor:
        settings.setdefault("py_paths", (str(KIT),))
        made.append(RayExecutor(trainers or factory(str(tmp_path / "trace")), RaySettings(**settings)))
        made[-1].start()
        return made[-1]

    yield start
    for executor in made:
        executor.stop(graceful=False)


@pytest.fixture
def watch() -> Any:
    """Ways of waiting for events."""
    from rnnsweep.sweep.ports import RungTrained, WorkerJoined, WorkerLost

    def until(executor: Any, done: Callable[[list], bool], seconds: float = 120.0) -> list:
        events: list = []
        end = time.monotonic() + seconds
        while not done(events):
            assert time.monotonic() < end, events
            events += executor.poll(0.2)
        return events

    def joined(events: list) -> list:
        return [e.info for e in events if isinstance(e, WorkerJoined)]

    def lost(events: list) -> list:
        return [e for e in events if isinstance(e, WorkerLost)]

    def reports(events: list) -> list:
        return [r for e in events if isinstance(e, RungTrained) for r in e.reports]

    def workers(executor: Any, count: int) -> list:
        """Exactly `count` workers and no other event."""
        events = until(executor, lambda found: len(found) >= count)
        assert len(joined(events)) == count == len(events), events
        return joined(events)

    return SimpleNamespace(until=until, joined=joined, lost=lost, reports=reports, workers=workers)
