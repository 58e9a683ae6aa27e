"""What Prometheus scrapes: queue, workers, and all sweeps as the store has them.

    scrape ─► metrics_text ─► Front: queue, workers
                        └──► ledger: states of trials, updates, device time, lag of mirrors

Everything is counted at the moment of the scrape; rates are for Prometheus: ``rate(rnnsweep_updates_total[1m])`` is
updates per second, and the rate of device seconds over its sum is a sweep's share of the devices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from rnnsweep.errors import StoreError
from rnnsweep.service.front import Front, QueueState
from rnnsweep.sweep.states import SweepState

if TYPE_CHECKING:
    from fastapi import APIRouter
    from prometheus_client import Metric

    from rnnsweep.adapters.ledger.standing import SweepStanding

PATH = "/metrics"


def metrics_text(front: Front) -> bytes:
    """The metrics in Prometheus' text format. A store that is away is a metric too, not an error."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Metrics(front))
    return generate_latest(registry)


def metrics_router(front: Front) -> APIRouter:
    """A route that answers scrapes; who may ask is for the application that includes it."""
    from fastapi import APIRouter, Response

    router = APIRouter()

    # no coroutine: the ledger is read, which would stop all other requests meanwhile
    @router.get(PATH, include_in_schema=False)
    def metrics() -> Response:
        return Response(metrics_text(front), media_type=CONTENT_TYPE_LATEST)

    return router


class _Metrics(Collector):
    """One look at the service."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        yield from self._queue()
        yield from self._workers()
        try:
            standings, up = self._standings(), 1.0
        except StoreError:
            standings, up = [], 0.0
        yield GaugeMetricFamily("rnnsweep_store_up", "Whether the ledger could be read", value=up)
        yield from _sweeps(standings)
        yield from _lags(standings)

    def _standings(self) -> list[SweepStanding]:
        place = self._front.place
        if not place.exists:
            return []
        from contextlib import closing

        from rnnsweep.adapters.ledger.sql_ledger import open_ledger
        from rnnsweep.adapters.ledger.standing import standings

        with closing(open_ledger(place.ledger, create=False)) as ledger:
            return standings(ledger)

    def _queue(self) -> Iterator[Metric]:
        queue = self._front.queue()
        counts = Counter(line.state for line in queue)
        sweeps = GaugeMetricFamily("rnnsweep_queue_sweeps", "Sweeps of the queue by state", labels=["state"])
        for state in QueueState:
            sweeps.add_metric([state.value.lower()], counts[state])
        weight = GaugeMetricFamily(
            "rnnsweep_queue_weight", "Weight of a sweep that is queued or runs", labels=["sweep"]
        )
        for line in queue:
            if line.state in (QueueState.QUEUED, QueueState.RUNNING):
                weight.add_metric([line.name], line.weight)
        yield from (sweeps, weight)

    def _workers(self) -> Iterator[Metric]:
        names = ["worker", "node", "device"]
        slots = GaugeMetricFamily("rnnsweep_worker_slots", "Rows that a worker can train at once", labels=names)
        busy = GaugeMetricFamily(
            "rnnsweep_worker_busy_ratio", "Share of the last minute in which a worker trained", labels=names
        )
        rows = GaugeMetricFamily("rnnsweep_worker_rows", "Rows in training", labels=[*names, "sweep"])
        for worker in self._front.workers():
            labels = [worker.worker, worker.node, worker.device]
            slots.add_metric(labels, worker.slots)
            busy.add_metric(labels, worker.busy)
            for sweep, count in worker.rows.items():
                rows.add_metric([*labels, sweep], count)
        yield from (slots, busy, rows)


def _sweeps(standings: list[SweepStanding]) -> Iterator[Metric]:
    name = ["sweep"]
    trials = GaugeMetricFamily("rnnsweep_trials", "Trials by state", labels=["sweep", "state"])
    state = GaugeMetricFamily("rnnsweep_sweep_state", "1 for the state that a sweep is in", labels=["sweep", "state"])
    updates = CounterMetricFamily("rnnsweep_updates", "Row-updates done", labels=name)
    device = CounterMetricFamily("rnnsweep_device_seconds", "Device time used", labels=name)
    wall = CounterMetricFamily("rnnsweep_wall_seconds", "Wall time of all sessions", labels=name)
    for one in standings:
        view = one.view
        for which, count in one.trials.items():
            trials.add_metric([view.name, which.value.lower()], count)
        for which in SweepState:
            state.add_metric([view.name, which.value.lower()], float(view.state is which))
        updates.add_metric([view.name], view.updates)
        device.add_metric([view.name], view.device_s)
        wall.add_metric([view.name], view.wall_s)
    yield from (trials, state, updates, device, wall)


def _lags(standings: list[SweepStanding]) -> Iterator[Metric]:
    behind = GaugeMetricFamily(
        "rnnsweep_mirror_lag_entries", "Journal entries that a mirror has not written", labels=["sweep", "mirror"]
    )
    requests = GaugeMetricFamily("rnnsweep_requests_waiting", "Requests that no driver has taken", labels=["sweep"])
    for one in standings:
        for mirror, count in one.behind.items():
            behind.add_metric([one.view.name, mirror], count)
        requests.add_metric([one.view.name], one.requests)
    yield from (behind, requests)
