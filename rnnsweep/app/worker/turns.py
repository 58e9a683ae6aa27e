"""Which of a worker's packs trains next, where several sweeps share it: time is given by weight.

Stride scheduling (Waldspurger, Weihl 1995): each pack has a pass, the device time that it has had over its weight, and
the one with the smallest pass is next. A pack's weight is the sum over its rows of their sweep's weight, of which each
row of the sweep here has an equal part: rows of one pack keep one pace, whoever they belong to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from rnnsweep.sweep.rows import Opening

QUANTUM_S = 0.25
"""A turn takes up no further pack after so long, seconds: results and orders wait for its end."""

Key = TypeVar("Key", bound=Hashable)


class PackTurns(Generic[Key]):
    """Remembers how much device time each pack has had.

    Args:
        clock: seconds.
        quantum: see `QUANTUM_S`.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter, quantum: float = QUANTUM_S) -> None:
        self._clock, self._quantum = clock, quantum
        self._passes: dict[Key, float] = {}
        self._weights: dict[Key, float] = {}
        self._begun: set[Key] = set()
        self._now = 0.0

    def turn(self, packs: Mapping[Key, Sequence[int]], sweeps: Mapping[int, Opening]) -> Iterator[Key]:
        """Packs to train now, in order, each once at most; `charge` tells before the next what each has taken.

        All of them where one sweep is alone. Packs with rows of the highest priority alone, where there are several.

        Args:
            packs: the sweep of each row, by pack.
            sweeps: their weights and priorities.
        """
        if len({sweep for rows in packs.values() for sweep in rows}) < 2:
            self._passes.clear()
            yield from packs
            return
        self._weights = _weights(packs, sweeps)
        # whoever comes anew begins where the others are: it has no claim to time before it came
        self._begun &= set(packs)
        first = max(sweeps[sweep].priority for rows in packs.values() for sweep in rows)
        due = [key for key, rows in packs.items() if any(sweeps[sweep].priority == first for sweep in rows)]
        kept = {key: self._passes.get(key, self._now) for key in packs}
        self._passes = {key: kept[key] if key in due else max(kept[key], self._now) for key in packs}
        trained: set[Key] = set()
        began = self._clock()
        while due:
            key = min(due, key=lambda one: (self._passes[one], one in trained))
            # a row has one rung per turn, and the next verdict may end it
            if key in trained or (trained and self._clock() - began >= self._quantum):
                return
            self._now = self._passes[key]
            trained.add(key)
            yield key

    def charge(self, key: Key, seconds: float) -> None:
        """A pack has had so much device time; its first rung is free, in which its loops may be compiled."""
        if key in self._begun and key in self._passes:
            self._passes[key] += seconds / self._weights[key]
        self._begun.add(key)


def _weights(packs: Mapping[Key, Sequence[int]], sweeps: Mapping[int, Opening]) -> dict[Key, float]:
    rows: dict[int, int] = {}
    for owners in packs.values():
        for sweep in owners:
            rows[sweep] = rows.get(sweep, 0) + 1
    each = {sweep: sweeps[sweep].weight / count for sweep, count in rows.items()}
    return {key: sum(each[sweep] for sweep in owners) or 1.0 for key, owners in packs.items()}
