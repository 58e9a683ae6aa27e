"""One trial without a sweep: no Ray, no Optuna, no ledger."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnsweep.app.config.load import SweepConfig
from rnnsweep.app.environment import cores
from rnnsweep.errors import RnnsweepError
from rnnsweep.sweep.rows import Orders, RowReport, RowSpec

TOKEN = "train"


def _unheard(*unused: object) -> None:
    return


@dataclass(frozen=True)
class TrainingWatch:
    """What is told while one trial trains.

    Attributes:
        report: called with every report as it comes.
        note: called with what else a person wants to know, a line each.
        within: called after every update: (updates done, updates at the rung's end).
        rung: called with all reports of a rung, before any of their checkpoints may go; by default `report` each.
        begun: updates that were done before.
    """

    report: Callable[[RowReport], None] = _unheard
    note: Callable[[str], None] = _unheard
    within: Callable[[int, int], None] | None = None
    rung: Callable[[list[RowReport]], None] | None = None
    begun: int = 0

    def heed(self, reports: list[RowReport]) -> None:
        """Tell a rung."""
        if self.rung is not None:
            self.rung(reports)
            return
        for report in reports:
            self.report(report)


def train_one(
    config: SweepConfig, watch: TrainingWatch | None = None, checkpoints: Path | None = None
) -> list[RowReport]:
    """Train all replicas of the config's base point; searched keys stand at their defaults.

    Args:
        config: its `store` is not touched.
        watch: who is told how it goes.
        checkpoints: folder that keeps them, and from which replicas go on; None: they live in a temporary directory
            and go with it.

    Returns:
        The reports of this call, by rung and replica; of a replica that goes on, its checkpoint's too.

    Raises:
        RnnsweepError: a replica cannot be trained; carries the reason.
    """
    watch = watch or TrainingWatch()
    if checkpoints is not None:
        return _trained(config, watch, str(checkpoints))
    with tempfile.TemporaryDirectory(prefix="rnnsweep-train-") as folder:
        return _trained(config, watch, folder)


def _trained(config: SweepConfig, watch: TrainingWatch, folder: str) -> list[RowReport]:
    # imports torch
    from rnnsweep.app.worker.factory import trainer_factory

    params, updates = dict(config.variants[0].groups), config.plan.budget.updates
    rows = tuple(
        RowSpec(0, replica, TOKEN, params, updates, restore=(TOKEN,)) for replica in range(config.plan.replicas)
    )
    factory = trainer_factory(config)
    settings = dataclasses.replace(factory.settings, checkpoints=folder)
    # the very trainer of a sweep: what `train` shows is what a sweep would do
    trainer = dataclasses.replace(factory, settings=settings)(TOKEN, cores())
    trainer.overlaps = False  # whoever watches is told of a rung when it is over
    for note in config.notes:
        watch.note(note)
    orders, active = Orders(join=rows), {row.row for row in rows}
    everything: list[RowReport] = []
    while active:
        trainer.within = _within(watch, everything, config.plan.report_every, updates)
        reports, failures = trainer.advance(orders)
        if failures:
            raise RnnsweepError(f"replica {failures[0].replica}: {failures[0].kind}: {failures[0].reason}")
        watch.heed(reports)
        everything += reports
        active -= {report.row for report in reports if report.state.ended}
        # Nobody else will ask for these reports or end a row at an earlier rung: they count at once.
        newest = {report.row: report.rung for report in reports}
        orders = Orders(decided=newest, acknowledged=newest)
    trainer.close()
    return everything


def _within(
    watch: TrainingWatch, before: Sequence[RowReport], every: int, updates: int
) -> Callable[[float], None] | None:
    """A share of the rung that comes, as updates of its furthest replica."""
    tell = watch.within
    if tell is None:
        return None
    begin = max((report.step for report in before), default=watch.begun)
    end = min(begin + every, updates)
    return lambda share: tell(begin + round(share * (end - begin)), end)
