"""Sorted lists that are kept up to date, so that no ask or verdict has to look at a whole history."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import Any


class Order:
    """Distinct comparable items in order.

    Adding and removing shift a list in memory: a few microseconds at a hundred thousand items.
    """

    def __init__(self) -> None:
        self._items: list[Any] = []

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._items)

    def add(self, item: Any) -> None:
        """Put an item in its place."""
        insort(self._items, item)

    def drop(self, item: Any) -> None:
        """Take an item out; nothing happens where it is not in."""
        place = bisect_left(self._items, item)
        if place < len(self._items) and self._items[place] == item:
            del self._items[place]

    def first(self, count: int) -> Sequence[Any]:
        """The first items, at most `count`."""
        return self._items[: max(0, count)]

    def last(self, count: int) -> Sequence[Any]:
        """The last items, at most `count`, in order."""
        return self._items[max(0, len(self._items) - count) :]

    def below(self, item: Any) -> int:
        """How many are less than `item`."""
        return bisect_left(self._items, item)
