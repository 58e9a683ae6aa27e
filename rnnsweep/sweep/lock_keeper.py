"""Keeps the driver's hold on its sweep, and notices when it is gone."""

from __future__ import annotations

import threading

from rnnsweep.errors import FencedError, StoreError
from rnnsweep.sweep.ports import Ledger


class LockKeeper:
    """Renews the lock in a thread of its own, so that a slow sampler does not cost the driver its sweep.

    A ledger that cannot be reached is tried again; whether the hold survived that is for the ledger to say.

    Attributes:
        fenced: another driver has taken over.
    """

    def __init__(self, ledger: Ledger, name: str, fence: int, period: float = 1.0) -> None:
        self.fenced = False
        self._ledger, self._name, self._fence, self._period = ledger, name, fence, period
        self._stop = threading.Event()
        # A daemon, so that a hung database cannot keep a finished process alive; the lock runs out by itself.
        self._thread = threading.Thread(target=self._run, name=f"lock {name}", daemon=True)

    def start(self) -> None:
        """Begin; a period of 0 leaves renewing to the driver's commits."""
        if self._period > 0:
            self._thread.start()

    def check(self) -> None:
        """Raise `FencedError` if the sweep is another driver's by now."""
        # The thread only leaves a flag: an exception raised there would reach nobody, so the driver's own thread
        # raises it.
        if self.fenced:
            raise FencedError(self._name)

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            # bounded: the thread may hang in a connection attempt, and the lock's deadline does the rest
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            try:
                self._ledger.renew(self._name, self._fence)
            except FencedError:
                self.fenced = True
                return
            except StoreError:
                # Not fenced, only unheard: giving up here would end a sweep over a database restart shorter than the
                # deadline.
                continue
