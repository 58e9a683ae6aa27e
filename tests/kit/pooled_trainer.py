"""Several sweeps' simulated trainers in one worker: what a pool's orders open, each with a world of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rnnsweep.errors import StoreError
from rnnsweep.sweep.pooled_rows import CLOSED, MISMATCH, STORE, by_sweep, of_sweep
from rnnsweep.sweep.rows import Opening, Orders, RowFailure, RowReport, WorkerInfo, owner_of, widened

from .trainer import SimTrainer


@dataclass
class PooledSim:
    """Settings of an `Opening` are functions: worker id -> the sweep's simulated trainer.

    Attributes:
        choose: sweeps that train in a turn, of those that have rows; all of them by default.
        turns: (sweep, rows trained) of every turn, in order.
    """

    worker: str
    slots: int = 8
    node: str = "node"
    choose: Callable[[dict[int, Opening]], list[int]] = list
    sweeps: dict[int, SimTrainer] = field(default_factory=dict)
    openings: dict[int, Opening] = field(default_factory=dict)
    turns: list[tuple[int, int]] = field(default_factory=list)

    def describe(self) -> WorkerInfo:
        return WorkerInfo(self.worker, self.node, "cpu", "simulated", self.slots)

    def watch(self, tell: Callable[[bool, int], None]) -> None:
        self.tell = tell

    def close(self) -> None:
        self.sweeps.clear()

    def settle(self) -> tuple[list[RowReport], list[RowFailure]]:
        return [], []

    def advance(self, orders: Orders) -> tuple[list[RowReport], list[RowFailure]]:
        reports: list[RowReport] = []
        failures: list[RowFailure] = []
        for number, opening in orders.open.items():
            try:
                self.sweeps[number], self.openings[number] = opening.settings(self.worker), opening
            except ValueError as error:
                failures.append(of_sweep(number, MISMATCH, str(error)))
        own = split(orders)
        chosen = self.choose({n: self.openings[n] for n, one in self.sweeps.items() if one.rows or own.get(n)})
        for number, trainer in list(self.sweeps.items()):
            given = own.get(number, Orders())
            if number in chosen or not given.empty:
                self._advance(number, trainer, given, reports, failures)
        for number in orders.close:
            self.sweeps.pop(number, None)
            failures.append(of_sweep(number, CLOSED))
        assert sum(len(one.rows) for one in self.sweeps.values()) >= 0
        return reports, failures

    def _advance(
        self,
        number: int,
        trainer: SimTrainer,
        orders: Orders,
        reports: list[RowReport],
        failures: list[RowFailure],
    ) -> None:
        try:
            found, failed = trainer.advance(orders)
        except StoreError as error:
            trainer.rows.clear()
            failures.append(of_sweep(number, STORE, str(error)))
            return
        self.turns.append((number, len(found)))
        reports += [widened(number, report) for report in found]
        failures += [widened(number, failure) for failure in failed]


def split(orders: Orders) -> dict[int, Orders]:
    """A pool's orders by sweep, rows by their numbers within it."""
    found: dict[int, Orders] = {}
    for number, specs in by_sweep(orders.join).items():
        found[number] = replace(found.get(number, Orders()), join=tuple(specs))
    for number, gone in by_sweep(orders.leave).items():
        found[number] = replace(found.get(number, Orders()), leave=tuple(gone))
    for field_name in ("decided", "acknowledged"):
        for (trial, replica), rung in getattr(orders, field_name).items():
            number, own = owner_of(trial)
            before = found.get(number, Orders())
            found[number] = replace(before, **{field_name: {**getattr(before, field_name), (own, replica): rung}})
    return found
