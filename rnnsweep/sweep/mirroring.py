"""Mirrors (MLflow, Optuna) are written from the ledger's journal, behind the driver's back.

The cursor moves only after a mirror took the entries, so a kill in between repeats them: writing twice is writing once.
A mirror whose store was removed, or replaced by an empty one, is written anew from the first entry.
"""

from __future__ import annotations

import logging
import threading

from rnnsweep.errors import StoreError
from rnnsweep.sweep.clock import Clock
from rnnsweep.sweep.ports import Ledger, Mirror

log = logging.getLogger(__name__)


class MirrorThread:
    """Tails the journal for one mirror; never delays the driver, never gives up.

    Attributes:
        error: why the mirror is behind, None while all is well.
        poll_s: seconds between looks at a journal without news.
        longest_s: longest wait after a failure; waits double from `poll_s`.
    """

    def __init__(self, ledger: Ledger, name: str, mirror: Mirror, clock: Clock) -> None:
        self.error: str | None = None
        self.poll_s, self.longest_s = 0.25, 30.0
        self._ledger, self._name, self._mirror, self._clock = ledger, name, mirror, clock
        self._cursor: int | None = None
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"mirror {mirror.name}", daemon=True)

    def start(self) -> None:
        """Begin to write in the background."""
        self._thread.start()

    def pump(self) -> int:
        """Write one batch and move the cursor; returns the number of entries.

        Raises:
            StoreError: the mirror or the ledger is away; the same entries come again.
        """
        if self._cursor is None:
            self._cursor = self._begin()
        changes = self._ledger.changes(self._name, self._cursor, self._mirror.batch)
        if changes:
            self._mirror.write(changes)
            self._ledger.set_cursor(self._name, self._mirror.name, changes[-1].seq)
            self._cursor = changes[-1].seq
        return len(changes)

    def _begin(self) -> int:
        """The cursor to go on from, which the ledger has too."""
        cursor = self._ledger.cursor(self._name, self._mirror.name)
        if cursor and not self._mirror.known():
            log.warning("mirror %s has nothing of sweep '%s': it is written anew", self._mirror.name, self._name)
            self._ledger.set_cursor(self._name, self._mirror.name, 0)
            return 0
        return cursor

    def drain(self, timeout: float) -> bool:
        """Wait until all entries are written, stop, and close the mirror; False if time ran out before."""
        deadline = self._clock.monotonic() + timeout
        done = self._written()
        while not done and self._clock.monotonic() < deadline:
            self._wake.set()
            self._clock.sleep(0.05)  # each look costs the mirror's thread some of its time
            done = self._written()
        self.stop()
        return done

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread, written or not."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _written(self) -> bool:
        if self._cursor is None:  # whether its store is still there is not known yet
            return False
        try:
            cursor = self._ledger.cursor(self._name, self._mirror.name)
            return not self._ledger.changes(self._name, cursor, 1)
        except StoreError as error:
            self.error = str(error)
            return False

    def _run(self) -> None:
        wait = self.poll_s
        while not self._stop.is_set():
            try:
                batch = self._mirror.batch
                full = self.pump() == batch
            except Exception as error:  # noqa: BLE001 - whatever a mirror does, the sweep goes on and it is tried again
                self._complain(error)
                wait = min(self.longest_s, 2 * wait)
            else:
                self.error, wait = None, self.poll_s
                if full:
                    continue
            self._wake.wait(wait)
            self._wake.clear()
        self._close()

    def _complain(self, error: Exception) -> None:
        if self.error is None:
            log.warning("mirror %s is behind and will catch up: %s", self._mirror.name, error)
        self.error = str(error)

    def _close(self) -> None:
        try:
            self._mirror.close()
        except Exception as error:  # noqa: BLE001 - everything durable is in the ledger; a mirror can be rebuilt
            self._complain(error)
