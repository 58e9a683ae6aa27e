"""What was read of a sweep last, for as long as nothing has been written since: many look, few write."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from rnnsweep.app.stores import StorePlace, reading

_Read = TypeVar("_Read")
LASTS_S = 60.0
"""Seconds after which it is read anew although the ledger says nothing new: MLflow's run ids are not in the journal."""
KEPT = 512


class Recent:
    """Answers about sweeps of a store, each with the state of the ledger that it was made from; safe for threads."""

    def __init__(self, place: StorePlace, now: Callable[[], float] = time.monotonic) -> None:
        self._place, self._now = place, now
        self._answers: OrderedDict[tuple[str, str], tuple[Any, float, Any]] = OrderedDict()
        self._making: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def of(self, sweep: str, kind: str, read: Callable[[], _Read]) -> _Read:
        """What `read` returns, or has returned since the sweep's last change.

        Args:
            sweep: its name.
            kind: what is read of it.
            read: reads it; what it returns must not be changed.
        """
        key, version = (sweep, kind), self._version(sweep)
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:  # of those who ask at once, one reads
            with self._lock:
                known = self._answers.get(key)
            if known is not None and known[0] == version and self._now() - known[1] < LASTS_S:
                return known[2]
            answer = read()
            with self._lock:
                # the version is of before: what came meanwhile is read at the next question
                self._answers[key] = (version, self._now(), answer)
                self._answers.move_to_end(key)
                while len(self._answers) > KEPT:
                    old, _ = self._answers.popitem(last=False)
                    self._making.pop(old, None)
            return answer

    def _version(self, sweep: str) -> Any:
        with reading(self._place) as ledger:
            return None if ledger is None else (ledger.newest(sweep), ledger.driven(sweep))
