"""Checkpoints of a rung are written side by side, while whatever trains next does so.

    begin ─► a writer: save, then delete what no verdict can need ─► finish: the row's report may go out

A disk, or an object store, takes far longer to say that a file will last than to take it: many at once wait together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import torch

from rnnsweep.app.worker.retrying_store import RetryingStore
from rnnsweep.app.worker.row_in_training import RowInTraining, checkpoint_of
from rnnsweep.core.pack import RowSnapshot
from rnnsweep.errors import StoreError
from rnnsweep.sweep.rows import RowId, RowReport, widened

WRITERS = 16
"""Checkpoints at once."""
CLOSING_S = 5.0
"""How long the end of a trainer waits for what is being written, seconds."""


@dataclass(frozen=True)
class Writing:
    """One checkpoint on its way.

    Attributes:
        row: whose. report: of its rung; nobody hears of it before the checkpoint would outlast a power cut.
    """

    row: RowInTraining
    report: RowReport
    done: Future[None]

    def heard(self) -> RowReport:
        """The report as the driver is to have it; raises what went wrong."""
        self.done.result()
        return widened(self.row.sweep.number, self.report)


class CheckpointWriters:
    """Threads that write checkpoints; of one row one at a time, since each rung is finished before the next begins."""

    def __init__(self) -> None:
        # a thread begins with all of OpenMP's: what is found late may be found here, and libraries would split it
        named = {"thread_name_prefix": "checkpoint", "initializer": torch.set_num_threads, "initargs": (1,)}
        self._pool = ThreadPoolExecutor(WRITERS, **named)
        self._begun: list[Writing] = []

    def begin(
        self, rungs: Sequence[tuple[RowInTraining, RowSnapshot, RowReport]], later: Sequence[Callable[[], None]] = ()
    ) -> None:
        """Write the rung that rows have just trained; what goes into it is taken now, since they train on.

        First `later` is called, by one of the threads: what the host has still to do for these rows' metrics. What that
        raises comes out of each row's `Writing.heard`.
        """
        batch = [(Writing(row, report, Future()), checkpoint_of(row, state)) for row, state, report in rungs]
        self._begun += [one for one, _ in batch]
        # before the rows in the pool's queue: none of them can keep the thread that it needs
        completing = self._pool.submit(_each, tuple(later)) if later else None
        left = iter(batch)  # each thread draws its next row: a task per row would wake a thread for each
        for _ in range(min(WRITERS, len(batch))):
            self._pool.submit(_write, left, completing)

    def wait(self, row: RowId) -> None:
        """Until nobody writes or deletes in the row's folders."""
        wait([one.done for one in self._begun if one.row.spec.row == row])

    def finish(self) -> list[Writing]:
        """Wait for all that were begun; after trouble with a sweep's store there is nothing more of that sweep."""
        begun, self._begun = self._begun, []
        found: list[Writing] = []
        away: set[int] = set()
        for one in begun:
            number = one.row.sweep.number
            # what has not begun is not tried: each would wait for the store as long as the first did
            if number in away and one.done.cancel():
                continue
            error = one.done.exception()
            if number not in away:
                found.append(one)
            if isinstance(error, StoreError):
                away.add(number)
        return found

    def close(self) -> None:
        """Let what is being written end, but not for ever: nobody was told of it."""
        wait([one.done for one in self._begun], CLOSING_S)
        for one in self._begun:
            one.done.cancel()
        self._begun = []
        self._pool.shutdown(cancel_futures=True)


def _each(later: Sequence[Callable[[], None]]) -> None:
    for work in later:
        work()


def _write(left: Iterator[tuple[Writing, Callable[[RetryingStore], None]]], completing: Future[None] | None) -> None:
    """What one thread does of a batch: row after row, until none is left."""
    for one, write in left:
        if not one.done.set_running_or_notify_cancel():
            continue
        try:
            if completing is not None:
                completing.result()
            write(one.row.sweep.store)
        except BaseException as error:  # noqa: BLE001 - whoever waits for the row raises it
            one.done.set_exception(error)
        else:
            one.done.set_result(None)
