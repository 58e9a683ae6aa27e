"""What the service does for whoever steers it: the HTTP API and the live page speak to this, and to nothing behind it.

browser, client ─► http, page ─► Front ─► queue ─► drivers (one per sweep) ─► pool ─► workers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from rnnsweep.app.stores import StorePlace
from rnnsweep.sweep.rebuild import Reopen


class QueueState(StrEnum):
    """Where a sweep stands in the service's queue; what became of it is its own `SweepState`.

    QUEUED -> RUNNING -> ENDED; RUNNING -> PAUSED -> QUEUED (resume); ENDED -> QUEUED (resume); QUEUED -> ENDED (stop)
    """

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    ENDED = "ENDED"


@dataclass(frozen=True)
class Submission:
    """A sweep that is to run.

    Attributes:
        sweep: its name or yaml's path, as for `rnnsweep launch`. overrides: as on the command line.
        user: who wants it.
        weight: its part of the pool relative to the others', above 0.
        priority: higher ones get all slots that they can use before lower ones get any.
    """

    sweep: str
    overrides: tuple[str, ...] = ()
    user: str = ""
    weight: float = 1.0
    priority: int = 0


@dataclass(frozen=True)
class QueuedSweep:
    """A line of the queue.

    Attributes:
        submitted: seconds since the epoch. reason: why it waits or ended, one line.
    """

    name: str
    state: QueueState
    user: str = ""
    weight: float = 1.0
    priority: int = 0
    submitted: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class PoolWorker:
    """A worker of the pool at this moment.

    Attributes:
        rows: rows in training, by sweep. busy: share of the last minute in which it trained, 0 to 1.
    """

    worker: str
    node: str
    device: str
    slots: int
    rows: Mapping[str, int] = field(default_factory=dict)
    busy: float = 0.0


class Front(Protocol):
    """The service as its callers see it. Every method may be called from any thread.

    Each raises `ConfigError` for wrong input, before anything is written, and `StoreError` where the ledger is away.
    """

    @property
    def place(self) -> StorePlace:
        """The store that all its sweeps live in; tables and curves are read there, as the command line reads them."""
        ...

    @property
    def config_dirs(self) -> Sequence[Path]:
        """The users' own units and sweeps, which can be launched too."""
        ...

    def queue(self) -> list[QueuedSweep]:
        """All sweeps that the service knows, in the order of submission."""
        ...

    def workers(self) -> list[PoolWorker]:
        """The pool."""
        ...

    def submit(self, submission: Submission) -> str:
        """Check a sweep, write it down and queue it; its name."""
        ...

    def stop(self, name: str, reason: str) -> None:
        """End a sweep's driver after the rung in progress; a queued one is taken out. `resume` queues it again."""
        ...

    def pause(self, name: str, reason: str) -> None:
        """As `stop`, but the sweep is PAUSED: it is expected to go on."""
        ...

    def resume(self, name: str, overrides: Sequence[str] = (), reopen: Reopen | None = None) -> None:
        """Queue a sweep of the store that is not running, also one that the service did not launch.

        Args:
            overrides: of ``budget.*``.
            reopen: finished trials that are to go on.
        """
        ...

    def request(self, name: str, kind: str, data: Mapping[str, Any]) -> None:
        """Leave a request for the sweep's driver, see `Ledger.post`: ``budget``, ``edit``, ``enqueue``, ..."""
        ...
