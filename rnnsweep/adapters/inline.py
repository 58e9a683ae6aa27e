"""Runs one trainer in this very process: no Ray, no other processes, the same `Executor` promises."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable

from rnnsweep.errors import StoreError
from rnnsweep.sweep.ports import (
    ExecutorEvent,
    RungTrained,
    Trainer,
    TrainerFactory,
    WorkerJoined,
    WorkerLost,
    WorkerNews,
)
from rnnsweep.sweep.rows import ActiveRows, Orders, RowFailure, RowReport

log = logging.getLogger(__name__)


class InlineExecutor:
    """One worker inside the driver's process; a rung is trained while the driver polls.

    An exception of the trainer costs the worker with its rows, as a crash would: a fresh trainer takes its place.

    Attributes:
        factory: builds the trainer.
        cores: CPU cores that it may use.
    """

    def __init__(self, factory: TrainerFactory, cores: int = 1) -> None:
        self.factory, self.cores = factory, cores
        self._trainer: Trainer | None = None
        self._count = 0
        self._worker = ""
        self._orders = Orders()
        self._rows = ActiveRows()
        self._events: list[ExecutorEvent] = []
        self._hear: Callable[[WorkerNews], None] = lambda news: None

    def connect(self) -> None:
        """Nobody else is needed."""

    def begin(self) -> None:
        """Nothing takes long."""

    def watch(self, hear: Callable[[WorkerNews], None]) -> None:
        """See `Executor.watch`."""
        self._hear = hear

    def start(self) -> None:
        """Build the trainer; its worker announces itself through `poll`."""
        self._worker = f"inline-{self._count}"
        self._count += 1
        self._trainer = self.factory(self._worker, self.cores)
        self._trainer.watch(lambda *news, worker=self._worker: self._hear(WorkerNews(worker, *news)))
        self._orders, self._rows = Orders(), ActiveRows()
        self._events.append(WorkerJoined(self._trainer.describe()))

    def order(self, worker: str, orders: Orders) -> None:
        """Queue orders for the next rung."""
        if self._trainer is None or worker != self._worker:
            return
        self._orders = self._orders.merged(orders)
        self._rows.obey(orders)

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        """Events since the last call; trains one rung if there is none and rows wait.

        Not with a timeout of 0: then the driver has more rows to order, and what begins together trains together.
        """
        due = self._rows or self._orders.leave or self._orders.close
        if timeout > 0 and not self._events and self._trainer is not None and due:
            self._advance(self._trainer)
        elif not self._events and timeout > 0:
            time.sleep(timeout)
        events, self._events = self._events, []
        return events

    def _advance(self, trainer: Trainer) -> None:
        orders, self._orders = self._orders, Orders()
        try:
            self._tell(*trainer.advance(orders))
        except Exception as error:  # whatever it is, the row that causes it must be found and isolated
            log.exception("the trainer of %s failed", self._worker)
            reason, store = f"{type(error).__name__}: {error}", isinstance(error, StoreError)
            self._events.append(WorkerLost(self._worker, platform.node(), reason, store))
            trainer.close()
            self.start()

    def _tell(self, reports: list[RowReport], failures: list[RowFailure]) -> None:
        self._rows.settle(reports, failures)
        if reports or failures:
            self._events.append(RungTrained(self._worker, tuple(reports), tuple(failures)))

    def _settle(self, trainer: Trainer) -> None:
        try:
            self._tell(*trainer.settle())
        except StoreError as error:  # a resume trains that rung again
            log.warning("the last rung was not saved: %s", error)

    def exclude(self, node: str) -> None:
        """There is no other node: the loss is known to the driver, who asks for this only where others are alive."""
        del node

    def stop(self, graceful: bool) -> None:
        """End the trainer; graceful obeys the last withdrawals first (rungs never stay in progress between polls)."""
        trainer, self._trainer = self._trainer, None
        if trainer is None:
            return
        if graceful:
            self._settle(trainer)
        if graceful and self._orders.leave and not self._orders.join and not self._rows:
            trainer.advance(Orders(leave=self._orders.leave))
        trainer.close()
