"""Searched families: conditional keys, several shape keys in one worker, each row as if it were alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from rnnsweep.app.config.load import load, search_path
from rnnsweep.app.config.point import resolve_point
from rnnsweep.app.results.inference import TrainedNetwork
from rnnsweep.app.worker.factory import trainer_factory
from rnnsweep.app.worker.trainer import PackTrainer
from rnnsweep.core.build import build_program, build_units, row_hypers
from rnnsweep.sweep.rows import Orders, RowSpec
from rnnsweep.sweep.states import RowState

SMALL = [
    "task.length=10",
    "family.hidden=8",
    "training.batch=4",
    "training.report_every=4",
    "training.eval_size=8",
    "training.stop_solved=false",
    "budget.updates=8",
]
# of a stack the layers have widths of their own: tests/core/test_stack.py
FAMILIES = [name for name in search_path().options("family") if name != "stack"]


def config_of(tmp_path: Path, *overrides: str):
    return load(None, ["name=t", *SMALL, *overrides], store=tmp_path)


def finish(worker: PackTrainer, specs: list[RowSpec]) -> list:
    reports, failures = worker.advance(Orders(join=tuple(specs)))
    assert failures == []
    found = list(reports)
    while worker.rows:
        reports, failures = worker.advance(Orders())
        assert failures == []
        found += reports
    return found


def test_a_sweep_across_families_trains_all_its_shape_keys_in_one_worker(tmp_path):
    config = config_of(
        tmp_path,
        "family=choice(srn,lstm,momentum_srn)",
        "family.forget_bias=interval(0,2)",
        "family.mu=interval(0,0.9)",
        "+controllers=omega",
        "controllers.omega.weight=choice(0,2)",
    )
    when = {dimension.key: dict(dimension.when) for dimension in config.plan.space}
    assert when["family.forget_bias"] == {"family": ("lstm",)}
    assert when["family.mu"] == {"family": ("momentum_srn",)}
    points = [
        {"family": "srn", "controllers.omega.weight": 2.0},
        {"family": "lstm", "family.forget_bias": 1.5, "controllers.omega.weight": 2.0},
        {"family": "lstm", "family.forget_bias": 0.5, "controllers.omega.weight": 0.0},
        {"family": "momentum_srn", "family.mu": 0.8, "controllers.omega.weight": 2.0},
    ]
    specs = [RowSpec(trial, 0, "0001", point, 8) for trial, point in enumerate(points)]
    together = finish(trainer_factory(config)("w0", 1), specs)
    assert [report.state for report in together if report.rung == 2] == [RowState.DONE] * 4
    for spec in specs:
        other = config_of(tmp_path / f"alone-{spec.trial}", *config.plan.overrides[len(SMALL) + 1 :])
        alone = finish(trainer_factory(other)("w0", 1), [spec])
        ours = [dict(report.metrics) for report in together if report.trial == spec.trial]
        assert ours == [dict(report.metrics) for report in alone]
        assert all(math.isfinite(value) for report in alone for value in report.metrics.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_reports_and_answers(tmp_path, family):
    """Initial weights from the packaged config, two rungs, and the network for inference from its checkpoint."""
    config = config_of(tmp_path, f"family={family}", "+controllers=l2", "controllers.l2.parameters=[w_out]")
    worker = trainer_factory(config)("w0", 1)
    reports = finish(worker, [RowSpec(0, 0, "0001", {}, 8)])
    assert reports[-1].state is RowState.DONE
    assert {"train/loss", "valid/loss", "valid/error", "grad/norm"} <= set(reports[-1].metrics)
    point = resolve_point(config.variants, {})
    units = build_units(point)
    saved = worker.store.newest([worker.store.folder(0, 0, "0001")])
    assert saved is not None
    network = TrainedNetwork(build_program(point, units, worker.device), saved.state, row_hypers(units))
    found = network.evaluate(50)
    assert math.isfinite(found["loss"])


def test_ridge_trains_a_reservoir(tmp_path):
    config = config_of(tmp_path, "family=esn", "learner=ridge", "task=adding", "dtype=float64")
    reports = finish(trainer_factory(config)("w0", 1), [RowSpec(0, 0, "0001", {}, 8)])
    assert reports[-1].metrics["valid/loss"] < 1
