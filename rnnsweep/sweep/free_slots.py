"""How many rows each worker may still take, and which one should be given the next."""

from __future__ import annotations

import heapq

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


class FreeSlots:
    """Free rows by worker: the total, and the emptiest without looking at every worker.

    Attributes:
        total: free rows of all workers together.
    """

    def __init__(self) -> None:
        self.total = 0
        self._free: dict[str, int] = {}
        self._fullness, self._room = _Lowest(), _Lowest()

    def set(self, worker: str, free: int, slots: int, order: int) -> None:
        """A worker has this many of its rows free now."""
        self.forget(worker)
        if free > 0:
            self.total += free
            self._free[worker] = free
            self._fullness.set(worker, (1 - free / slots, -slots, order))
            self._room.set(worker, (-free, 0, order))

    def forget(self, worker: str) -> None:
        """It is gone."""
        self.total -= self._free.pop(worker, 0)
        self._fullness.set(worker, None)
        self._room.set(worker, None)

    def emptiest(self, rows: int) -> str | None:
        """The worker with the smallest part of its rows taken, the largest among equals; None where all are full.

        By parts and not by free rows: how many a processor may hold depends on the memory that was free when it began,
        and of two equal ones the larger would get all rows of a small sweep. Where the emptiest has no room for so many
        `rows`: the one with most.
        """
        name = self._fullness.get()
        return name if name is None or self._free[name] >= rows else self._room.get()
