"""What lives in a worker process, called without one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest
from ray import cloudpickle

from rnnsweep.adapters.ray import worker as module
from rnnsweep.adapters.ray.worker import WorkerActor, WorkerSpec, prepare_process
from rnnsweep.sweep.rows import Orders, RowSpec, Withdrawal
from tests.kit.trainer import SimTrainer


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment and the import path of the test's own process come back."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(module, "_end_with_parent", lambda parent: None)


def actor(trainers: list[SimTrainer] | None = None) -> WorkerActor:
    made = WorkerActor(WorkerSpec("w1", "node:1", 2, 0))

    def build(worker: str, cores: int) -> SimTrainer:
        trainer = SimTrainer(worker, {})
        if trainers is not None:
            trainers.append(trainer)
        return trainer

    made._trainer = build("w1", 2)
    return made


@pytest.mark.parametrize(("gpus", "visible"), [(0, ""), (1, "3")])
def test_a_worker_without_gpus_sees_none_and_numba_takes_all_its_cores(
    gpus: int, visible: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = "3"
    monkeypatch.setattr(sys, "path", ["/known", "/other"])
    prepare_process(WorkerSpec("w", "n", 4, gpus, ("/first", "/known")))
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    assert [os.environ[name] for name in names] == ["1", "4", visible]
    assert sys.path == ["/first", "/known", "/other"]  # what is there already is not put in front again


def test_news_are_what_the_caller_does_not_know_yet_with_the_rung_that_they_are_of() -> None:
    made = WorkerActor(WorkerSpec("w1", "node:1", 2, 0))
    made.build(cloudpickle.dumps(lambda worker, cores: SimTrainer(worker, {})))
    assert made._trainer is not None
    made._trainer.tell(True, 0)
    assert made.news((False, 0, 0)) == (True, 0, 0)
    made.advance(Orders())
    made._trainer.tell(False, 7)
    assert made.news((True, 0, 0)) == (False, 1, 7)


def test_a_worker_says_who_it_is_and_where_it_stands() -> None:
    made = WorkerActor(WorkerSpec("w1", "node:1", 2, 0))
    pid, born = made.hello()
    assert pid == os.getpid()
    assert born == psutil.Process().create_time()
    info = made.build(cloudpickle.dumps(lambda worker, cores: SimTrainer(worker, {}, slots=cores)))
    assert (info.worker, info.node, info.slots) == ("w1", "node:1", 2)
    made.ping()


def test_what_goes_wrong_before_it_is_known_what_to_train_is_left_to_who_needs_it(tmp_path: Path) -> None:
    made = WorkerActor(WorkerSpec("w1", "node:1", 2, 0))
    made.prepare(cloudpickle.dumps((tmp_path / "here").touch))
    assert (tmp_path / "here").exists()

    def fail() -> None:
        raise ImportError("no such library")

    made.prepare(cloudpickle.dumps(fail))
    made.prepare(b"no pickle")
    assert made.build(cloudpickle.dumps(lambda worker, cores: SimTrainer(worker, {}))).worker == "w1"


def test_once_halted_no_rung_begins() -> None:
    trainers: list[SimTrainer] = []
    made = actor(trainers)
    reports, _ = made.advance(Orders(join=(RowSpec(0, 0, "t", {"x": 0.5}, 30),)))
    assert [report.rung for report in reports] == [1]
    made.halt()
    assert made.advance(Orders()) == ([], [])
    assert trainers[0].trained == [(0, 0, 1)]


def test_once_halted_what_was_still_being_saved_is_reported(monkeypatch) -> None:
    trainers: list[SimTrainer] = []
    made = actor(trainers)
    reports, _ = made.advance(Orders(join=(RowSpec(0, 0, "t", {"x": 0.5}, 30),)))
    monkeypatch.setattr(trainers[0], "settle", lambda: (reports, []))
    honest = trainers[0].advance

    def halted_meanwhile(orders: Orders):
        made.halt()
        return honest(orders)

    monkeypatch.setattr(trainers[0], "advance", halted_meanwhile)
    assert [report.rung for report in made.advance(Orders())[0]] == [2, 1]
    assert made.advance(Orders()) == (reports, [])


def test_closing_obeys_the_last_withdrawals() -> None:
    trainers: list[SimTrainer] = []
    made = actor(trainers)
    made.advance(Orders(join=(RowSpec(0, 0, "t", {"x": 0.5}, 30),)))
    made.halt()
    made.close(Orders(leave=(Withdrawal(0, 0, "t"),)))
    assert trainers[0].rows == {}
    WorkerActor(WorkerSpec("w2", "n", 1, 0)).close(Orders())  # never built: nothing to free
