"""Rows that change their fidelity: as if they had been trained in parts, whatever their pack and interruptions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from rnnsweep.app.worker.stages import carried_on, config_after
from rnnsweep.app.worker.trainer import PackTrainer
from rnnsweep.sweep.rows import Orders, Source
from rnnsweep.sweep.states import RowState
from tests.app.worker.test_trainer import numbers, run, spec, trainer

STAGED = "fidelity={task.length: {0: 10, 10: 14}}"


def plain(tmp_path: Path, *overrides: str) -> PackTrainer:
    return trainer(tmp_path, "engine=reference", *overrides)


def staged(tmp_path: Path, *overrides: str) -> PackTrainer:
    return plain(tmp_path, "task.length=14", STAGED, *overrides)


def test_a_row_is_trained_in_parts_each_by_a_config_of_its_own(tmp_path: Path) -> None:
    """The reference: a short sweep, and a long one that goes on from its checkpoint."""
    grown = run(staged(tmp_path / "a"), Orders(join=(spec(0),)))
    first = plain(tmp_path / "b", "task.length=10")
    short = run(first, Orders(join=(spec(0),)), rungs=2)
    folder = first.store.folder(0, 0, "0001")
    saved = first.store.newest([folder], 2)
    assert saved is not None
    first.store.save(folder, replace(saved.state, profile=None), saved.extra)  # over 10 steps, which 14 do not continue
    rest = run(plain(tmp_path / "b", "task.length=14"), Orders(join=(spec(0, "0002", restore=("0001",)),)))
    parts = numbers(short, 0)[:2] + [one for one in numbers(rest, 0) if one[0] > 2]
    assert len(parts) == 4
    assert numbers(grown, 0) == parts
    assert (
        numbers(grown, 0)[2:] != numbers(run(plain(tmp_path / "c", "task.length=10"), Orders(join=(spec(0),))), 0)[2:]
    )


def test_rows_at_different_stages_train_beside_each_other_as_alone(tmp_path: Path) -> None:
    alone = run(staged(tmp_path / "a"), Orders(join=(spec(0),)))
    worker = staged(tmp_path / "b")
    reports = [*worker.advance(Orders(join=(spec(0), spec(1))))[0]]
    reports += worker.advance(Orders(join=(spec(2), spec(3, controllers__omega__weight=2.0))))[0]
    reports += run(worker, Orders())
    for trial in (0, 1, 2):
        assert numbers(reports, trial) == numbers(alone, 0)
    assert len(numbers(reports, 3)) == 4


@pytest.mark.parametrize("rungs", [1, 2, 3])
def test_interrupted_before_at_and_after_the_change_it_is_the_same(tmp_path: Path, rungs: int) -> None:
    whole = run(staged(tmp_path / "a"), Orders(join=(spec(0),)))
    run(staged(tmp_path / "b"), Orders(join=(spec(0),)), rungs=rungs)
    rest = run(staged(tmp_path / "b"), Orders(join=(spec(0, "0002", restore=("0001",)),)))
    assert numbers(rest, 0)[-4:] == numbers(whole, 0)


def test_a_row_that_takes_over_a_state_at_the_change_is_the_same_in_place_and_from_the_file(tmp_path: Path) -> None:
    worker = staged(tmp_path / "a")
    worker.advance(Orders(join=(spec(0), spec(1, controllers__omega__weight=0.5))))
    worker.advance(Orders())
    taking = replace(spec(1, "0002", controllers__omega__weight=3.0), source=Source(0, 0, ("0001",), 2))
    in_place = run(worker, Orders(join=(taking,)))
    elsewhere = run(staged(tmp_path / "a"), Orders(join=(replace(taking, token="0003"),)))
    assert len(numbers(in_place, 1)) == 2
    assert numbers(in_place, 1) == numbers(elsewhere, 1)


def test_solving_less_than_the_task_is_not_solving_it(tmp_path: Path) -> None:
    """Every row is solved at once here: each rung's error is below 1."""
    easy = ("training.solved_below=1", "training.stop_solved=true", "training.eval_size=40")
    reports = run(staged(tmp_path, *easy), Orders(join=(spec(0),)))
    assert [(one.rung, one.state, one.solved_at) for one in reports] == [
        (1, RowState.ACTIVE, None),
        (2, RowState.ACTIVE, None),
        (3, RowState.SOLVED, 15),
    ]


def test_patience_counts_at_full_fidelity_alone(tmp_path: Path) -> None:
    never = ("budget.patience=1", "budget.min_delta=1000", "budget.updates=30")
    reports = run(staged(tmp_path, *never), Orders(join=(spec(0, updates=30),)))
    assert [one.state for one in reports] == [RowState.ACTIVE] * 3 + [RowState.STALLED]


def test_what_was_measured_before_a_change_is_dropped_and_what_learns_stays(tmp_path: Path) -> None:
    worker = staged(tmp_path)
    run(worker, Orders(join=(spec(0),)), rungs=2)
    saved = worker.store.newest([worker.store.folder(0, 0, "0001")], 2)
    assert saved is not None
    before, after = saved.state, carried_on(worker.settings, saved.state)
    assert before.profile is not None
    assert (after.profile, after.best_loss, after.best_rung) == (None, math.inf, 0)
    assert (after.params, after.slots, after.step, after.taken) == (before.params, before.slots, 10, before.taken)
    earlier = replace(before, rung=1)
    assert carried_on(worker.settings, earlier) is earlier


def test_the_config_of_a_rung_has_its_stages_values(tmp_path: Path) -> None:
    settings = staged(tmp_path).settings
    at = [config_after(settings, {}, rung) for rung in (0, 1, 2)]
    assert [config["task"]["length"] for config in at] == [10, 10, 14]
    assert settings.variants[0].resolved["task"]["length"] == 14


def test_a_share_of_the_data_is_a_fidelity(tmp_path: Path) -> None:
    """As if the first rung had been trained by a config with that share."""
    data = ("task.train_size=200", "training.eval_every=2")
    grown = run(
        plain(tmp_path / "a", *data, "fidelity={training.data_share: {0: 0.01, 5: 1.0}}"), Orders(join=(spec(0),)), 2
    )
    share = run(plain(tmp_path / "b", *data, "training.data_share=0.01"), Orders(join=(spec(0),)), 1)
    rest = run(plain(tmp_path / "b", *data), Orders(join=(spec(0, "0002", restore=("0001",)),)), 2)
    assert numbers(grown, 0)[:2] == [numbers(share, 0)[0], numbers(rest, 0)[1]]
