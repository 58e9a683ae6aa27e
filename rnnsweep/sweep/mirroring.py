"""Mirrors (MLflow, Optuna) are written from the ledger's journal, behind the driver's back.

    journal ─► pump: one batch ─► mirror ─► cursor      away: the same batch again, later
                                                        one entry refused: noted in the journal, the rest is written

The cursor moves only after a mirror took the entries, so a kill in between repeats them: writing twice is writing once.
A mirror whose store lost what it had (removed, replaced, runs deleted) is written anew from the first entry.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Container, Iterator, Sequence

from rnnsweep.errors import StoreError
from rnnsweep.sweep.clock import Clock
from rnnsweep.sweep.ports import Change, Ledger, Mirror

log = logging.getLogger(__name__)

MOST_REFUSALS = 20
"""Entries in a row that a store may refuse; one that refuses more takes nothing and is waited for as if it was away."""


class MirrorThread:
    """Tails the journal for one mirror; never delays the driver, never gives up on a store that is away.

    Attributes:
        name: the mirror's.
        error: why the mirror is behind, None while all is well.
        failing_since: when that began (monotonic), None while all is well.
        anew: the store had lost something, so that the whole journal was written again.
        refused: trial (None: the sweep itself) and reason of each entry that the store could not take.
        poll_s: seconds between looks at a journal without news.
        longest_s: longest wait after a failure; waits double from `poll_s`.
    """

    def __init__(self, ledger: Ledger, sweep: str, mirror: Mirror, clock: Clock) -> None:
        self.name = mirror.name
        self.error: str | None = None
        self.failing_since: float | None = None
        self.anew = False
        self.refused: list[tuple[int | None, str]] = []
        self.poll_s, self.longest_s = 0.25, 30.0
        self._ledger, self._sweep, self._mirror, self._clock = ledger, sweep, mirror, clock
        self._cursor: int | None = None
        self._skipped: set[int] = set()
        self._refusals = 0
        self._stop, self._wake = threading.Event(), threading.Event()
        # A daemon: a tracking server that hangs must not keep a finished sweep's process alive.
        self._thread = threading.Thread(target=self._run, name=f"mirror {mirror.name}", daemon=True)

    def start(self) -> None:
        """Begin to write in the background."""
        self._thread.start()

    @property
    def started(self) -> bool:
        """Whether it has ever begun to write."""
        return self._thread.ident is not None

    # ------------------------------------------------------------------ one batch

    def pump(self) -> int:
        """Write one batch and move the cursor; returns the number of entries.

        Raises:
            StoreError: the mirror or the ledger is away; the same entries come again.
        """
        if self._cursor is None:
            # in the mirror's thread, not in __init__: it asks the store, which may be slow or away
            self._cursor = self._begin()
        changes = self._ledger.changes(self._sweep, self._cursor, self._mirror.batch)
        if changes:
            # In this order: after a kill between the two the batch is written again, the other way round it would be
            # lost.
            self._write([change for change in changes if change.seq not in self._skipped])
            self._ledger.set_cursor(self._sweep, self.name, changes[-1].seq)
            self._cursor = changes[-1].seq
        return len(changes)

    def _begin(self) -> int:
        """The cursor to go on from, which the ledger has too."""
        cursor = self._ledger.cursor(self._sweep, self.name)
        self._skipped = set(self._ledger.skipped(self._sweep, self.name))
        # Once per session: somebody may have deleted runs or moved the database while no driver was looking.
        taken = entries(self._ledger, self._sweep, self._mirror, cursor, self._skipped)
        if cursor and not self._mirror.holds(taken):
            log.warning("mirror %s has lost some of sweep '%s': it is written anew", self.name, self._sweep)
            self._mirror.start_over()
            self._ledger.set_cursor(self._sweep, self.name, 0)
            self.anew = True
            self._skipped.clear()  # another store, or another version of it, may take them
            return 0
        return cursor

    def _write(self, changes: Sequence[Change], again: bool = True) -> None:
        """Write entries; one that the store cannot take is found by halving, and skipped with its reason."""
        if not changes:
            return
        try:
            self._mirror.write(changes)
            self._refusals = 0
        # the store is away, which says nothing about the entries: halving would skip healthy ones
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a mirror cannot take, the others are written
            if len(changes) > 1:
                self._write(changes[: len(changes) // 2])
                self._write(changes[len(changes) // 2 :])
            elif again:
                self._write(changes, again=False)  # the store may have been changed under the mirror: it looks anew
            else:
                self._skip(changes[0], error)

    def _skip(self, change: Change, error: Exception) -> None:
        reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:300]
        self._refusals += 1
        if self._refusals > MOST_REFUSALS:
            raise StoreError(self.name, f"takes nothing: {reason}") from error
        subject = "the sweep itself" if change.trial is None else f"trial {change.trial}"
        log.warning("mirror %s cannot take an entry of %s, which is left out: %s", self.name, subject, reason)
        self._ledger.skip(self._sweep, self.name, change, reason)
        self._skipped.add(change.seq)
        self.refused.append((change.trial, reason))

    # ------------------------------------------------------------------ the thread

    def written(self) -> bool:
        """Whether the mirror has all of the journal."""
        if self._cursor is None:  # whether its store is still there is not known yet
            return False
        try:
            return not self._ledger.changes(self._sweep, self._ledger.cursor(self._sweep, self.name), 1)
        except StoreError as error:
            self._complain(error)
            return False

    def hurry(self) -> None:
        """Look at the journal now."""
        self._wake.set()

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread, written or not."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        wait = self.poll_s
        while not self._stop.is_set():
            try:
                # read before `pump`: a full batch means that more is waiting, so the next one follows without a pause
                batch = self._mirror.batch
                full = self.pump() == batch
            except Exception as error:  # noqa: BLE001 - whatever a mirror does, the sweep goes on and it is tried again
                self._complain(error)
                # doubling spares a server that is restarting; the bound keeps the delay after its return short
                wait = min(self.longest_s, 2 * wait)
            else:
                self.error, self.failing_since, wait = None, None, self.poll_s
                if full:
                    continue
            self._wake.wait(wait)
            # after the wait: a `hurry` that came during `pump` is kept and cuts the next wait short
            self._wake.clear()
        # in the thread that wrote: database sessions belong to it
        self._close()

    def _complain(self, error: Exception) -> None:
        # one warning per outage, not one per try
        if self.error is None:
            log.warning("mirror %s is behind and will catch up: %s", self.name, error)
            self.failing_since = self._clock.monotonic()
        self.error = str(error)

    def _close(self) -> None:
        try:
            self._mirror.close()
        except Exception as error:  # noqa: BLE001 - everything durable is in the ledger; a mirror can be rebuilt
            self._complain(error)


def drain(
    threads: Sequence[MirrorThread],
    clock: Clock,
    limits: tuple[float, float],
    say: Callable[[str], None],
    leaving: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Wait until all mirrors are written, and stop them; returns the names of those that are behind.

    Ctrl-C ends the wait: nothing is lost, the next session writes the rest.

    Args:
        threads: of all mirrors; they write side by side, so that one that is away costs no other its time.
        clock: of the driver.
        limits: seconds for mirrors that make progress, and for those that are away since.
        say: told what is waited for, where that is longer than a moment.
        leaving: whether Ctrl-C has come; asked, as one that is raised inside a callback is swallowed.
    """
    begin, behind, named = clock.monotonic(), list(threads), set[str]()
    longest, away = limits
    next_word = next_try = begin + 1.0
    try:
        while not leaving() and (behind := [thread for thread in behind if not thread.written()]):
            now = clock.monotonic()
            patient = [t for t in behind if now < begin + (longest if t.failing_since is None else away)]
            if not patient:
                break
            if now >= next_word:
                say(waiting(patient, now - begin, limits))
                named.update(thread.name for thread in patient)
                next_word = now + 10.0
            for thread in behind:
                if thread.error is None or now >= next_try:  # a store that is away is asked once a second
                    thread.hurry()
            next_try = now + 1.0 if now >= next_try else next_try
            clock.sleep(0.05)  # each look costs the mirrors' threads some of their time
    except KeyboardInterrupt:
        say("not waited for: the next resume writes the rest")
    _say_done(sorted(named - {thread.name for thread in behind}), clock.monotonic() - begin, say)
    for thread in threads:
        thread.stop()
    return [thread.name for thread in behind]


def _say_done(names: Sequence[str], waited: float, say: Callable[[str], None]) -> None:
    """Whoever was told to wait hears that it is over."""
    if names:
        say(f"{' and '.join(names)}: written, after {waited:.0f} s")


def waiting(threads: Sequence[MirrorThread], waited: float, limits: tuple[float, float]) -> str:
    """What is waited for, why, how long, and how not to."""
    parts: list[str] = []
    for thread in threads:
        left = limits[0 if thread.failing_since is None else 1] - waited
        why = "is being written" if thread.error is None else f"is away ({thread.error})"
        parts.append(f"{thread.name} {why}, at most {max(1, round(left))} s more")
    return f"{'; '.join(parts)}. Nothing is lost: Ctrl-C ends the wait, the next resume writes the rest."


def up_to_date(ledger: Ledger, sweep: str, mirror: Mirror) -> bool:
    """Whether a mirror has all of the journal, and its store what that brought it; only looks, and disconnects.

    Raises:
        StoreError: the mirror or the ledger is away.
    """
    cursor = ledger.cursor(sweep, mirror.name)
    if not cursor or ledger.changes(sweep, cursor, 1):
        return False
    try:
        return mirror.holds(entries(ledger, sweep, mirror, cursor, set(ledger.skipped(sweep, mirror.name))))
    finally:
        mirror.close()


def entries(
    ledger: Ledger, sweep: str, mirror: Mirror, cursor: int, skipped: Container[int]
) -> Iterator[Sequence[Change]]:
    """Batches of all entries up to the cursor that the mirror has taken."""
    after = 0
    while changes := ledger.changes(sweep, after, mirror.batch):
        yield [change for change in changes if change.seq <= cursor and change.seq not in skipped]
        after = changes[-1].seq
        if after >= cursor:
            return


def rewrite(ledger: Ledger, sweep: str, mirror: Mirror, clock: Clock) -> tuple[bool, list[tuple[int | None, str]]]:
    """Compare a mirror with the ledger, write what it lacks, and disconnect; nobody else may drive the sweep.

    Returns:
        Whether it had to be written anew, and what it could not take (trial and reason).

    Raises:
        StoreError: the mirror or the ledger is away.
    """
    thread = MirrorThread(ledger, sweep, mirror, clock)
    try:
        while thread.pump():
            pass
    finally:
        mirror.close()
    return thread.anew, thread.refused
