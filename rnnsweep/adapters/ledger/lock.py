"""Which driver may write a sweep.

Three layers, from certain to quick:

1. **Fence.** Every acquisition raises the sweep's fencing token, and every transaction of a driver checks its token
   while it holds the lock's row. Whoever was taken over writes nothing any more, whatever made it slow.
2. **Heartbeat.** The holder raises a counter every second. A waiting driver takes over when it has *itself watched*
   the counter stand still for the deadline (5 s): no two clocks are compared, so skew does no harm. A look counts only
   if the database could be written at that moment, and for one second at most: while a third process keeps the
   database locked, or while the watcher itself sleeps, nobody's deadline runs out.
3. **Guard.** A file lock (SQLite) or advisory lock (PostgreSQL) that dies with its holder. Getting the file lock of a
   holder that had it proves its death: taken at once. A free advisory lock may also mean a broken connection: it
   halves the deadline. A guard that is *not* free never keeps anybody out: a stopped process keeps it, and the
   heartbeat decides. The same goes for a dead PID on this machine: taken at once.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import sqlalchemy as sa

from rnnsweep.adapters.ledger import lock_holder
from rnnsweep.adapters.ledger.codec import damage_told
from rnnsweep.adapters.ledger.database import BusyError, Database
from rnnsweep.adapters.ledger.guard import Guard, guard_for
from rnnsweep.adapters.ledger.schema import locks
from rnnsweep.errors import FencedError, LockedError

DEADLINE = 5.0
"""Seconds without a heartbeat after which a driver counts as gone."""

_POLL = 0.1
_LOOK = 1.0  # s, the most that one look at an unchanged counter counts
_SILENT = 60.0  # s, a heartbeat so old is no sign of life, even between clocks that differ a little
_MISSED = 1.5  # s, a holder that is silent for longer has missed a heartbeat: worth waiting for its deadline

_FENCE = sa.select(locks.c.fence, locks.c.holder).where(locks.c.sweep == sa.bindparam("of")).with_for_update()
"""Made once: it runs in every transaction of a driver, and building it costs more than running it."""


class _Watch:
    """How long a holder's counter has stood still before our eyes."""

    def __init__(self) -> None:
        self._mark: object = None
        self._looked = 0.0
        self.silent = 0.0

    def look(self, mark: object) -> None:
        now = time.monotonic()
        # our own clock only, and capped: a laptop that slept for an hour has watched nothing
        self.silent = self.silent + min(now - self._looked, _LOOK) if mark == self._mark else 0.0
        self._mark, self._looked = mark, now


class SweepLocks:
    """Locks of all sweeps of one ledger, as one process sees them; safe for threads."""

    def __init__(self, database: Database, deadline: float = DEADLINE) -> None:
        self._database, self._deadline = database, deadline
        self._guards: dict[tuple[int, int], Guard] = {}  # by sweep and fence
        self._mutex = threading.RLock()

    def acquire(self, sweep: int, name: str, holder: str, timeout: float) -> int:
        """Take the lock; returns the new fencing token.

        Gives up after `timeout`, unless the holder has missed a heartbeat by then: its deadline is awaited, so that
        any timeout of two seconds or more tells a dead driver from a living one.

        Raises:
            LockedError: names the holder.
        """
        me, watch, guard = lock_holder.this_process(holder), _Watch(), guard_for(self._database, sweep)
        end, other = time.monotonic() + timeout, "unknown"
        while True:
            try:
                fence, other = self._database.write(lambda c: self._attempt(c, sweep, me, guard, watch), timeout)
            except BusyError:  # the holder may be stopped within a transaction: nobody can take over from it
                guard.drop()
                raise LockedError(name, self._holder(sweep)) from None
            if fence:
                with self._mutex:
                    self._guards[sweep, fence] = guard
                return fence
            if time.monotonic() >= end and watch.silent < _MISSED:
                raise LockedError(name, other)
            time.sleep(_POLL)

    def _attempt(
        self, connection: sa.Connection, sweep: int, me: dict[str, Any], guard: Guard, watch: _Watch
    ) -> tuple[int, str]:
        """(new fence, "") or (0, who holds it)."""
        # FOR UPDATE (PostgreSQL): a holder's commit and a takeover exclude each other; SQLite's BEGIN IMMEDIATE does
        # the same
        row = connection.execute(sa.select(locks).where(locks.c.sweep == sweep).with_for_update()).one()
        other = self._read(row.holder) if row.holder else None
        if other and other["nonce"] == me["nonce"]:  # an earlier attempt of ours was committed after all
            return row.fence, ""
        if other and not self._gone(row, other, guard, watch):
            guard.drop()
            return 0, lock_holder.display(other)
        values = {"fence": row.fence + 1, "holder": json.dumps(me), "beat": 0, "guarded": guard.take()}
        connection.execute(locks.update().where(locks.c.sweep == sweep).values(**values, renewed_at=time.time()))
        return row.fence + 1, ""

    def _gone(self, row: sa.Row[Any], other: dict[str, Any], guard: Guard, watch: _Watch) -> bool:
        watch.look((row.fence, row.beat))
        if lock_holder.known_dead(other):
            return True
        # only where the holder is known to have had it: a free guard of one that never got it says nothing
        let_go = row.guarded and guard.take()
        if let_go and guard.decisive:
            return True
        return watch.silent >= (self._deadline / 2 if let_go else self._deadline)

    def _holder(self, sweep: int) -> str:
        text = self._database.read(
            lambda c: c.execute(sa.select(locks.c.holder).where(locks.c.sweep == sweep)).scalar()
        )
        return f"{lock_holder.display(self._read(text)) if text else 'unknown'}; the database is locked"

    def _read(self, text: str) -> dict[str, Any]:
        with damage_told(self._database.display_url):
            holder = json.loads(text)
            return {**holder, **{key: holder[key] for key in ("holder", "host", "pid", "machine", "nonce")}}

    def held(self, sweep: int) -> bool:
        """Whether a living process seems to hold the sweep, without writing or waiting.

        On this machine that is certain; of others we know when they were last heard, by their clocks.
        """
        query = sa.select(locks.c.holder, locks.c.renewed_at).where(locks.c.sweep == sweep)
        row = self._database.read(lambda c: c.execute(query).one_or_none())
        if row is None or row.holder is None or lock_holder.known_dead(self._read(row.holder)):
            return False
        return time.time() - row.renewed_at < _SILENT

    def check(self, connection: sa.Connection, sweep: int, name: str, fence: int) -> None:
        """Raise `FencedError` unless `fence` holds the sweep; keeps other drivers out until the transaction ends."""
        row = connection.execute(_FENCE, {"of": sweep}).one()
        if row.fence != fence or row.holder is None:
            self._drop_guard(sweep, fence)  # the new holder may want it
            raise FencedError(name)

    def renew(self, sweep: int, name: str, fence: int) -> None:
        """Heartbeat; also gets the guard if a predecessor that was stopped still had it at acquisition."""
        self._database.write(lambda c: self._beat(c, sweep, name, fence))

    def _beat(self, connection: sa.Connection, sweep: int, name: str, fence: int) -> None:
        self.check(connection, sweep, name, fence)
        with self._mutex:
            guard = self._guards.setdefault((sweep, fence), guard_for(self._database, sweep))
            values = {"beat": locks.c.beat + 1, "guarded": guard.take(), "renewed_at": time.time()}
        connection.execute(locks.update().where(locks.c.sweep == sweep).values(**values))

    def release(self, sweep: int, fence: int) -> None:
        """Give the lock back; nothing happens where it is another's by now."""
        # the fence stays: the next holder's must be greater than every one before
        free = locks.update().where(locks.c.sweep == sweep, locks.c.fence == fence).values(holder=None, guarded=False)
        self._database.write(lambda c: c.execute(free))
        self._drop_guard(sweep, fence)

    def close(self) -> None:
        """Drop all guards, as the end of this process would."""
        with self._mutex:
            for key in list(self._guards):
                self._drop_guard(*key)

    def _drop_guard(self, sweep: int, fence: int) -> None:
        with self._mutex:
            guard = self._guards.pop((sweep, fence), None)
            if guard:
                guard.drop()
