"""One worker as its driver sees it: calls in flight, rows on board, orders that wait for the next call."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.adapters.ray.cluster import Node
from rnnsweep.sweep.rows import Orders, RowFailure, RowReport
from rnnsweep.sweep.states import RowState

IN_FLIGHT = 2
"""Rungs handed to a worker at once: it trains the second while the driver decides on the first."""
PING_S = 1.0
"""An idle worker is asked so often whether it lives, seconds."""


@dataclass
class Lane:
    """A worker's queue; calls are answered in the order in which they were made.

    Attributes:
        id: worker id.
        node: where it runs.
        actor: Ray's handle.
        calls: (what, reference), oldest first; what is ``hello``, ``build``, ``advance`` or ``ping``.
        rows: (trial, replica, token) of rows that train there, as far as reports and orders say.
        waiting: orders for the next call.
        process: (pid, birth time) once known.
        joined: the trainer is built.
        heard: when it last answered, or was called while idle; monotonic seconds.
    """

    id: str
    node: Node
    actor: Any
    heard: float
    calls: deque[tuple[str, Any]] = field(default_factory=deque)
    rows: set[tuple[int, int, str]] = field(default_factory=set)
    waiting: Orders = field(default_factory=Orders)
    process: tuple[int, float] | None = None
    joined: bool = False

    def call(self, what: str, now: float, *args: Any) -> None:
        """Put one call into the actor's queue."""
        if not self.calls:
            self.heard = now
        self.calls.append((what, getattr(self.actor, what).remote(*args)))

    def pump(self, now: float) -> None:
        """Keep `IN_FLIGHT` rungs in the queue while there are rows or orders; else ask for a sign of life."""
        while self.joined and self._advancing() < IN_FLIGHT and (self.rows or not self.waiting.empty):
            orders, self.waiting = self.waiting, Orders()
            self._board(orders)
            self.call("advance", now, orders)
        if self.joined and not self.calls and now - self.heard >= PING_S:
            self.call("ping", now)

    def last_orders(self) -> Orders:
        """Withdrawals that still wait, if obeying them trains nothing; no orders otherwise."""
        self.rows.difference_update((w.trial, w.replica, w.token) for w in self.waiting.leave)
        return Orders() if self.rows else Orders(leave=self.waiting.leave)

    def settle(self, reports: list[RowReport], failures: list[RowFailure]) -> None:
        """Let the rows go that ended in a rung."""
        self.rows.difference_update((r.trial, r.replica, r.token) for r in reports if r.state is not RowState.ACTIVE)
        self.rows.difference_update((f.trial, f.replica, f.token) for f in failures)

    def hung(self, now: float, deadline: float) -> bool:
        """It owes an answer for longer than `deadline` seconds; a worker that waits for a free place owes none."""
        return bool(self.calls) and self.process is not None and now - self.heard > deadline

    def _advancing(self) -> int:
        return sum(what == "advance" for what, _ in self.calls)

    def _board(self, orders: Orders) -> None:
        self.rows.difference_update((w.trial, w.replica, w.token) for w in orders.leave)
        self.rows.update((s.trial, s.replica, s.token) for s in orders.join)


def merge(earlier: Orders, later: Orders) -> Orders:
    """Both as one: a row that was to join and is withdrawn before it did is in neither list.

    Example:
        >>> merge(Orders(decided={(0, 0): 3}), Orders(decided={(0, 0): 2, (1, 0): 1})).decided
        {(0, 0): 3, (1, 0): 1}
    """
    gone = {(w.trial, w.replica, w.token) for w in later.leave}
    undone = {key for s in earlier.join if (key := (s.trial, s.replica, s.token)) in gone}
    return Orders(
        join=tuple(s for s in earlier.join if (s.trial, s.replica, s.token) not in undone) + later.join,
        leave=earlier.leave + tuple(w for w in later.leave if (w.trial, w.replica, w.token) not in undone),
        decided=_newest(earlier.decided, later.decided),
        acknowledged=_newest(earlier.acknowledged, later.acknowledged),
    )


def _newest(one: Any, two: Any) -> dict[tuple[int, int], int]:
    return {row: max(one.get(row, 0), two.get(row, 0)) for row in {**one, **two}}
