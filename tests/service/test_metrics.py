"""Metrics as a scraper reads them: from a real ledger, with a front that is made up."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.app.stores import StorePlace, place
from rnnsweep.service.front import PoolWorker, QueuedSweep, QueueState
from rnnsweep.service.metrics import metrics_router, metrics_text
from rnnsweep.sweep.ports import PutRung, PutSweep, PutTrial, SweepView, TrialView
from rnnsweep.sweep.states import SweepState, TrialState

NAME = 'odd"\\name'


class MadeUpFront:
    """Two sweeps in the queue, one worker."""

    def __init__(self, where: StorePlace) -> None:
        self.place = where
        self.config_dirs = ()

    def queue(self) -> list[QueuedSweep]:
        return [QueuedSweep("a", QueueState.RUNNING, weight=2.0), QueuedSweep("b", QueueState.ENDED)]

    def workers(self) -> list[PoolWorker]:
        return [PoolWorker("w0", "node", "gpu:0", 8, {"a": 3, NAME: 5}, 0.75)]


def samples(front) -> dict:
    families = text_string_to_metric_families(metrics_text(front).decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


@pytest.fixture
def front(tmp_path: Path) -> MadeUpFront:
    where = place(tmp_path / "store")
    ledger = open_ledger(where.ledger)
    for name, updates in (("a", 1200), (NAME, 7)):
        view = SweepView(name, SweepState.RUNNING, {}, updates=updates, device_s=2.5, wall_s=4.0)
        ledger.create(view)
        fence = ledger.acquire(name, "test", 0.0)
        states = (TrialState.COMPLETE, TrialState.COMPLETE, TrialState.RUNNING)
        puts = [PutTrial(TrialView(number, state, {})) for number, state in enumerate(states)]
        ledger.commit(name, fence, [PutSweep(view), *puts, PutRung(2, 1, 10, {}, (0.5,))])
        ledger.release(name, fence)
    first = ledger.changes("a", 0)[1].seq
    ledger.set_cursor("a", "csv", first)
    ledger.set_cursor("a", "mlflow", ledger.changes("a", 0)[-1].seq)
    ledger.post("a", "stop")
    ledger.close()
    return MadeUpFront(where)


def test_everything_is_there(front):
    found = samples(front)
    worker = (("device", "gpu:0"), ("node", "node"), ("worker", "w0"))
    assert found["rnnsweep_store_up", ()] == 1
    assert found["rnnsweep_queue_sweeps", (("state", "running"),)] == 1
    assert found["rnnsweep_queue_sweeps", (("state", "queued"),)] == 0
    assert found["rnnsweep_queue_weight", (("sweep", "a"),)] == 2
    assert found["rnnsweep_worker_slots", worker] == 8 and found["rnnsweep_worker_busy_ratio", worker] == 0.75
    assert found["rnnsweep_worker_rows", tuple(sorted([*worker, ("sweep", NAME)]))] == 5
    for state, count in {"complete": 2, "running": 1, "failed": 0, "pruned": 0, "waiting": 0}.items():
        assert found["rnnsweep_trials", (("state", state), ("sweep", "a"))] == count
    assert found["rnnsweep_sweep_state", (("state", "running"), ("sweep", "a"))] == 1
    assert found["rnnsweep_sweep_state", (("state", "complete"), ("sweep", "a"))] == 0
    assert found["rnnsweep_updates_total", (("sweep", "a"),)] == 1200
    assert found["rnnsweep_device_seconds_total", (("sweep", NAME),)] == 2.5


def test_the_lag_of_mirrors_is_of_their_own_sweep(front):
    found = samples(front)
    # five entries: the sweep, three trials, a rung; csv has two of them
    assert found["rnnsweep_mirror_lag_entries", (("mirror", "csv"), ("sweep", "a"))] == 3
    assert found["rnnsweep_mirror_lag_entries", (("mirror", "mlflow"), ("sweep", "a"))] == 0
    assert found["rnnsweep_requests_waiting", (("sweep", "a"),)] == 1
    assert found["rnnsweep_requests_waiting", (("sweep", NAME),)] == 0


def test_a_store_that_is_away_or_not_there_yet_is_a_metric(front, tmp_path):
    Path(tmp_path / "store" / "ledger.db").write_text("no database at all, and long enough to be looked at")
    for side in ("-wal", "-shm"):
        Path(tmp_path / "store" / f"ledger.db{side}").unlink(missing_ok=True)
    found = samples(front)
    assert found["rnnsweep_store_up", ()] == 0
    assert ("rnnsweep_updates_total", (("sweep", "a"),)) not in found
    assert found["rnnsweep_queue_sweeps", (("state", "running"),)] == 1
    assert samples(MadeUpFront(place(tmp_path / "none")))["rnnsweep_store_up", ()] == 1
    assert not (tmp_path / "none").exists()


def test_the_route_answers_a_scrape(front):
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    app = FastAPI()
    app.include_router(metrics_router(front))
    answer = TestClient(app).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert answer.content == metrics_text(front)
