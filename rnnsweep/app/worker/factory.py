"""How workers get their trainer: a factory of plain data, handed to the executor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnsweep.app.config.load import SweepConfig
from rnnsweep.app.worker.settings import TrainerSettings

if TYPE_CHECKING:
    from rnnsweep.app.worker.trainer import PackTrainer


@dataclass(frozen=True)
class PackTrainerFactory:
    """Builds the trainer inside its worker; plain data, so that it survives cloudpickle.

    The driver makes one too, and need not import torch for that: only a worker does, when it calls it.
    """

    settings: TrainerSettings

    def __call__(self, worker: str, cores: int) -> PackTrainer:
        """A trainer for this worker."""
        from rnnsweep.app.worker.trainer import PackTrainer

        return PackTrainer(self.settings, worker, cores)


def trainer_factory(config: SweepConfig) -> PackTrainerFactory:
    """What workers of this sweep run."""
    training = config.resolved["training"]
    return PackTrainerFactory(
        TrainerSettings(
            variants=config.variants,
            seed=config.plan.seed,
            independent=config.resolved["seeds"] == "independent",
            report_every=config.plan.report_every,
            eval_every=training["eval_every"],
            checkpoints=config.checkpoints,
            rows=config.cluster.rows,
            device="cpu" if config.cluster.gpus_per_worker == 0 or config.resolved["engine"] == "cpu" else "auto",
        )
    )
