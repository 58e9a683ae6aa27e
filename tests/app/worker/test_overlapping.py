"""Checkpoints that are written while the next rung trains: the same reports, never before them."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rnnsweep.app.worker.trainer import PackTrainer
from rnnsweep.core.training import train_rung
from rnnsweep.errors import StoreError
from rnnsweep.sweep.rows import Orders, Source, Withdrawal
from rnnsweep.sweep.states import RowState
from tests.app.worker.test_trainer import numbers, run, spec, trainer

ROWS = (spec(0), spec(1, family__hidden=12), spec(2, controllers__omega__weight=2.0))


def overlapping(tmp_path: Path, *overrides: str) -> PackTrainer:
    worker = trainer(tmp_path, *overrides)
    worker.overlaps = True
    return worker


def held(worker: PackTrainer, monkeypatch, begun: threading.Event, free: threading.Event) -> None:
    """Let checkpoints be written only once `free` is set."""
    save = worker.store._store.save

    def slowly(*args) -> None:
        begun.set()
        assert free.wait(60)
        save(*args)

    monkeypatch.setattr(worker.store._store, "save", slowly)


def test_the_same_reports_as_one_after_the_other(tmp_path):
    plain = run(trainer(tmp_path / "a"), Orders(join=ROWS))
    worker = overlapping(tmp_path / "b")
    found, calls = list(worker.advance(Orders(join=ROWS))[0]), 1
    while len(found) < len(plain):
        found += worker.advance(Orders())[0]
        calls += 1
    assert calls == 5  # rungs, and one call more
    for trial in range(3):
        assert numbers(found, trial) == numbers(plain, trial)
    assert [r.state for r in found if r.rung == 4] == [RowState.DONE] * 3
    assert not worker.rows


def test_spectra_are_found_while_the_next_rung_trains_and_are_those_of_the_rung_before(tmp_path, monkeypatch):
    plain = run(trainer(tmp_path / "a"), Orders(join=(spec(0),)))
    free, eigvals = threading.Event(), torch.linalg.eigvals

    def slowly(matrix):
        assert free.wait(60)
        return eigvals(matrix)

    worker = overlapping(tmp_path / "b")
    monkeypatch.setattr(torch.linalg, "eigvals", slowly)
    assert worker.advance(Orders(join=(spec(0),))) == ([], [])  # nobody has waited for them
    trained = train_rung

    def then_free(*args):
        found = trained(*args)
        free.set()
        return found

    monkeypatch.setattr("rnnsweep.app.worker.trainer.train_rung", then_free)
    reports, failures = worker.advance(Orders())
    assert failures == []
    assert numbers(reports, 0) == numbers(plain, 0)[:1]
    saved = worker.store.newest([worker.store.folder(0, 0, "0001")], 1)
    assert saved is not None
    assert saved.extra["reports"][0]["metrics"] == dict(plain[0].metrics)


def test_what_decides_on_a_row_is_waited_for(tmp_path):
    patient = ("budget.patience=1", "objective.metric=weights/rho")
    plain = run(trainer(tmp_path / "a", *patient), Orders(join=(spec(0),)))
    worker = overlapping(tmp_path / "b", *patient)
    found = run(worker, Orders(join=(spec(0),))) + worker.settle()[0]
    assert numbers(found, 0) == numbers(plain, 0)


def test_a_fault_in_what_is_found_late_fails_the_rows_of_its_pack(tmp_path, monkeypatch):
    def broken(matrix):
        raise ValueError("on purpose")

    worker = overlapping(tmp_path)
    worker.advance(Orders(join=(spec(1, family__hidden=12),)))
    worker.settle()
    monkeypatch.setattr(torch.linalg, "eigvals", broken)
    worker.advance(Orders(join=(spec(0),)))
    reports, failures = worker.settle()
    assert reports == []
    assert {(f.trial, f.kind) for f in failures} <= {(0, "bug"), (1, "bug")}
    assert worker.rows == {}


def test_nothing_is_reported_before_its_checkpoint_is_there(tmp_path, monkeypatch):
    worker, begun, free = overlapping(tmp_path), threading.Event(), threading.Event()
    held(worker, monkeypatch, begun, free)
    assert worker.advance(Orders(join=(spec(0),))) == ([], [])
    assert begun.wait(60)
    assert worker.store.rungs(worker.store.folder(0, 0, "0001")) == []
    threading.Timer(0.2, free.set).start()
    reports, failures = worker.advance(Orders())
    assert [r.rung for r in reports] == [1]
    assert failures == []
    assert 1 in worker.store.rungs(worker.store.folder(0, 0, "0001"))


def test_settling_reports_what_was_trained_last(tmp_path):
    worker = overlapping(tmp_path)
    worker.advance(Orders(join=(spec(0),)))
    reports, failures = worker.settle()
    assert ([r.rung for r in reports], failures) == ([1], [])
    assert worker.settle() == ([], [])
    later = run(worker, Orders()) + worker.settle()[0]
    assert [r.rung for r in later] == [2, 3, 4]


def test_a_withdrawn_row_keeps_no_checkpoint_that_was_still_being_written(tmp_path, monkeypatch):
    worker, begun, free = overlapping(tmp_path), threading.Event(), threading.Event()
    worker.advance(Orders(join=(spec(0), spec(1))))
    worker.settle()
    held(worker, monkeypatch, begun, free)
    worker.advance(Orders())
    threading.Timer(0.2, free.set).start()
    worker.advance(Orders(leave=(Withdrawal(0, 0, "0001", keep_rung=1),)))
    assert worker.store.rungs(worker.store.folder(0, 0, "0001")) == [1]


def test_whoever_goes_on_from_a_checkpoint_waits_until_it_is_written(tmp_path, monkeypatch):
    expected = run(trainer(tmp_path / "a"), Orders(join=(spec(0),)))
    worker, begun, free = overlapping(tmp_path / "b"), threading.Event(), threading.Event()
    held(worker, monkeypatch, begun, free)
    worker.advance(Orders(join=(spec(0),)))
    threading.Timer(0.2, free.set).start()
    again = Orders(join=(spec(0, "0002", restore=("0001",)),), leave=(Withdrawal(0, 0, "0001"),))
    found = run(worker, again) + worker.settle()[0]
    assert numbers([r for r in found if r.token == "0002"], 0) == numbers(expected, 0)


def test_a_state_that_is_taken_over_is_waited_for(tmp_path, monkeypatch):
    worker, begun, free = overlapping(tmp_path), threading.Event(), threading.Event()
    held(worker, monkeypatch, begun, free)
    worker.advance(Orders(join=(spec(0),)))
    threading.Timer(0.2, free.set).start()
    taker = replace(spec(1), source=Source(0, 0, ("0001",), 1))
    _, failures = worker.advance(Orders(join=(taker,)))
    assert failures == []
    assert worker.rows[1, 0].rung == 2


def test_a_full_disk_ends_the_worker_at_the_next_call(tmp_path, monkeypatch):
    worker = overlapping(tmp_path)
    worker.store.patience = 0.0
    worker.advance(Orders(join=(spec(0), spec(1))))
    for row in worker.rows:
        worker._writers.wait(row)

    def full(*args) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker.store._store, "save", full)
    assert [r.rung for r in worker.advance(Orders())[0]] == [1, 1]
    with pytest.raises(StoreError, match="No space left"):
        worker.advance(Orders())


def test_what_restored_rows_repeat_does_not_go_out_before_the_store_has_taken_something(tmp_path, monkeypatch):
    """A driver ends a sweep when worker after worker is lost to its store, and each report says that it works again."""
    trainer(tmp_path).advance(Orders(join=(spec(0),)))
    worker = overlapping(tmp_path)
    worker.store.patience = 0.0

    def full(*args) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker.store._store, "save", full)
    with pytest.raises(StoreError, match="No space left"):
        worker.advance(Orders(join=(spec(0, "0002", restore=("0001",)),)))


def test_closing_lets_what_is_being_written_end(tmp_path):
    worker = overlapping(tmp_path)
    worker.advance(Orders(join=(spec(0),)))
    worker.close()
    assert trainer(tmp_path).store.rungs(worker.store.folder(0, 0, "0001")) == [1]
