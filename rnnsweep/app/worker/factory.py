"""How workers get their trainer: a factory of plain data, handed to the executor."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnsweep.app.config.load import SweepConfig
from rnnsweep.app.provenance.sessions import UNCHECKED, Session
from rnnsweep.app.worker.settings import TrainerSettings, check_session
from rnnsweep.sweep.patience import patience_of

if TYPE_CHECKING:
    from rnnsweep.app.worker.trainer import PackTrainer


@dataclass(frozen=True)
class PackTrainerFactory:
    """Builds the trainer inside its worker; plain data, so that it survives cloudpickle.

    The driver makes one too, and need not import torch for that: only a worker does, when it calls it.
    """

    settings: TrainerSettings

    def __call__(self, worker: str, cores: int) -> PackTrainer:
        """A trainer for this worker.

        Raises:
            MismatchError: the worker has other versions, code or data than the driver.
        """
        check_session(self.settings, worker)
        from rnnsweep.app.worker.trainer import PackTrainer

        return PackTrainer(self.settings, worker, cores)


def trainer_factory(config: SweepConfig, session: Session = UNCHECKED) -> PackTrainerFactory:
    """What workers of this sweep run, under what they must run it."""
    return PackTrainerFactory(trainer_settings(config, session))


def trainer_settings(config: SweepConfig, session: Session = UNCHECKED) -> TrainerSettings:
    """What a worker needs to know of a sweep to train its rows."""
    training = config.resolved["training"]
    return TrainerSettings(
        variants=config.variants,
        seed=config.plan.seed,
        independent=config.resolved["seeds"] == "independent",
        report_every=config.plan.report_every,
        eval_every=training["eval_every"],
        patience=patience_of(config.plan),
        stages=config.plan.stages,
        checkpoints=config.checkpoints,
        rows=config.cluster.rows,
        py_paths=config.cluster.py_paths,
        # the record of earlier sessions is the ledger's alone
        session=dataclasses.replace(session, record={}),
        device=device(config),
    )


def device(config: SweepConfig) -> str:
    """What a sweep's workers train on: ``cpu``, or a GPU where there is one."""
    return "cpu" if config.cluster.gpus_per_worker == 0 or config.resolved["engine"] == "cpu" else "auto"
