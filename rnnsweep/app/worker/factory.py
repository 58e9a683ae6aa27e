"""How workers get their trainer: a factory of plain data, handed to the executor."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnsweep.app.config.load import SweepConfig
from rnnsweep.app.provenance.fingerprint import differences, here
from rnnsweep.app.provenance.sessions import UNCHECKED, Session
from rnnsweep.app.worker.settings import TrainerSettings
from rnnsweep.errors import MismatchError
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
        self._check(worker)
        from rnnsweep.app.worker.trainer import PackTrainer

        return PackTrainer(self.settings, worker, cores)

    def _check(self, worker: str) -> None:
        expected, places = self.settings.session.fingerprint, self.settings.py_paths
        changed = [] if expected is None else differences(expected, here(expected, places), places)
        if changed:
            raise MismatchError(worker, changed)


def trainer_factory(config: SweepConfig, session: Session = UNCHECKED) -> PackTrainerFactory:
    """What workers of this sweep run, under what they must run it."""
    training = config.resolved["training"]
    return PackTrainerFactory(
        TrainerSettings(
            variants=config.variants,
            seed=config.plan.seed,
            independent=config.resolved["seeds"] == "independent",
            report_every=config.plan.report_every,
            eval_every=training["eval_every"],
            patience=patience_of(config.plan),
            checkpoints=config.checkpoints,
            rows=config.cluster.rows,
            py_paths=config.cluster.py_paths,
            # the record of earlier sessions is the ledger's alone
            session=dataclasses.replace(session, record={}),
            device="cpu" if config.cluster.gpus_per_worker == 0 or config.resolved["engine"] == "cpu" else "auto",
        )
    )
