"""The sweeps whose rows train in a worker: what it was told of each, and where their checkpoints are."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from rnnsweep.app.worker.retrying_store import RetryingStore
from rnnsweep.app.worker.settings import TrainerSettings, check_session
from rnnsweep.core.pack import Streams
from rnnsweep.sweep.rows import ALONE, Opening


@dataclass(frozen=True)
class OpenSweep:
    """A sweep that trains here.

    Attributes:
        number: in the pool. settings: what its rows are trained by. store: of its checkpoints.
    """

    number: int
    settings: TrainerSettings
    store: RetryingStore

    def streams(self, trial: int, replica: int) -> Streams:
        """Where the random numbers of a row come from."""
        settings = self.settings
        return Streams(settings.seed, replica, trial if settings.independent else None)

    def folder(self, trial: int, replica: int, token: str) -> str:
        """Where an attempt of a row has its checkpoints."""
        return self.store.folder(trial, replica, token)


class OpenSweeps:
    """Sweeps by number; the one that the worker was built for is there from the start, as `ALONE`."""

    def __init__(self, settings: TrainerSettings) -> None:
        self._sweeps = {ALONE: _opened(ALONE, settings)}
        self._openings: dict[int, Opening] = {ALONE: Opening(settings)}

    def __getitem__(self, number: int) -> OpenSweep:
        return self._sweeps[number]

    def __contains__(self, number: int) -> bool:
        return number in self._sweeps

    @property
    def openings(self) -> Mapping[int, Opening]:
        """Their weights and priorities."""
        return self._openings

    def open(self, number: int, opening: Opening, worker: str) -> None:
        """A sweep comes; its units are imported from where its driver imported them.

        Raises:
            MismatchError: this worker has other versions, code or data than its driver.
        """
        settings: TrainerSettings = opening.settings
        # behind what is there: a module that two sweeps name alike is the first one's, and the check below sees that
        sys.path.extend(place for place in settings.py_paths if place not in sys.path)
        check_session(settings, worker)
        self._sweeps[number], self._openings[number] = _opened(number, settings), opening

    def close(self, number: int) -> None:
        """A sweep goes."""
        self._sweeps.pop(number, None)
        self._openings.pop(number, None)


def _opened(number: int, settings: TrainerSettings) -> OpenSweep:
    return OpenSweep(number, settings, RetryingStore(settings.checkpoints))
