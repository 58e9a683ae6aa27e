"""The service: takes sweeps from the queue and runs each in a thread of its own, all of them on one pool of workers.

    QUEUED ─ start ─► RUNNING ─ driver ends ─► ENDED | PAUSED          kill -9, start again: RUNNING is resumed

The queue in the ledger is the truth: whatever this process knows is lost with it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from rnnsweep.adapters.ledger.guard import guard_for
from rnnsweep.adapters.ledger.sweep_queue import QueueEntry
from rnnsweep.app.config.load import SweepConfig
from rnnsweep.app.live_display import Watcher
from rnnsweep.app.provenance.sessions import Session
from rnnsweep.app.run import launch as runs
from rnnsweep.app.run.launch import Host
from rnnsweep.app.stores import StorePlace
from rnnsweep.app.worker.factory import trainer_settings
from rnnsweep.errors import FencedError, LockedError, RnnsweepError, StoreError
from rnnsweep.service.desk import Desk
from rnnsweep.service.front import PoolWorker, QueueState
from rnnsweep.sweep.driver import Driver
from rnnsweep.sweep.fair_slots import Claim
from rnnsweep.sweep.pool import Pool
from rnnsweep.sweep.ports import Executor
from rnnsweep.sweep.progress import Progress
from rnnsweep.sweep.rebuild import Reopen
from rnnsweep.sweep.session import Outcome
from rnnsweep.sweep.states import SweepState

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""Between two looks at the queue, seconds."""
AGAIN_S = 5.0
"""Before a sweep is tried again that another driver holds or whose store was away, seconds."""
REMIND_S = 2.0
"""A driver that is to stop is told again after so long, seconds: it may have begun after it was told."""
LEAVE_S, NOW_S = 7.0, 2.0
"""How long drivers have when the service ends, seconds: for the rungs in progress, and to write that they broke off."""
GUARD_S = 15.0
"""A database server needs so long to notice that an earlier service is gone, seconds."""


class ServiceRunningError(RnnsweepError):
    """Another service holds the store."""

    exit_code = 4

    def __init__(self, store: str) -> None:
        self.store = store
        super().__init__(f"the store {store} has a service already; stop that one, or name another --store")


@dataclass(frozen=True)
class Rules:
    """What the service allows.

    Attributes:
        sweeps: most sweeps that run at once.
        user_sweeps: most sweeps of one user that run at once; None: no limit of its own.
    """

    sweeps: int = 16
    user_sweeps: int | None = None


@dataclass
class _Running:
    """A sweep and the thread that drives it."""

    thread: threading.Thread
    driver: Driver | None = None
    share: int = 0
    reminded: float = 0.0
    preparing: ExitStack = field(default_factory=ExitStack)
    result: Outcome | Exception | None = None


class Service(Desk):
    """Implements `Front` in the process that holds the pool; see `run`.

    Args:
        place, config_dirs: see `Desk`.
        pool: of all sweeps; not started.
        rules: how many run at once.
    """

    def __init__(
        self, place: StorePlace, pool: Pool, rules: Rules | None = None, config_dirs: Sequence[Path] = ()
    ) -> None:
        super().__init__(place, config_dirs)
        self.pool, self.rules = pool, rules or Rules()
        self._running: dict[str, _Running] = {}
        self._not_before: dict[str, float] = {}
        self._stop = threading.Event()
        self._guard = guard_for(self.ledger.database, 0)  # sweeps have numbers from 1 on
        self._held = False

    # ------------------------------------------------------------------ from outside

    def workers(self) -> list[PoolWorker]:
        """See `Front.workers`."""
        names = {running.share: name for name, running in list(self._running.items())}
        return [
            PoolWorker(
                use.info.worker,
                use.info.node,
                f"{use.info.device} ({use.info.processor})",
                use.info.slots,
                {names[number]: rows for number, rows in use.rows.items() if number in names},
                use.busy,
            )
            for use in self.pool.use()
        ]

    def interrupt(self) -> int:
        """End the service: sweeps are checkpointed and go on when it is started again. From any thread."""
        self._stop.set()
        return 1

    def run(self) -> None:
        """Serve until `interrupt`.

        Raises:
            ServiceRunningError: the store has a service already.
            Exception: what has ended the pool.
        """
        self.hold()
        self.pool.start()
        try:
            self._recover()
            while not self._stop.wait(LOOK_S) and self.pool.error is None:
                self._look()
        finally:
            self._leave()
            error = self.pool.error
            self.pool.stop(graceful=False)
            self._release()
        if error is not None:
            raise error

    def close(self) -> None:
        """Release the store and the ledger's connections."""
        self._release()
        super().close()

    def _release(self) -> None:
        held, self._held = self._held, False
        if held:
            self._guard.drop()

    # ------------------------------------------------------------------ the queue

    def hold(self) -> None:
        """Take the store, before anybody is let in; `run` does it where it was not done.

        Raises:
            ServiceRunningError: the store has a service already.
        """
        if self._held:
            return
        end = time.monotonic() + (0.0 if self.ledger.database.path else GUARD_S)
        while not self._guard.take():
            if time.monotonic() >= end:
                raise ServiceRunningError(self.place.shown)
            time.sleep(0.5)
        self._held = True

    def _recover(self) -> None:
        """Sweeps that ran when the last service ended go on; those that were to stop have stopped."""
        for entry in self.lines.entries():
            if entry.state == QueueState.RUNNING:
                self.lines.change(entry.name, lambda one: replace(one, state=_after(one), wish=""))

    def _look(self) -> None:
        try:
            self._settle()
            entries = self.lines.entries()
            self._remind(entries)
            self._start_due(entries)
        except StoreError as error:  # all of it is tried again
            log.warning("the ledger is away: %s", error)

    def _start_due(self, entries: Sequence[QueueEntry]) -> None:
        users = Counter(entry.user for entry in entries if entry.name in self._running)
        waiting = [entry for entry in entries if entry.state == QueueState.QUEUED and entry.name not in self._running]
        for entry in sorted(waiting, key=lambda one: (-one.priority, one.submitted)):
            if self._not_before.get(entry.name, 0.0) > time.monotonic():
                continue
            if len(self._running) >= self.rules.sweeps:
                self._say(entry, f"waits: {len(self._running)} sweeps run at once")
            elif self.rules.user_sweeps is not None and users[entry.user] >= self.rules.user_sweeps:
                self._say(entry, f"waits: {users[entry.user]} sweeps of {entry.user or 'nobody'} run")
            else:
                users[entry.user] += 1
                self._start(entry)

    def _say(self, entry: QueueEntry, reason: str) -> None:
        if entry.reason != reason:
            self.lines.change(entry.name, lambda one: replace(one, reason=reason))

    def _start(self, entry: QueueEntry) -> None:
        def alter(one: QueueEntry) -> QueueEntry:  # somebody may have taken it out meanwhile
            return replace(one, state=QueueState.RUNNING, reason="") if one.state == QueueState.QUEUED else one

        changed = self.lines.change(entry.name, alter)
        if changed is None or changed.state != QueueState.RUNNING:
            return
        log.info("starting sweep '%s'", entry.name)
        thread = threading.Thread(target=self._drive, args=(changed,), name=f"sweep {entry.name}", daemon=True)
        self._running[entry.name] = _Running(thread)
        thread.start()

    def _remind(self, entries: Sequence[QueueEntry]) -> None:
        """A driver heeds a stop of its own time only: one that began later has not heard of it."""
        now = time.monotonic()
        for entry in entries:
            running = self._running.get(entry.name)
            if running is not None and entry.wish and now - running.reminded >= REMIND_S:
                running.reminded = now
                self.ledger.post(entry.name, "stop", {"reason": entry.reason})

    # ------------------------------------------------------------------ one sweep

    def _drive(self, entry: QueueEntry) -> None:
        """In the sweep's own thread."""
        running = self._running[entry.name]
        # one after the other until its driver runs: what reads configs and code was made for one thread
        running.preparing.enter_context(self._composing)
        try:
            config = runs.stored_config(self.place, entry.name, list(entry.overrides))
            watcher = _Started(self, entry)
            host = Host(self.ledger, lambda one, session: self._share(entry, one, session), self._note_driver)
            wished = entry.reopen
            reopen = Reopen(wished.get("failed", False), tuple(wished.get("trials", ())), wished.get("extend", False))
            reopen = reopen.narrowed(self.ledger.trials(entry.name)) if reopen.trials else reopen
            running.result = runs.resume(config, reopen, watcher, host=host)
        except Exception as error:
            if not isinstance(error, RnnsweepError):
                log.exception("the driver of sweep '%s' failed", entry.name)
            running.result = error
        finally:
            running.preparing.close()

    def _share(self, entry: QueueEntry, config: SweepConfig, session: Session) -> Executor:
        plan = config.plan
        rows = None if plan.budget.trials is None else plan.budget.trials * plan.replicas
        claim = Claim(0, rows, plan.replicas, entry.weight, entry.priority, entry.user)
        share = self.pool.share(claim, trainer_settings(config, session))
        self._running[entry.name].share = share.claim.number
        return share

    def _note_driver(self, driver: Driver) -> None:
        running = self._running[driver.plan.name]
        running.driver = driver
        running.preparing.close()
        if self._stop.is_set():
            driver.interrupt()

    def _settle(self) -> None:
        """Write down what became of sweeps whose drivers have ended."""
        for name, running in list(self._running.items()):
            if running.thread.is_alive():
                continue
            state, reason = self._fate(name, running.result)
            if state == QueueState.QUEUED:
                self._not_before[name] = time.monotonic() + AGAIN_S
            if not (self._stop.is_set() or self.pool.error is not None):
                state = self._conclude(name, state, reason)
            del self._running[name]
            log.info("sweep '%s' is %s: %s", name, state.value, reason)

    def _conclude(self, name: str, state: QueueState, reason: str) -> QueueState:
        """What the line says now: a wish decides where the sweep stands, as PAUSED."""

        def alter(entry: QueueEntry) -> QueueEntry:
            after = _after(entry) if entry.wish else state
            return replace(entry, state=after, wish="", reason=entry.reason if entry.wish and not reason else reason)

        changed = self.lines.change(name, alter)
        return state if changed is None else QueueState(changed.state)

    def _fate(self, name: str, result: Outcome | Exception | None) -> tuple[QueueState, str]:
        if isinstance(result, LockedError | FencedError | StoreError):
            return QueueState.QUEUED, f"tried again: {result}"
        if not isinstance(result, Outcome):
            return QueueState.ENDED, str(result).splitlines()[0] if str(result) else type(result).__name__
        view = self.ledger.sweep(name)
        # fenced, or a ledger that was away for long: nobody wanted it to end
        if result.exit_code == 4 or view is None or view.state in (SweepState.RUNNING, SweepState.INTERRUPTED):
            return QueueState.QUEUED, f"tried again: {result.reason}"
        return QueueState.ENDED, next(iter(f"{view.state.value}: {result.reason}".splitlines()))

    # ------------------------------------------------------------------ the end

    def _leave(self) -> None:
        """Every sweep is checkpointed and says INTERRUPTED; in the queue it stays RUNNING, for the next service."""
        self._stop.set()
        for seconds in (LEAVE_S, NOW_S):
            end = time.monotonic() + seconds
            for running in self._running.values():
                if running.driver is not None:
                    running.driver.interrupt()
            for running in self._running.values():
                running.thread.join(max(0.0, end - time.monotonic()))
        for name, running in self._running.items():
            if running.thread.is_alive():
                log.warning("sweep '%s' was broken off; it goes on from its checkpoints", name)
            elif (
                self.pool.error is None
                and isinstance(running.result, Outcome)
                and running.result.state is not SweepState.INTERRUPTED
            ):
                with suppress(StoreError):  # it has ended by itself just now
                    self._conclude(name, *self._fate(name, running.result))


def _after(entry: QueueEntry) -> QueueState:
    """Where a sweep stands whose driver is gone."""
    return {"stop": QueueState.ENDED, "pause": QueueState.PAUSED}.get(entry.wish, QueueState.QUEUED)


class _Started(Watcher):
    """Forgets what a resume wished once it is in the ledger: what is raised later must not be lowered again."""

    def __init__(self, desk: Desk, entry: QueueEntry) -> None:
        super().__init__(entry.name)
        self._desk, self._entry, self._pending = desk, entry, bool(entry.overrides or entry.reopen)

    def waiting(self, text: str) -> None:
        """The sweep has ended, and its mirrors have not got all of it yet."""
        log.info("sweep '%s': %s", self.name, text)

    def update(self, progress: Progress) -> None:
        """The first figures come once the driver has written its config."""
        del progress
        if self._pending:
            with suppress(StoreError):
                self._desk.lines.change(self.name, self._heeded)
                self._pending = False

    def _heeded(self, now: QueueEntry) -> QueueEntry:
        """Without what this session began with: wishes of a resume that was asked for meanwhile stay."""
        reopen = {} if now.wish != "again" else now.reopen
        return replace(now, overrides=now.overrides[len(self._entry.overrides) :], reopen=reopen)
