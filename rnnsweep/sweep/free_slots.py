"""How many rows each worker may still take, and which one should be given the next."""

from __future__ import annotations

import heapq
from typing import NamedTuple

Key = tuple[float, int, int]


class _Lowest:
    """Workers by a key: the lowest without looking at every worker."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}
        self._heap: list[tuple[Key, str]] = []  # entries that differ from _keys are stale

    def set(self, worker: str, key: Key | None) -> None:
        """A worker has this key now; None forgets it."""
        # Old heap entries are left where they are and recognised as stale when they surface: finding one in a heap
        # costs a scan of all workers.
        before = self._keys.pop(worker, None)
        if key is None:
            return
        self._keys[worker] = key
        if key != before:
            heapq.heappush(self._heap, (key, worker))
            # stale entries under the top never surface by themselves; the rebuild bounds them at constant cost per call
            if len(self._heap) > 4 * len(self._keys) + 64:
                self._heap = [entry for entry in set(self._heap) if self._keys.get(entry[1]) == entry[0]]
                heapq.heapify(self._heap)

    def get(self) -> str | None:
        """The worker with the lowest key; None where there is none."""
        while self._heap and self._keys.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][1] if self._heap else None


class Room(NamedTuple):
    """What a worker has and may take.

    Attributes:
        free: rows that it may still take. rows: that it has.
        at_once: rows that it trains in about the time of one.
        order: when it joined.
    """

    free: int
    rows: int
    at_once: int
    order: int


class FreeSlots:
    """Free rows by worker: the total, and whom to give rows to without looking at every worker.

    Attributes:
        total: free rows of all workers together.
    """

    def __init__(self) -> None:
        self.total = 0
        self._free: dict[str, int] = {}
        self._by_load, self._by_room, self._idle = _Lowest(), _Lowest(), _Lowest()

    def set(self, worker: str, room: Room) -> None:
        """What a worker has and may take now."""
        self.forget(worker)
        if room.free > 0:
            self.total += room.free
            self._free[worker] = room.free
            self._by_load.set(worker, ((room.rows + 1) / room.at_once, -room.free, room.order))
            self._by_room.set(worker, (-room.free, 0, room.order))
            if not room.rows:
                self._idle.set(worker, (-room.at_once, -room.free, room.order))

    def forget(self, worker: str) -> None:
        """It is gone."""
        self.total -= self._free.pop(worker, 0)
        for heap in (self._by_load, self._by_room, self._idle):
            heap.set(worker, None)

    def emptiest(self, rows: int) -> str | None:
        """The worker whose rows would take least time with one more; of equal ones that with most room, then the first.

        Not the one with most room: that depends on the memory that was free when it began, and of two equal processors
        one would get all rows of a small sweep. Where the emptiest has no room for so many `rows`: the one with most.

        Returns:
            None where all are full.
        """
        name = self._by_load.get()
        return name if name is None or self._free[name] >= rows else self._by_room.get()

    def idle(self) -> str | None:
        """The fastest worker without rows; None where all have some."""
        return self._idle.get()
