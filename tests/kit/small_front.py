"""A service over a real store that trains what is queued when it is told to, in this process."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import rnnsweep
from rnnsweep.app.run.launch import prepare, stored_config
from rnnsweep.app.stores import StorePlace, place, reading_sweep
from rnnsweep.errors import ConfigError
from rnnsweep.service.front import PoolWorker, QueuedSweep, QueueState, Submission
from rnnsweep.sweep.rebuild import Reopen
from tests.kit.tiny import TINY


class SmallFront:
    """`rnnsweep.service.front.Front`: a queue in memory, a ledger on the disk.

    Attributes:
        asked: what reached it of the methods that change something.
    """

    def __init__(self, store: Path, config_dirs: Sequence[Path] = ()) -> None:
        self._place, self._config_dirs = place(store), config_dirs
        self._lines: dict[str, QueuedSweep] = {}
        self._submissions: dict[str, Submission] = {}
        self._lock = Lock()
        self.asked: list[tuple[Any, ...]] = []

    @property
    def place(self) -> StorePlace:
        return self._place

    @property
    def config_dirs(self) -> Sequence[Path]:
        return self._config_dirs

    def queue(self) -> list[QueuedSweep]:
        return list(self._lines.values())

    def workers(self) -> list[PoolWorker]:
        rows = dict.fromkeys(self._lines, 2)
        return [PoolWorker("w0", "node", "cpu", 4, rows, 0.5)]

    def submit(self, submission: Submission) -> str:
        config, _ = prepare(submission.sweep, self._overrides(submission), self._config_dirs, self._place.root)
        name = config.plan.name
        with self._lock:
            if name in self._lines:
                raise ConfigError("the store has a sweep of this name", key="name", value=name)
            self.add(name, submission.user, QueueState.QUEUED)
            self._submissions[name] = submission
            self.asked.append(("submit", submission))
        return name

    def stop(self, name: str, reason: str) -> None:
        self.asked.append(("stop", name, reason))

    def pause(self, name: str, reason: str) -> None:
        self.asked.append(("pause", name, reason))
        if name in self._lines:
            self._lines[name] = replace(self._lines[name], state=QueueState.PAUSED, reason=reason)

    def resume(self, name: str, overrides: Sequence[str] = (), reopen: Reopen | None = None) -> None:
        stored_config(self._place, name, overrides)
        self.asked.append(("resume", name, tuple(overrides), *([reopen] if reopen not in (None, Reopen()) else [])))

    def request(self, name: str, kind: str, data: Mapping[str, Any]) -> None:
        with reading_sweep(self._place, name) as (ledger, _):
            ledger.post(name, kind, data)
        self.asked.append(("request", name, kind, dict(data)))

    # ------------------------------------------------------------------ for tests

    def add(self, name: str, user: str, state: QueueState = QueueState.ENDED) -> None:
        """A line of the queue."""
        self._lines[name] = QueuedSweep(name, state, user, submitted=time.time())

    def run(self, name: str) -> None:
        """Train a sweep that is queued."""
        self._lines[name] = replace(self._lines[name], state=QueueState.RUNNING)
        submission = self._submissions[name]
        store = self._place.root
        rnnsweep.launch(submission.sweep, self._overrides(submission), store=store, progress=False)
        self._lines[name] = replace(self._lines[name], state=QueueState.ENDED)

    def _overrides(self, submission: Submission) -> list[str]:
        return [*TINY, *submission.overrides]
