"""One trial without a sweep: no Ray, no Optuna, no ledger."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

from rnnsweep.app.config.load import SweepConfig
from rnnsweep.app.environment import cores
from rnnsweep.errors import RnnsweepError
from rnnsweep.sweep.rows import Orders, RowReport, RowSpec

TOKEN = "train"


def train_one(
    config: SweepConfig, observer: Callable[[RowReport], None] | None = None, checkpoints: Path | None = None
) -> list[RowReport]:
    """Train all replicas of the config's base point; searched keys stand at their defaults.

    Args:
        config: its `store` is not touched.
        observer: called with every report as it comes.
        checkpoints: folder that keeps them; None: they live in a temporary directory and go with it.

    Returns:
        All reports, by rung and replica.

    Raises:
        RnnsweepError: a replica cannot be trained; carries the reason.
    """
    if checkpoints is not None:
        return _trained(config, observer, str(checkpoints))
    with tempfile.TemporaryDirectory(prefix="rnnsweep-train-") as folder:
        return _trained(config, observer, folder)


def _trained(config: SweepConfig, observer: Callable[[RowReport], None] | None, folder: str) -> list[RowReport]:
    # imports torch
    from rnnsweep.app.worker.factory import trainer_factory

    params, updates = dict(config.variants[0].groups), config.plan.budget.updates
    rows = tuple(RowSpec(0, replica, TOKEN, params, updates) for replica in range(config.plan.replicas))
    factory = trainer_factory(config)
    settings = dataclasses.replace(factory.settings, checkpoints=folder)
    # the very trainer of a sweep: what `train` shows is what a sweep would do
    trainer = dataclasses.replace(factory, settings=settings)(TOKEN, cores())
    orders, active = Orders(join=rows), {row.row for row in rows}
    everything: list[RowReport] = []
    while active:
        reports, failures = trainer.advance(orders)
        if failures:
            raise RnnsweepError(f"replica {failures[0].replica}: {failures[0].kind}: {failures[0].reason}")
        for report in reports:
            if observer is not None:
                observer(report)
        everything += reports
        active -= {report.row for report in reports if report.state.ended}
        # Nobody else will ask for these reports or end a row at an earlier rung: they count at once.
        newest = {report.row: report.rung for report in reports}
        orders = Orders(decided=newest, acknowledged=newest)
    trainer.close()
    return everything
