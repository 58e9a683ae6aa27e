"""One worker as its driver sees it: calls in flight, rows on board, orders that wait for the next call."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from rnnsweep.adapters.ray.cluster import Node, ended_process, started_here
from rnnsweep.errors import RnnsweepError
from rnnsweep.sweep.rows import ActiveRows, Orders

IN_FLIGHT = 2
"""Rungs handed to a worker at once: it trains the second while the driver decides on the first."""
CONTROL, NEWS = "control", "news"
"""Groups of an actor's methods that have a thread of their own, beside the one that trains."""
PING_S = 1.0
"""An idle worker is asked so often whether it lives, seconds."""


class WorkerStartError(RnnsweepError):
    """No trainer could be built in any worker; carries the last reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"no worker could start: {reason}")


@dataclass
class WorkerHandle:
    """A worker's queue; calls are answered in the order in which they were made.

    Attributes:
        id: worker id.
        node: where it runs.
        actor: Ray's handle.
        calls: (what, reference), oldest first; what is ``hello``, ``prepare``, ``build``, ``advance`` or ``ping``.
        rows: those that train there, as far as reports and orders say.
        waiting: orders for the next call.
        process: (pid, birth time) once known.
        joined: the trainer is built.
        compiling: it compiles loops, as far as we have heard.
        rungs: how many it has answered.
        told: its newest news, see `WorkerActor.news`.
        news: reference of the call that answers when that changes; None before it is built, and when it is gone.
        answered: when it last answered, or was called while idle; monotonic seconds.
    """

    id: str
    node: Node
    actor: Any
    answered: float
    calls: deque[tuple[str, Any]] = field(default_factory=deque)
    rows: ActiveRows = field(default_factory=ActiveRows)
    waiting: Orders = field(default_factory=Orders)
    process: tuple[int, float] | None = None
    joined: bool = False
    compiling: bool = False
    rungs: int = 0
    told: tuple[bool, int, int] = (False, 0, 0)
    news: Any = None

    def call(self, what: str, now: float, *args: Any) -> None:
        """Put one call into the actor's queue."""
        # silence counts from here: an idle worker owes no answer
        if not self.calls:
            self.answered = now
        self.calls.append((what, getattr(self.actor, what).remote(*args)))

    def listen(self) -> None:
        """Ask to be told when it begins or ends to compile, and how far a long rung is."""
        self.news = self.actor.news.options(concurrency_group=NEWS).remote(self.told)

    def pump(self, now: float) -> None:
        """Keep `IN_FLIGHT` rungs in the queue while there are rows or orders; else ask for a sign of life."""
        # orders alone are reason enough: withdrawals and acknowledgements are to arrive even where nothing trains
        while self.joined and self._advancing() < IN_FLIGHT and (self.rows or not self.waiting.empty):
            orders, self.waiting = self.waiting, Orders()
            self.rows.obey(orders)
            self.call("advance", now, orders)
        if self.joined and not self.calls and now - self.answered >= PING_S:
            self.call("ping", now)

    def last_orders(self) -> Orders:
        """Withdrawals that still wait, if obeying them trains nothing; no orders otherwise."""
        # joins that still wait are dropped: those rows were never begun, and their trials wait for a resume
        self.rows.obey(Orders(leave=self.waiting.leave))
        return Orders() if self.rows else Orders(leave=self.waiting.leave)

    def hung(self, now: float, deadline: float) -> bool:
        """It owes an answer for longer than `deadline` seconds; a worker that waits for a free place owes none."""
        return bool(self.calls) and self.process is not None and now - self.answered > deadline

    def end(self, *, leaving: bool = False) -> None:
        """End its process; `leaving`: with all others.

        A Ray that was started here ends its processes with itself. There nothing is asked of a GCS that has ended, nor,
        by who leaves, about a worker that has not answered yet: it may have been started while the GCS was ending, and
        asked about an actor that it does not know Ray waits for a minute and then ends this process.
        """
        if not (ended_process() or (leaving and self.process is None and started_here())):
            ray.kill(self.actor, no_restart=True)

    def _advancing(self) -> int:
        return sum(what == "advance" for what, _ in self.calls)


def reason_of(error: RayError) -> str:
    """One line: what a person needs to know of Ray's report."""
    cause = getattr(error, "cause", None)
    # raised by our code in the worker; everything else is Ray's account of a death, of which few lines matter
    if isinstance(error, RayTaskError):
        return f"{type(cause).__name__}: {cause}".splitlines()[0] if cause is not None else _last_line(str(error))
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in ("exit type", "node", "memory", "killed"))]
    return f"worker process died: {' '.join((telling or lines)[:2])}"[:500]


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "unknown"
