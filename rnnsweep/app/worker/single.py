"""One trial without a sweep: no Ray, no Optuna, no ledger."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable

from rnnsweep.app.config.load import SweepConfig
from rnnsweep.app.environment import cores
from rnnsweep.errors import RnnsweepError
from rnnsweep.sweep.rows import Orders, RowReport, RowSpec

TOKEN = "train"


def train_one(config: SweepConfig, observer: Callable[[RowReport], None] | None = None) -> list[RowReport]:
    """Train all replicas of the config's base point; searched keys stand at their defaults.

    Args:
        config: its `store` is not touched; checkpoints live in a temporary directory.
        observer: called with every report as it comes.

    Returns:
        All reports, by rung and replica.

    Raises:
        RnnsweepError: a replica cannot be trained; carries the reason.
    """
    from rnnsweep.app.worker.factory import trainer_factory

    params, updates = dict(config.variants[0].groups), config.plan.budget.updates
    rows = tuple(RowSpec(0, replica, TOKEN, params, updates) for replica in range(config.plan.replicas))
    found: list[RowReport] = []
    with tempfile.TemporaryDirectory(prefix="rnnsweep-train-") as folder:
        factory = trainer_factory(config)
        settings = dataclasses.replace(factory.settings, checkpoints=folder)
        trainer = dataclasses.replace(factory, settings=settings)(TOKEN, cores())
        orders, active = Orders(join=rows), {row.row for row in rows}
        while active:
            reports, failures = trainer.advance(orders)
            if failures:
                raise RnnsweepError(f"replica {failures[0].replica}: {failures[0].kind}: {failures[0].reason}")
            for report in reports:
                if observer is not None:
                    observer(report)
            found += reports
            active -= {report.row for report in reports if report.state.ended}
            newest = {report.row: report.rung for report in reports}
            orders = Orders(decided=newest, acknowledged=newest)
        trainer.close()
    return found
