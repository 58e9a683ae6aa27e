"""What a trainer says of a rung before it is over: that loops compile, and how far it is where that takes long."""

from __future__ import annotations

import time
from collections.abc import Callable

from rnnsweep.core.recurrence.cpu.compiling import CompileWatch
from rnnsweep.core.training import Watch
from rnnsweep.sweep.ports import NEWS_S


class RungNews:
    """Counts the row-updates of a rung over its packs, which are trained in turn.

    Args:
        tell: see `Trainer.watch`.
        period: seconds between two words about the same rung.
    """

    def __init__(self, tell: Callable[[bool, int], None], period: float = NEWS_S) -> None:
        self._tell, self._period = tell, period
        self._compiling = CompileWatch(lambda compiling: tell(compiling, 0))
        self._before, self._pack = 0, 0
        self._told = time.monotonic()

    def begin_rung(self) -> None:
        """A rung begins; nothing is told of it before it has taken a period."""
        self._before, self._pack, self._told = 0, 0, time.monotonic()

    def begin_pack(self, updates: int) -> Watch:
        """A pack begins that has so many row-updates to do; returns what is to be told which share is done."""
        self._before, self._pack = self._before + self._pack, updates
        return self._within

    def _within(self, share: float) -> None:
        now = time.monotonic()
        if now - self._told >= self._period:
            self._told = now
            self._tell(False, self._before + round(share * self._pack))

    def end(self) -> None:
        """Tell nothing any more."""
        self._compiling.end()
