"""Many simulated workers in one thread, two rungs in flight each, in an order drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable

from rnnsweep.errors import StoreError
from rnnsweep.sweep.ports import ExecutorEvent, RungTrained, Trainer, WorkerJoined, WorkerLost, WorkerNews
from rnnsweep.sweep.rows import Orders

from .trainer import WorkerDeath


class SimExecutor:
    """Workers train the next rung before the driver has seen the last one; dead ones are replaced.

    Args:
        factory: worker id -> trainer.
        workers: how many.
        seed: order of the workers' results, and of random kills.
        kill: probability per trained rung that a worker is killed.
        replace: whether a dead worker is replaced.
    """

    def __init__(
        self,
        factory: Callable[[str], Trainer],
        workers: int = 2,
        seed: int = 0,
        kill: float = 0.0,
        replace: bool = True,
    ) -> None:
        self.factory, self.wanted, self.kill, self.replace = factory, workers, kill, replace
        self.random = random.Random(seed)
        self.trainers: dict[str, Trainer] = {}
        self.orders: dict[str, Orders] = {}
        self.flight: dict[str, RungTrained] = {}
        self.excluded: list[str] = []
        self.kills = 0
        self.stopped: bool | None = None
        self.count = 0
        self._events: list[ExecutorEvent] = []

    def connect(self) -> None: ...

    def begin(self) -> None: ...

    def watch(self, hear: Callable[[WorkerNews], None]) -> None:
        self.hear = hear

    def start(self) -> None:
        for _ in range(self.wanted):
            self.add()

    def add(self) -> None:
        """One more worker joins."""
        worker = f"w{self.count}"
        self.count += 1
        trainer = self.factory(worker)
        if trainer.describe().node in self.excluded:
            return
        self.trainers[worker], self.orders[worker] = trainer, Orders()
        self._events.append(WorkerJoined(trainer.describe()))

    def order(self, worker: str, orders: Orders) -> None:
        if worker in self.trainers:
            self.orders[worker] = self.orders[worker].merged(orders)

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        if not self._events and self.stopped is None and self.trainers:
            self._run(self.random.choice(sorted(self.trainers)))
        events, self._events = self._events, []
        return events

    def _run(self, worker: str) -> None:
        """Train a rung, then deliver the one before: the driver decides one rung behind."""
        before = self.flight.pop(worker, None)
        try:
            if self.random.random() < self.kill:
                self.kills += 1
                raise WorkerDeath("killed")
            orders, self.orders[worker] = self.orders[worker], Orders()
            reports, failures = self.trainers[worker].advance(orders)
        except WorkerDeath as death:
            self.lose(worker, str(death))
            return
        except StoreError as error:
            self.lose(worker, str(error), store=True)
            return
        if before is not None:
            self._events.append(before)
        if reports or failures:
            self.flight[worker] = RungTrained(worker, tuple(reports), tuple(failures))

    def lose(self, worker: str, reason: str, store: bool = False) -> None:
        """A worker is gone, with what was in flight."""
        trainer = self.trainers.pop(worker)
        self.flight.pop(worker, None)
        self._events.append(WorkerLost(worker, trainer.describe().node, reason, store))
        if self.replace:
            self.add()

    def exclude(self, node: str) -> None:
        self.excluded.append(node)

    def stop(self, graceful: bool) -> None:
        self.stopped = graceful
        if graceful:
            self._events.extend(self.flight.values())
            for worker, trainer in self.trainers.items():
                trainer.close()  # its rows are gone, so that only withdrawals are left to obey
                trainer.advance(Orders(leave=self.orders[worker].leave))
        self.flight.clear()
        self.trainers.clear()
