"""What a trainer needs of the sweep's config: plain data, read without torch by the driver that sends it."""

from __future__ import annotations

from dataclasses import dataclass

from rnnsweep.app.config.point import Variant
from rnnsweep.app.provenance.fingerprint import differences, here
from rnnsweep.app.provenance.sessions import UNCHECKED, Session
from rnnsweep.errors import MismatchError
from rnnsweep.sweep.fidelity import Stage
from rnnsweep.sweep.patience import Patience


@dataclass(frozen=True)
class TrainerSettings:
    """Ships to workers.

    Attributes:
        seed: sweep seed. independent: seeds differ between trials.
        report_every, eval_every: updates per rung, rungs per evaluation.
        stages: what rows train at, and after which rungs; none where it never changes.
        patience: when rows end that do not improve; None: they train to their budget.
        checkpoints: root of the sweep's checkpoints.
        rows: most rows at once; None = by memory.
        device: ``cpu``, ``cuda`` or ``auto``.
        py_paths: directories that the user's units are imported from.
        session: what the worker must train under, and the number that its reports bear.
    """

    variants: tuple[Variant, ...]
    seed: int
    independent: bool
    report_every: int
    eval_every: int
    checkpoints: str
    rows: int | None = None
    device: str = "auto"
    py_paths: tuple[str, ...] = ()
    session: Session = UNCHECKED
    patience: Patience | None = None
    stages: tuple[Stage, ...] = ()

    @property
    def weighs(self) -> bool:
        """Whether what becomes of a row depends on more than its rung: on its fidelity, or on how long it waits."""
        return bool(self.stages) or self.patience is not None


def check_session(settings: TrainerSettings, worker: str) -> None:
    """Refuse to train what a driver has checked under other versions, code or data.

    Raises:
        MismatchError: the worker has others.
    """
    expected, places = settings.session.fingerprint, settings.py_paths
    changed = [] if expected is None else differences(expected, here(expected, places), places)
    if changed:
        raise MismatchError(worker, changed)
