"""Checkpoints of a worker: trouble with the store is waited for, then told from trouble with rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from rnnsweep.core.checkpoint import CheckpointStore, Saved
from rnnsweep.core.pack import RowSnapshot
from rnnsweep.errors import StoreError

PATIENCE_S = 20.0
"""How long a store may be full or away before the worker gives up."""
_PAUSE_S, _LONGEST_S = 0.2, 5.0

_Result = TypeVar("_Result")


class RetryingStore:
    """`CheckpointStore`, tried again while it is full or away; then `StoreError`, which ends the worker.

    Its rows are charged nothing for that and are taken up elsewhere.

    Attributes:
        patience: seconds.
    """

    def __init__(self, root: str, patience: float = PATIENCE_S) -> None:
        self.patience, self._store = patience, CheckpointStore(root)
        self._trouble = OSError if self._store.local else Exception  # libraries of object stores have errors of theirs

    def folder(self, trial: int, replica: int, token: str) -> str:
        """See `CheckpointStore.folder`."""
        return self._store.folder(trial, replica, token)

    def save(self, folder: str, state: RowSnapshot, extra: Mapping[str, Any]) -> None:
        """See `CheckpointStore.save`."""
        # saving twice is harmless: a checkpoint is complete or not there
        self._patiently(lambda: self._store.save(folder, state, extra))

    def rungs(self, folder: str) -> list[int]:
        """See `CheckpointStore.rungs`."""
        return self._patiently(lambda: self._store.rungs(folder))

    def newest(self, folders: Sequence[str], limit: int | None = None) -> Saved | None:
        """See `CheckpointStore.newest`."""
        return self._patiently(lambda: self._store.newest(folders, limit))

    def prune(self, folder: str, keep: Sequence[int]) -> None:
        """See `CheckpointStore.prune`."""
        self._patiently(lambda: self._store.prune(folder, keep))

    def _patiently(self, work: Callable[[], _Result]) -> _Result:
        end, pause = time.monotonic() + self.patience, _PAUSE_S
        while True:
            try:
                return work()
            except self._trouble as error:
                if time.monotonic() >= end:
                    raise StoreError("checkpoints", f"{self._store.root}: {error}") from error
            # never past the end, so that one last try comes right at it
            time.sleep(min(pause, max(0.0, end - time.monotonic())))
            pause = min(_LONGEST_S, 2 * pause)
