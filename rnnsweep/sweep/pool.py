"""One pool of workers for several sweeps: each driver has an executor of its own, and sees rows of its own only.

    driver ── orders ──► share ─┐                          ┌─► worker: packs of rows, whoever they belong to
    driver ── orders ──► share ─┼─► pool ─► inner executor ┼─► worker
    driver ◄─ its events ─ share┘                          └─► worker

The pool's thread alone touches the inner executor. How many rows a sweep may have where is `fair_slots`' to say; whose
turn it is within a worker is the trainer's. A sweep that is to have fewer rows is told so (`WorkerResized`): its driver
withdraws some, which go on from their checkpoints when there is room.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from rnnsweep.errors import MismatchError
from rnnsweep.sweep.fair_slots import Claim, Limits, fair_slots
from rnnsweep.sweep.pool_share import PoolShare
from rnnsweep.sweep.pooled_rows import CLOSED, MISMATCH, STORE, WHOLE, by_sweep, widened_orders
from rnnsweep.sweep.ports import (
    Executor,
    ExecutorEvent,
    RungTrained,
    WorkerJoined,
    WorkerLost,
    WorkerNews,
    WorkerResized,
)
from rnnsweep.sweep.rows import Opening, Orders, RowFailure, RowReport, Withdrawal, WorkerInfo
from rnnsweep.sweep.suspects import Suspects

log = logging.getLogger(__name__)

POLL_S = 0.03
"""Longest wait for an event while orders may come, seconds."""
BALANCE_S = 2.0
"""Places that a sweep does not use are lent to others after so long, seconds."""
RETURN_S = 2.0
"""A worker on which a sweep's store failed is offered to it again after so long, seconds."""
BUSY_S = 60.0
"""The time over which a worker's use is counted, seconds."""


@dataclass(frozen=True)
class WorkerUse:
    """A worker of a pool at one moment.

    Attributes:
        info: as it introduced itself. rows: in training, by number of the sweep.
        busy: share of the last minute in which it trained.
    """

    info: WorkerInfo
    rows: Mapping[int, int]
    busy: float


@dataclass
class _Worker:
    info: WorkerInfo
    joined: float
    trained: deque[tuple[float, float]] = field(default_factory=deque[tuple[float, float]])

    def busy(self, now: float) -> float:
        """Share of the last minute, or of its life where that is shorter."""
        while self.trained and now - self.trained[0][0] > BUSY_S:
            self.trained.popleft()
        spent = sum(seconds for _, seconds in self.trained)
        return min(1.0, spent / max(1e-9, min(BUSY_S, now - self.joined)))


class Pool:
    """Shares the workers of one executor between sweeps that come and go.

    Args:
        inner: what runs the trainers; the pool starts and stops it.
        limits: most rows of one sweep and of one user.
        clock: monotonic seconds.
    """

    def __init__(
        self, inner: Executor, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._inner, self._limits, self._clock = inner, limits or Limits(), clock
        self._requests: deque[tuple[PoolShare, Callable[[], None]]] = deque()
        self._shares: dict[int, PoolShare] = {}
        self._workers: dict[str, _Worker] = {}
        self._suspects = Suspects()
        self._count, self._counting = 0, threading.Lock()
        self._balanced = 0.0
        self._used: tuple[WorkerUse, ...] = ()
        self._stop, self._graceful = threading.Event(), True
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="pool", daemon=True)

    # ------------------------------------------------------------------ from outside

    def start(self) -> None:
        """Reach what the inner executor needs, and bring its workers up in the background.

        Raises:
            ConfigError: a cluster cannot be reached, or one worker needs more cores than there are.
        """
        self._inner.connect()
        self._inner.watch(self._news)
        self._inner.begin()
        self._thread.start()

    def stop(self, graceful: bool = True) -> None:
        """End all workers; shares that are left see no more events. Drivers are stopped first."""
        self._graceful = graceful
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def share(self, claim: Claim, settings: object) -> PoolShare:
        """An executor for one more sweep; `claim.number` is given here.

        Args:
            claim: what the sweep asks for.
            settings: what workers must know of it, see `Opening`.
        """
        with self._counting:
            self._count += 1
            numbered = replace(claim, number=self._count)
        return PoolShare(self, numbered, Opening(settings, claim.weight, claim.priority))

    @property
    def error(self) -> Exception | None:
        """What has ended the pool; None while it runs."""
        return self._error

    def use(self) -> tuple[WorkerUse, ...]:
        """The workers as they are now; from any thread."""
        return self._used

    # ------------------------------------------------------------------ requests of shares

    def joining(self, share: PoolShare) -> None:
        """See `pool_share.Owner`."""
        self._request(share, lambda: self._join(share))

    def ordering(self, share: PoolShare, worker: str, orders: Orders) -> None:
        """See `pool_share.Owner`."""
        self._request(share, lambda: self._order(share, worker, orders))

    def leaving(self, share: PoolShare) -> None:
        """See `pool_share.Owner`."""
        self._request(share, lambda: self._leave(share))

    def seeing(self, share: PoolShare, lost: frozenset[str]) -> None:
        """See `pool_share.Owner`."""
        self._request(share, lambda: self._offer_again(share, lost))

    def _request(self, share: PoolShare, work: Callable[[], None]) -> None:
        self._requests.append((share, work))
        if self._error is not None:  # nobody takes it up any more
            share.fail(self._error)

    # ------------------------------------------------------------------ the pool's thread

    def _run(self) -> None:
        try:
            self._inner.start()
            while not self._stop.is_set():
                self.step(POLL_S)
        except Exception as error:
            log.exception("the pool of workers has ended")
            self._error = error
        finally:
            error = self._error or RuntimeError("the pool of workers was stopped")
            try:
                self._inner.stop(self._graceful and self._error is None)
            finally:
                self._error = error
                # whoever asks from now on sees the error; who has asked before is still in line
                for share in [*self._shares.values(), *(share for share, _ in self._requests)]:
                    share.fail(error)

    def step(self, timeout: float) -> None:
        """Take what shares ask, then what workers say; waits at most `timeout` seconds for that."""
        self._take_requests()
        for event in self._inner.poll(timeout):
            self._take(event)
        if self._clock() - self._balanced >= BALANCE_S:
            self._balance()

    def _take_requests(self) -> None:
        while self._requests:
            _, work = self._requests.popleft()
            work()

    def _join(self, share: PoolShare) -> None:
        self._shares[share.claim.number] = share
        self._balance()

    def _order(self, share: PoolShare, worker: str, orders: Orders) -> None:
        notes, number = share.notes, share.claim.number
        # a worker that is gone, for all or for this sweep: its loss is on its way to the driver
        if worker not in self._workers or worker not in notes.slots or notes.closing is not None:
            return
        opening = None if worker in notes.opened else share.opening
        notes.opened.add(worker)
        notes.obey(worker, orders)
        self._inner.order(worker, widened_orders(number, orders, opening))

    def _offer_again(self, share: PoolShare, lost: frozenset[str]) -> None:
        notes = share.notes
        notes.not_before.update((worker, self._clock() + RETURN_S) for worker in lost & set(notes.not_before))

    def _leave(self, share: PoolShare) -> None:
        """All rows leave in one message with the end of the sweep, which each worker confirms."""
        number, notes = share.claim.number, share.notes
        if number not in self._shares:
            share.over.set()
            return
        notes.closing = notes.opened & set(self._workers)
        for worker in sorted(notes.closing):
            specs = notes.rows_on(worker).specs
            gone = tuple(Withdrawal(spec.trial, spec.replica, spec.token) for spec in specs)
            self._inner.order(worker, replace(widened_orders(number, Orders(leave=gone)), close=(number,)))
        self._end_if_over(share)

    def _end_if_over(self, share: PoolShare) -> None:
        if share.notes.closing is not None and not share.notes.closing:
            self._shares.pop(share.claim.number, None)
            self._suspects.forget(share.claim.number)
            share.over.set()
            self._balance()

    # ------------------------------------------------------------------ what workers say

    def _take(self, event: ExecutorEvent) -> None:
        match event:
            case WorkerJoined():
                self._workers[event.info.worker] = _Worker(event.info, self._clock())
                self._balance()
            case WorkerLost():
                self._lost(event)
            case RungTrained():
                self._trained(event)
            case WorkerResized():
                raise AssertionError(f"an inner executor does not share: {event}")

    def _lost(self, event: WorkerLost) -> None:
        self._workers.pop(event.worker, None)
        rows = {number: share.notes.there(event.worker) for number, share in self._shares.items()}
        held = {number: there for number, there in rows.items() if there}
        self._suspects.died(held)
        for number, share in list(self._shares.items()):
            told = event.worker in share.notes.slots
            self._forget(share, event.worker)
            if told:
                # shared too where it had no row there yet, whatever its driver has ordered meanwhile
                share.put(replace(event, shared=held.keys() != {number}))
        self._balance()

    def _forget(self, share: PoolShare, worker: str) -> None:
        share.notes.forget(worker)
        share.notes.refused.pop(worker, None)
        share.notes.not_before.pop(worker, None)
        if share.notes.closing is not None:
            share.notes.closing.discard(worker)
            self._end_if_over(share)

    def _trained(self, event: RungTrained) -> None:
        reports, failures = by_sweep(event.reports), by_sweep(event.failures)
        worker = self._workers.get(event.worker)
        if worker is not None:
            worker.trained.append((self._clock(), sum(report.device_s for report in event.reports)))
        for share in self._shares.values():
            share.notes.trained(event.worker)
        for number in {**reports, **failures}:
            share = self._shares.get(number)
            if share is not None:  # else it has left, and not waited for the rest
                self._deliver(share, event.worker, reports.get(number, []), failures.get(number, []))

    def _deliver(self, share: PoolShare, worker: str, reports: list[RowReport], failures: list[RowFailure]) -> None:
        notes = share.notes
        notes.device_s += sum(report.device_s for report in reports)
        whole = [failure for failure in failures if failure.replica == WHOLE]
        own = [failure for failure in failures if failure.replica != WHOLE]
        notes.rows_on(worker).settle(reports, own)
        self._suspects.trained(share.claim.number, [report.row for report in reports])
        if reports or own:
            share.put(RungTrained(worker, tuple(reports), tuple(own)))
        for word in whole:
            self._heed(share, worker, word)

    def _heed(self, share: PoolShare, worker: str, word: RowFailure) -> None:
        """What a worker says of a whole sweep."""
        notes = share.notes
        if word.kind == CLOSED:
            if notes.closing is not None:
                notes.closing.discard(worker)
                self._end_if_over(share)
            return
        known = self._workers.get(worker)
        # told twice where two of its packs could not be written in one turn
        if known is None or worker not in notes.slots:
            return
        self._let_go(share, worker)
        if word.kind == MISMATCH:
            notes.refused[worker] = MismatchError(worker, [word.reason])
            notes.opened.discard(worker)
        notes.not_before[worker] = math.inf  # until its driver knows: orders of before are for the worker of before
        share.put(WorkerLost(worker, known.info.node, word.reason, store=word.kind == STORE, shared=True))
        if notes.refused and set(notes.refused) >= set(self._workers):
            share.fail(next(iter(notes.refused.values())))

    def _let_go(self, share: PoolShare, worker: str) -> None:
        """A worker is none of the sweep's for now: rows that were to join it leave, before it is offered again."""
        notes = share.notes
        specs = notes.rows_on(worker).specs
        gone = tuple(Withdrawal(spec.trial, spec.replica, spec.token) for spec in specs)
        self._inner.order(worker, widened_orders(share.claim.number, Orders(leave=gone)))
        notes.slots.pop(worker, None)
        notes.rows.pop(worker, None)

    def _news(self, news: WorkerNews) -> None:
        """Called by the inner executor's `poll`. Updates within a rung are those of all sweeps: only for one alone."""
        there = [share for share in self._shares.values() if len(share.notes.rows_on(news.worker))]
        for share in there:
            share.put(news if len(there) == 1 else replace(news, updates=0))

    # ------------------------------------------------------------------ who may have how many rows

    def _balance(self) -> None:
        """Tell each sweep how many rows it may have where, as far as that has changed."""
        self._balanced = now = self._clock()
        active = {number: share for number, share in self._shares.items() if share.notes.closing is None}
        rooms = {name: max(1, worker.info.slots) for name, worker in self._workers.items()}
        barred = self._suspects.barred(list(rooms), active)
        claims = [
            replace(claim, barred=barred.get(number, frozenset()) | self._closed_to(active[number], now))
            for number, claim in self._claims(active, sum(rooms.values()), now).items()
        ]
        for worker, slots in fair_slots(rooms, claims, self._limits).items():
            for number, rows in slots.items():
                self._tell(active[number], worker, rows, now)
        self._used = tuple(
            WorkerUse(one.info, self._rows_on(name), one.busy(now)) for name, one in self._workers.items()
        )

    def _rows_on(self, worker: str) -> dict[int, int]:
        rows = {number: len(share.notes.rows_on(worker)) for number, share in self._shares.items()}
        return {number: count for number, count in rows.items() if count}

    def _tell(self, share: PoolShare, worker: str, rows: int, now: float) -> None:
        told = share.notes.slots.get(worker)
        # a place that was never there need not be refused
        if told == rows or (told is None and not rows):
            return
        if told is None:
            share.put(WorkerJoined(replace(self._workers[worker].info, slots=rows)))
        else:
            share.put(WorkerResized(worker, rows))
        share.notes.slots[worker] = rows
        share.notes.since = share.notes.since or now

    def _closed_to(self, share: PoolShare, now: float) -> frozenset[str]:
        """Workers that a sweep must not have now."""
        notes = share.notes
        return frozenset(
            name
            for name, worker in self._workers.items()
            if name in notes.refused
            or notes.not_before.get(name, 0.0) > now
            or (worker.info.node in notes.excluded and name not in notes.slots)
        )

    def _claims(self, active: Mapping[int, PoolShare], room: int, now: float) -> dict[int, Claim]:
        """What sweeps ask for; where that is more than there is, not more than they have shown to use."""
        claims = {number: share.claim for number, share in active.items()}
        wanted = sum(room if claim.rows is None else min(room, claim.rows) for claim in claims.values())
        if wanted <= room:
            return claims
        return {number: self._used_claim(share, now) for number, share in active.items()}

    def _used_claim(self, share: PoolShare, now: float) -> Claim:
        notes, claim = share.notes, share.claim
        if notes.since is None or now - notes.since < BALANCE_S:
            return claim
        held = sum(notes.slots.values())
        used = sum(len(rows) for rows in notes.rows.values())
        # room for one more trial: who takes that up is offered its full part at the next look
        if used + claim.replicas > held:
            return claim
        return replace(claim, rows=min(used + claim.replicas, claim.rows or used + claim.replicas))
