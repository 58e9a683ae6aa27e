"""Several sweeps through one service: each is what it is alone, however often the service ends."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from rnnsweep.app import api
from rnnsweep.app.config.load import plan_of
from rnnsweep.app.stores import StorePlace, place
from rnnsweep.service.desk import Desk
from rnnsweep.service.front import QueueState
from rnnsweep.service.service import Rules, ServiceRunningError
from rnnsweep.sweep.ports import PutSweep
from rnnsweep.sweep.states import SweepState
from tests.chaos.sweeps import Record, check_same, record_of
from tests.service.conftest import LONG, SMALL, ended, serving, state, submission, trained, until


def alone(root: Path, name: str, *more: str) -> Record:
    api.launch("search", [f"name={name}", *SMALL, *more, "cluster=inline"], store=root, progress=False)
    desk = Desk(place(root))
    try:
        return record_of(desk.ledger, name)
    finally:
        desk.close()


def test_sweeps_of_one_service_have_the_tables_that_they_have_alone(
    where: StorePlace, desk: Desk, tmp_path: Path
) -> None:
    kinds = {"a": ["seed=1"], "b": ["seed=2", "replicas=1"], "c": ["seed=3", "training.report_every=7"]}
    for name, more in kinds.items():
        desk.submit(submission(name, *more, weight=2.0 if name == "b" else 1.0))
    with serving(where) as service:
        until(lambda: bool(service.workers()))
        until(ended(desk, *kinds))
        assert [worker.slots for worker in service.workers()] == [16]
    for name, more in kinds.items():
        check_same(record_of(desk.ledger, name), alone(tmp_path / "alone", name, *more))


@pytest.mark.slow
def test_a_service_that_ends_leaves_its_sweeps_to_the_next(where: StorePlace, desk: Desk, tmp_path: Path) -> None:
    more = ["budget.updates=600", "seed=4"]
    desk.submit(submission("a", *more))
    with serving(where):
        until(trained(desk, "a"))
        began = time.monotonic()
    assert time.monotonic() - began < 10
    view = desk.ledger.sweep("a")
    assert view is not None
    assert view.state is SweepState.INTERRUPTED
    assert state(desk, "a") is QueueState.RUNNING, "it is to go on"
    with serving(where):
        until(ended(desk, "a"))
    check_same(record_of(desk.ledger, "a"), alone(tmp_path / "alone", "a", *more))


@pytest.mark.slow
def test_stop_pause_and_resume_reach_a_running_sweep(
    where: StorePlace, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    desk.submit(submission("a", LONG))
    desk.submit(submission("b", LONG))
    with serving(where):
        until(trained(desk, "a"))
        until(trained(desk, "b"))
        desk.pause("a", "for lunch")
        desk.stop("b", "for good")
        until(ended(desk, "b"))
        until(lambda: state(desk, "a") is QueueState.PAUSED)
        reasons = {one.name: one.reason for one in desk.queue()}
        assert "for lunch" in reasons["a"]
        assert "for good" in reasons["b"]
        until(lambda: "sweep 'a' is PAUSED" in caplog.text and "sweep 'b' is ENDED" in caplog.text)
        before = len(desk.ledger.reports("a"))
        desk.resume("a")
        until(lambda: len(desk.ledger.reports("a")) > before)
        assert state(desk, "a") is QueueState.RUNNING
        with pytest.raises(Exception, match="runs already"):
            desk.resume("a")
        desk.stop("a", "enough")
        desk.resume("a", ["budget.trials=1077"])  # before its driver has heard, or while it brings mirrors up to date
        until(lambda: (view := desk.ledger.sweep("a")) is not None and plan_of(view).budget.trials == 1077)
        before = len(desk.ledger.reports("a"))
        until(lambda: len(desk.ledger.reports("a")) > before)
        assert state(desk, "a") is QueueState.RUNNING
        desk.stop("a", "enough")
        until(ended(desk, "a"))


def test_only_so_many_run_at_once_the_higher_priority_first(where: StorePlace, desk: Desk) -> None:
    desk.submit(submission("a", LONG))
    desk.submit(submission("b", LONG, priority=1))
    with serving(where, Rules(sweeps=1)):
        until(trained(desk, "b"))
        until(lambda: bool(desk.queue()[0].reason))
        assert state(desk, "a") is QueueState.QUEUED
        assert desk.queue()[0].reason == "waits: 1 sweeps run at once"
        desk.stop("b", "enough")
        until(trained(desk, "a"))
        desk.stop("a", "enough")
        until(ended(desk, "a", "b"))


def test_a_second_service_is_refused(where: StorePlace, desk: Desk) -> None:
    with serving(where) as first:
        until(lambda: first.pool.use() != ())
        with pytest.raises(ServiceRunningError, match="has a service already"), serving(where):
            time.sleep(1.0)


def test_a_sweep_that_cannot_start_says_why_and_the_others_run(where: StorePlace, desk: Desk) -> None:
    desk.submit(submission("a"))
    desk.submit(submission("b"))
    view = desk.ledger.sweep("a")
    assert view is not None
    record = view.config["provenance"]
    other = {**record["fingerprints"][0], "code": "0000"}
    changed = {**view.config, "provenance": {**record, "fingerprints": [other]}}
    fence = desk.ledger.acquire("a", "test", 8.0)
    desk.ledger.commit("a", fence, [PutSweep(replace(view, config=changed))])
    desk.ledger.release("a", fence)
    with serving(where):
        until(ended(desk, "a", "b"))
    reasons = {one.name: one.reason for one in desk.queue()}
    assert "has changed" in reasons["a"]
    assert reasons["b"].startswith("COMPLETE")
