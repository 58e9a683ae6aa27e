"""Rows of several sweeps in one worker: each is what it is alone, to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.app.worker.factory import trainer_factory, trainer_settings
from rnnsweep.app.worker.settings import TrainerSettings
from rnnsweep.app.worker.trainer import PackTrainer
from rnnsweep.core.training import train_rung
from rnnsweep.sweep.pooled_rows import CLOSED, STORE, WHOLE, by_sweep, widened_orders
from rnnsweep.sweep.rows import Opening, Orders, RowReport, RowSpec, Withdrawal

SMALL = [
    *("task.length=12", "family.hidden=6", "training.batch=4", "training.eval_size=20", "training.report_every=5"),
    *("training.stop_solved=false", "engine=cpu", "+controllers=omega"),
]
SWEEPS: Mapping[int, list[str]] = {
    1: ["seed=1"],
    2: ["seed=2", "seeds=independent"],
    3: ["seed=3", "training.report_every=3", "training.eval_every=2"],
    4: ["seed=1", "family.hidden=9"],
}
"""The first two share packs."""


def settings_of(root: Path, number: int) -> TrainerSettings:
    overrides = [*SMALL, f"name=s{number}", *SWEEPS[number]]
    return trainer_settings(load(None, overrides, store=root, check_units=False))


def worker(root: Path) -> PackTrainer:
    return trainer_factory(load(None, SMALL, store=root / "base", check_units=False))("w0", 1)


def rows(number: int) -> tuple[RowSpec, ...]:
    weights = (0.0, 1.0, 3.0)
    return tuple(
        RowSpec(trial, replica, f"{number}", {"controllers.omega.weight": weights[trial]}, 20)
        for trial in range(3)
        for replica in range(2)
    )


def opened(root: Path, number: int, weight: float = 1.0) -> Orders:
    return widened_orders(number, Orders(join=rows(number)), Opening(settings_of(root, number), weight))


def finish(trainer: PackTrainer, orders: Orders) -> dict[int, list[RowReport]]:
    reports: list[RowReport] = []
    while not orders.empty or trainer.rows:
        found, failures = trainer.advance(orders)
        assert not failures
        reports += found
        orders = Orders()
    return by_sweep(reports)


def numbers(reports: list[RowReport]) -> dict[tuple[int, int, int], tuple[object, ...]]:
    found = {(r.trial, r.replica, r.rung): (r.step, dict(r.metrics), r.state) for r in reports}
    assert len(found) == len(reports), "no rung twice"
    return found


def test_sweeps_that_share_a_worker_train_as_each_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    monkeypatch.setattr(
        "rnnsweep.app.worker.trainer.train_rung",
        lambda pack, *rest: widths.append(len(pack)) or train_rung(pack, *rest),
    )
    together = Orders()
    for number in SWEEPS:
        together = together.merged(opened(tmp_path / "together", number, weight=number))
    shared = finish(worker(tmp_path), together)
    assert max(widths) == 12, "rows of one shape key are one pack, whoever they belong to"
    for number in SWEEPS:
        alone = finish(worker(tmp_path), opened(tmp_path / f"alone{number}", number))
        assert numbers(shared[number]) == numbers(alone[number])
        config = load(None, [*SMALL, *SWEEPS[number]], store=tmp_path / f"own{number}", check_units=False)
        own = finish(trainer_factory(config)("w0", 1), Orders(join=rows(number)))
        assert numbers(own[0]) == numbers(alone[number]), "and as in a worker that was built for it"


def test_a_row_goes_on_in_another_pool_from_the_checkpoint_of_the_first(tmp_path: Path) -> None:
    whole = finish(worker(tmp_path), opened(tmp_path / "a", 1))[1]
    first = worker(tmp_path)
    orders = opened(tmp_path / "b", 1).merged(opened(tmp_path / "b", 2))
    before = by_sweep(first.advance(orders)[0])[1]
    again = tuple(RowSpec(s.trial, s.replica, "new", s.params, 20, restore=("1",)) for s in rows(1))
    opening = Opening(settings_of(tmp_path / "b", 1))
    after = finish(worker(tmp_path), widened_orders(7, Orders(join=again), opening))[7]
    assert {r.trial for r in after} == {0, 1, 2}, "numbers within the sweep, whatever it is in the pool"
    assert numbers(before).items() <= numbers(after).items(), "reports that nobody acknowledged are repeated"
    assert numbers(after) == numbers(whole)


def test_a_full_store_costs_the_sweep_whose_it_is_the_worker_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = worker(tmp_path)
    trainer.advance(opened(tmp_path, 1).merged(opened(tmp_path, 2)))

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer.sweeps[2].store._store, "save", full)
    trainer.sweeps[2].store.patience = 0.1
    reports, failures = trainer.advance(Orders())
    assert set(by_sweep(reports)) == {1}
    assert [(n, f.kind, f.replica) for n, fs in by_sweep(failures).items() for f in fs] == [(2, STORE, WHOLE)]
    assert "No space left" in failures[0].reason
    assert numbers(finish(trainer, Orders())[1])[0, 0, 4][0] == 20


def test_a_bug_in_a_shared_pack_blames_nobody_and_then_the_guilty_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guilty = {row.token for row in rows(2)}

    def broken(pack, *rest):
        if any(trainer.rows[member.name].spec.token in guilty for member in pack.members):
            raise ValueError("told to fail")
        return train_rung(pack, *rest)

    trainer = worker(tmp_path)
    monkeypatch.setattr("rnnsweep.app.worker.trainer.train_rung", broken)
    reports, failures = trainer.advance(opened(tmp_path, 1).merged(opened(tmp_path, 2)))
    assert reports == []
    assert {failure.shared for failure in failures} == {True}
    assert set(by_sweep(failures)) == {1, 2}
    reports, failures = trainer.advance(opened(tmp_path, 1).merged(opened(tmp_path, 2)))
    while not failures:  # a turn may be over after the first pack
        more, failures = trainer.advance(Orders())
        reports += more
    assert set(by_sweep(reports)) == {1}
    assert set(by_sweep(failures)) == {2}
    assert {failure.shared for failure in failures} == {False}


def test_a_sweep_that_leaves_says_so_and_the_others_go_on(tmp_path: Path) -> None:
    trainer = worker(tmp_path)
    trainer.advance(opened(tmp_path, 1).merged(opened(tmp_path, 2)))
    gone = Orders(leave=tuple(Withdrawal(row.trial, row.replica, row.token) for row in rows(2)))
    reports, failures = trainer.advance(widened_orders(2, gone).merged(Orders(close=(2,))))
    assert set(by_sweep(reports)) == {1}
    assert [(n, f.kind) for n, fs in by_sweep(failures).items() for f in fs] == [(2, CLOSED)]
    assert 2 not in trainer.sweeps
    # what comes too late for it is nobody's
    late, failures = trainer.advance(widened_orders(2, Orders(join=rows(2))))
    assert set(by_sweep(late)) == {1}
    assert failures == []
