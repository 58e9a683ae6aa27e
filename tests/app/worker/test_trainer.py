"""The worker's trainer: grouping by shape key, reports, checkpoints, restoring, failures, withdrawals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rnnsweep.app.config.load import load
from rnnsweep.app.worker.factory import trainer_factory
from rnnsweep.app.worker.trainer import PackTrainer
from rnnsweep.errors import StoreError
from rnnsweep.sweep.rows import Orders, RowSpec, Withdrawal
from rnnsweep.sweep.states import RowState

SMALL = [
    "task.length=10",
    "family.hidden=8",
    "training.batch=4",
    "training.report_every=5",
    "training.eval_size=8",
    "training.stop_solved=false",
    "budget.updates=20",
    "controllers=[clip,omega]",
]


def trainer(tmp_path: Path, *overrides: str) -> PackTrainer:
    config = load(None, ["name=t", "space={}", *SMALL, *overrides], store=tmp_path, check_units=False)
    return trainer_factory(config)("w0", 1)


def spec(trial: int, token: str = "0001", updates: int = 20, restore: tuple[str, ...] = (), **params) -> RowSpec:
    return RowSpec(trial, 0, token, {key.replace("__", "."): v for key, v in params.items()}, updates, restore)


def run(worker: PackTrainer, orders: Orders, rungs: int = 99) -> list:
    reports, failures = worker.advance(orders)
    assert failures == []
    found = list(reports)
    while worker.rows and len({r.rung for r in found}) < rungs:
        found += worker.advance(Orders())[0]
    return found


def numbers(reports: list, trial: int) -> list:
    return [(r.rung, r.step, dict(r.metrics), r.state, r.solved_at) for r in reports if r.trial == trial]


def test_rows_of_several_shape_keys_train_in_one_worker_as_alone(tmp_path):
    together = run(
        trainer(tmp_path / "a"),
        Orders(
            join=(
                spec(0),
                spec(1, family__hidden=12),
                spec(2, controllers__omega__weight=2.0),
                spec(3, task__length=14),
            )
        ),
    )
    assert [r.state for r in together if r.rung == 4] == [RowState.DONE] * 4
    for trial, params in (
        (1, {"family__hidden": 12}),
        (2, {"controllers__omega__weight": 2.0}),
        (3, {"task__length": 14}),
    ):
        alone = run(trainer(tmp_path / str(trial)), Orders(join=(spec(trial, **params),)))
        assert numbers(alone, trial) == numbers(together, trial)


def test_an_interrupted_row_goes_on_from_its_checkpoint_and_repeats_unacknowledged_reports(tmp_path):
    whole = run(trainer(tmp_path / "a"), Orders(join=(spec(0),)))
    first = trainer(tmp_path / "b")
    first.advance(Orders(join=(spec(0),)))
    first.advance(Orders(acknowledged={(0, 0): 1}))
    del first
    second = trainer(tmp_path / "b")
    repeated, failures = second.advance(Orders(join=(spec(0, "0002", restore=("0001",)),)))
    assert failures == []
    assert [r.rung for r in repeated] == [2, 3]
    assert {r.token for r in repeated} == {"0002"}
    rest = repeated + run(second, Orders())
    assert numbers(rest, 0) == numbers(whole, 0)[1:]


def test_a_finished_row_that_is_restored_only_repeats_its_last_reports(tmp_path):
    run(trainer(tmp_path), Orders(join=(spec(0),)))
    reports, failures = trainer(tmp_path).advance(Orders(join=(spec(0, "0002", restore=("0001",)),)))
    assert failures == []
    assert reports[-1].state is RowState.DONE
    assert reports[-1].step == 20


def test_a_checkpoint_of_another_version_of_the_family_is_refused_not_completed_with_zeros(tmp_path):
    first = trainer(tmp_path)
    first.advance(Orders(join=(spec(0),)))
    store, folder = first.store, first.store.folder(0, 0, "0001")
    saved = store.newest([folder])
    del saved.state.params["b"]  # as written before the family had it
    store.save(folder, saved.state, saved.extra)
    reports, failures = trainer(tmp_path).advance(Orders(join=(spec(0, "0002", restore=("0001",)), spec(1))))
    assert [(failure.trial, failure.kind) for failure in failures] == [(0, "refused")]
    assert "lacks b; another version of the family wrote it" in failures[0].reason
    assert {r.trial for r in reports if r.token == "0001"} == {1}


def test_a_raised_budget_extends_a_finished_row_as_if_it_had_been_there(tmp_path):
    long = run(trainer(tmp_path / "a", "budget.updates=40"), Orders(join=(spec(0, updates=40),)))
    run(trainer(tmp_path / "b"), Orders(join=(spec(0),)))
    more = run(trainer(tmp_path / "b", "budget.updates=40"), Orders(join=(spec(0, "0002", 40, ("0001",)),)))
    assert numbers(more, 0)[-4:] == numbers(long, 0)[-4:]


def test_a_withdrawn_row_keeps_no_checkpoint_beyond_its_rung(tmp_path):
    worker = trainer(tmp_path)
    worker.advance(Orders(join=(spec(0), spec(1))))
    worker.advance(Orders())
    reports, _ = worker.advance(Orders(leave=(Withdrawal(0, 0, "0001", keep_rung=1),)))
    assert {r.trial for r in reports} == {1}
    assert worker.store.rungs(worker.store.folder(0, 0, "0001")) == [1]


def test_undecided_rungs_keep_their_checkpoints(tmp_path):
    worker = trainer(tmp_path)
    worker.advance(Orders(join=(spec(0),)))
    for _ in range(2):
        worker.advance(Orders())
    folder = worker.store.folder(0, 0, "0001")
    assert worker.store.rungs(folder) == [1, 2, 3]
    worker.advance(Orders(decided={(0, 0): 3}))
    assert set(worker.store.rungs(folder)) >= {3, 4}
    assert len(worker.store.rungs(folder)) <= 3


def test_a_refused_point_fails_alone(tmp_path):
    worker = trainer(tmp_path)
    reports, failures = worker.advance(Orders(join=(spec(0), spec(1, controllers__clip__threshold=-1.0))))
    assert [r.trial for r in reports] == [0]
    assert [(f.trial, f.kind) for f in failures] == [(1, "refused")]
    assert "controllers.clip.threshold" in failures[0].reason


def test_an_exception_in_a_unit_fails_its_pack_with_the_traceback(tmp_path, monkeypatch):
    worker = trainer(tmp_path)
    worker.advance(Orders(join=(spec(0), spec(1, family__hidden=12))))
    from rnnsweep.core.families.srn import Srn

    honest = Srn.weights

    def broken(self, values, hypers):
        if self.hidden == 12:
            raise RuntimeError("on purpose")
        return honest(self, values, hypers)

    monkeypatch.setattr(Srn, "weights", broken)
    reports, failures = worker.advance(Orders())
    assert [r.trial for r in reports] == [0]
    assert [(f.trial, f.kind, f.reason) for f in failures] == [(1, "bug", "RuntimeError: on purpose")]
    assert "on purpose" in failures[0].traceback


@pytest.mark.parametrize("size", [None, 1 << 60])
def test_out_of_memory_is_told_from_bugs(tmp_path, monkeypatch, size):
    worker = trainer(tmp_path)

    def broken(*args, **kwargs):
        if size is None:
            raise MemoryError("no more")
        return torch.empty(size, dtype=torch.uint8)  # torch's own words for it, on the CPU

    monkeypatch.setattr("rnnsweep.app.worker.trainer.train_rung", broken)
    _, failures = worker.advance(Orders(join=(spec(0),)))
    assert [f.kind for f in failures] == ["out_of_memory"]
    assert "Error: " in failures[0].reason


def test_a_store_that_is_away_for_a_moment_is_waited_for(tmp_path, monkeypatch):
    worker = trainer(tmp_path)
    save, calls = worker.store._store.save, []

    def sometimes(*args):
        calls.append(args)
        if len(calls) < 3:
            raise OSError(28, "No space left on device")
        save(*args)

    monkeypatch.setattr(worker.store._store, "save", sometimes)
    reports, failures = worker.advance(Orders(join=(spec(0),)))
    assert [r.rung for r in reports] == [1] and failures == []
    assert len(calls) == 3


def test_replicas_share_initial_weights_across_trials_but_not_with_each_other(tmp_path):
    worker = trainer(tmp_path)
    rows = (RowSpec(0, 0, "a", {}, 20), RowSpec(1, 0, "a", {}, 20), RowSpec(0, 1, "a", {}, 20))
    reports, _ = worker.advance(Orders(join=rows))
    loss = {(r.trial, r.replica): r.metrics["train/loss"] for r in reports}
    assert loss[(0, 0)] == loss[(1, 0)] != loss[(0, 1)]
    apart = trainer(tmp_path / "x", "seeds=independent")
    reports, _ = apart.advance(Orders(join=rows))
    loss = {(r.trial, r.replica): r.metrics["train/loss"] for r in reports}
    assert len(set(loss.values())) == 3


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_reports_name_the_engine(tmp_path, engine):
    reports, _ = trainer(tmp_path, f"engine={engine}").advance(Orders(join=(spec(0),)))
    assert reports[0].engine == engine


def test_a_solved_row_that_is_restored_is_not_trained_on(tmp_path):
    easy = ["training.solved_below=1.0", "training.stop_solved=true"]
    worker = trainer(tmp_path, *easy)
    reports, _ = worker.advance(Orders(join=(spec(0),)))
    assert reports[-1].state is RowState.SOLVED
    again = trainer(tmp_path, *easy)
    repeated, _ = again.advance(Orders(join=(spec(0, "0002", restore=("0001",)),)))
    assert [r.rung for r in repeated] == [1]
    assert again.rows == {}


PATIENT = ["budget.updates=100", "budget.patience=2", "budget.min_delta=0.001", "objective.metric=valid/loss"]


def losses(reports: list, trial: int) -> list[float]:
    return [r.metrics["valid/loss"] for r in sorted(reports, key=lambda r: r.rung) if r.trial == trial]


def end_by(values: list[float]) -> int:
    """The rung at which nothing was better by more than 0.001 for two evaluations, told from the values alone."""
    best, last = values[0], 1
    for rung, value in enumerate(values[1:], 2):
        if value < best - 0.001:
            best, last = value, rung
        elif rung - last == 2:
            return rung
    return 0


def test_a_row_without_an_improvement_ends_alone_packed_and_interrupted_at_the_same_rung(tmp_path):
    rows = {0: {}, 1: {"controllers__omega__weight": 3.0}, 2: {"optimizer__lr": 1e-9}, 3: {"optimizer__lr": 0.1}}
    specs = tuple(spec(trial, updates=100, **params) for trial, params in rows.items())
    free = run(trainer(tmp_path / "free", "budget.updates=100"), Orders(join=specs))
    together = run(trainer(tmp_path / "a", *PATIENT), Orders(join=specs))
    ends = {trial: end_by(losses(free, trial)) for trial in rows}
    assert ends[2] == 3, "one that does not learn ends as soon as it can"
    assert len({*ends.values()}) > 1
    for trial, row in zip(rows, specs, strict=True):
        own = numbers(together, trial)
        assert own[-1][0] == (ends[trial] or 20)
        assert own[-1][3] is (RowState.STALLED if ends[trial] else RowState.DONE)
        assert [line[:3] for line in own] == [line[:3] for line in numbers(free, trial)][: len(own)]
        assert numbers(run(trainer(tmp_path / f"b{trial}", *PATIENT), Orders(join=(row,))), trial) == own
    # killed after each rung: how long it has waited lies in the checkpoint
    found, tokens = {}, ()
    for number in range(2, 30):
        worker, token = trainer(tmp_path / "c", *PATIENT), f"{number:04}"
        reports, _ = worker.advance(Orders(join=(spec(0, token, updates=100, restore=tokens),)))
        found |= {r.rung: r for r in reports}
        tokens = (token, *tokens)
        if not worker.rows:
            break
    assert numbers([found[rung] for rung in sorted(found)], 0) == numbers(together, 0)


def test_patience_counts_evaluations_not_rungs(tmp_path):
    rare = [*PATIENT, "training.eval_every=3"]
    reports = run(trainer(tmp_path, *rare), Orders(join=(spec(0, updates=100, optimizer__lr=1e-9),)))
    assert [r.rung for r in reports if r.state is RowState.STALLED] == [9]


def test_a_full_disk_ends_the_worker_not_the_rows(tmp_path, monkeypatch):
    worker = trainer(tmp_path)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker.store._store, "save", full)
    worker.store.patience = 0.3
    with pytest.raises(StoreError, match="No space left"):
        worker.advance(Orders(join=(spec(0),)))
