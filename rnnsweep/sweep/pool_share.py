"""A sweep's part of a pool: an executor like any other to its driver."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from rnnsweep.sweep.fair_slots import Claim
from rnnsweep.sweep.ports import ExecutorEvent, WorkerLost, WorkerNews
from rnnsweep.sweep.rows import ActiveRows, Opening, Orders, RowId

LINGER = 3
"""A worker has obeyed an order when it has answered so many times since: two rungs may have been in flight."""
CLOSE_S = 60.0
"""Longest time that a graceful stop waits for rungs in progress, seconds."""


class Owner(Protocol):
    """The pool, as its shares see it: requests that it takes up in a thread of its own."""

    def joining(self, share: PoolShare) -> None:
        """The sweep wants workers."""
        ...

    def ordering(self, share: PoolShare, worker: str, orders: Orders) -> None:
        """Orders for a worker."""
        ...

    def leaving(self, share: PoolShare) -> None:
        """The sweep's rows are to leave all workers."""
        ...

    def seeing(self, share: PoolShare, lost: frozenset[str]) -> None:
        """The driver knows that these workers were lost, and has no orders under way for them."""
        ...


@dataclass
class ShareNotes:
    """What the pool knows of a sweep; its own thread alone looks at it.

    Attributes:
        slots: what the driver was told of each worker; a worker that is missing is unknown to it.
        opened: workers that know the sweep.
        rows: rows in training, by worker.
        leaving: rows that were withdrawn from a worker lately, with the rungs after which they are sure to have left.
        refused: why workers do not take the sweep, where they have other code or data.
        excluded: nodes that it wants no more workers on.
        not_before: when a worker that it was lost on may be offered again, monotonic seconds.
        closing: workers that have not yet said that all is over; None: it has not left.
        since: when it had its first place, monotonic seconds.
        device_s: device time that it has had.
    """

    slots: dict[str, int] = field(default_factory=dict[str, int])
    opened: set[str] = field(default_factory=set[str])
    rows: dict[str, ActiveRows] = field(default_factory=dict[str, ActiveRows])
    leaving: dict[str, dict[RowId, int]] = field(default_factory=dict[str, dict[RowId, int]])
    refused: dict[str, Exception] = field(default_factory=dict[str, Exception])
    excluded: set[str] = field(default_factory=set[str])
    not_before: dict[str, float] = field(default_factory=dict[str, float])
    closing: set[str] | None = None
    since: float | None = None
    device_s: float = 0.0

    def rows_on(self, worker: str) -> ActiveRows:
        """Rows in training on a worker."""
        return self.rows.setdefault(worker, ActiveRows())

    def obey(self, worker: str, orders: Orders) -> None:
        """Note orders for a worker."""
        self.rows_on(worker).obey(orders)
        gone = {(one.trial, one.replica): LINGER for one in orders.leave}
        self.leaving[worker] = {**self.leaving.get(worker, {}), **gone}

    def trained(self, worker: str) -> None:
        """A worker has trained a rung, of whoever it was."""
        left = self.leaving.get(worker, {})
        self.leaving[worker] = {row: rungs - 1 for row, rungs in left.items() if rungs > 1}

    def there(self, worker: str) -> set[RowId]:
        """Rows that a worker may be training."""
        return {spec.row for spec in self.rows_on(worker).specs} | set(self.leaving.get(worker, {}))

    def forget(self, worker: str) -> None:
        """The worker is gone, or none of the sweep's any more."""
        self.leaving.pop(worker, None)
        self.slots.pop(worker, None)
        self.rows.pop(worker, None)
        self.opened.discard(worker)


class PoolShare:
    """Implements `Executor` for one sweep. Its driver calls it from one thread, the pool from another.

    Attributes:
        claim: what the sweep asks of the pool. opening: what workers must know of it.
        notes: the pool's own notes.
        over: all its rows have left.
    """

    def __init__(self, pool: Owner, claim: Claim, opening: Opening) -> None:
        self.claim, self.opening = claim, opening
        self.notes = ShareNotes()
        self.over = threading.Event()
        self._pool = pool
        self._items: deque[ExecutorEvent | WorkerNews] = deque()
        self._error: Exception | None = None
        self._news = threading.Condition()
        self._hear: Callable[[WorkerNews], None] = lambda news: None
        self._running = False
        self._lost: frozenset[str] = frozenset()

    # ------------------------------------------------------------------ the driver's side

    def connect(self) -> None:
        """The pool is there already."""

    def begin(self) -> None:
        """Its workers too."""

    def watch(self, hear: Callable[[WorkerNews], None]) -> None:
        """See `Executor.watch`."""
        self._hear = hear

    def start(self) -> None:
        """Ask for workers; they announce themselves through `poll`."""
        self._running = True
        self._pool.joining(self)

    def order(self, worker: str, orders: Orders) -> None:
        """Queue orders for a worker."""
        if self._running:
            self._pool.ordering(self, worker, orders)

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        """Events since the last call; waits at most `timeout` seconds for the first.

        Raises:
            Exception: what has ended the pool, or keeps this sweep off all its workers.
        """
        end, events = time.monotonic() + timeout, list[ExecutorEvent]()
        if self._lost:  # delivered by the last call; whatever that round had to order is ordered
            self._pool.seeing(self, self._lost)
            self._lost = frozenset()
        while not events:
            items, error = self._next(end)
            for item in items:
                if isinstance(item, WorkerNews):
                    self._hear(item)
                else:
                    events.append(item)
            if error is not None and self._running and not events:
                raise error
            if time.monotonic() >= end:
                break
        self._lost = frozenset(event.worker for event in events if isinstance(event, WorkerLost))
        return events

    def _next(self, end: float) -> tuple[list[ExecutorEvent | WorkerNews], Exception | None]:
        """What has come, waited for until `end`; nothing is held while whoever hears of it takes its time."""
        with self._news:
            if not self._items and self._error is None:
                self._news.wait(max(0.0, end - time.monotonic()))
            items = [*self._items]
            self._items.clear()
            return items, self._error

    def exclude(self, node: str) -> None:
        """Take no more workers on this node."""
        self.notes.excluded.add(node)

    def stop(self, graceful: bool) -> None:
        """Let all rows leave, with their checkpoints kept; graceful waits for the rungs in progress."""
        running, self._running = self._running, False
        if running:
            self._pool.leaving(self)
            if graceful:
                self.over.wait(CLOSE_S)

    # ------------------------------------------------------------------ the pool's side

    def put(self, item: ExecutorEvent | WorkerNews) -> None:
        """Something for the driver."""
        with self._news:
            self._items.append(item)
            self._news.notify()

    def fail(self, error: Exception) -> None:
        """Nothing more will come."""
        with self._news:
            self._error = error
            self._news.notify()
        self.over.set()
