"""Which trials the screen lists, in which order and in which columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rnnsweep.app.results.selection import column_of, searched_keys, short_names, sort, value_of, where
from rnnsweep.app.results.tables import as_typed, score_text
from rnnsweep.errors import printable

Entry = Mapping[str, Any]
HEADS = {"trial": "trial", "state": "state", "step": "step", "value": "objective"}
CLOSING = {"solved_at": "solved", "attempts": "tries", "reason": "reason"}
LONGEST = 40
_COMPARISONS = ("=", "<", ">")


@dataclass(frozen=True)
class Selection:
    """What a user has chosen.

    Attributes:
        by: column to sort by. downwards: the other way round.
        conditions: as `rnnsweep table --where` takes them.
    """

    by: str = "trial"
    downwards: bool = False
    conditions: tuple[str, ...] = ()

    def next_column(self, entries: Sequence[Entry]) -> Selection:
        """The same, sorted by the column to the right."""
        columns = list(columns_of(entries))
        after = columns.index(self.by) + 1 if self.by in columns else 0
        return replace(self, by=columns[after % len(columns)], downwards=False)

    def filtered(self, text: str, entries: Sequence[Entry]) -> Selection:
        """The same, with the conditions of a line; a word alone is a state.

        Raises:
            ConfigError: a condition that says nothing, or a column that is not there.
        """
        words = text.replace(",", " ").split()
        conditions = tuple(word if any(sign in word for sign in _COMPARISONS) else f"state={word}" for word in words)
        where(entries, conditions)
        return replace(self, conditions=conditions)

    def of(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entries that are wanted, in their order."""
        if not entries:
            return []
        by = column_of(self.by, entries, "sort")
        return sort(where(entries, self.conditions), f"-{by}" if self.downwards else by, among=entries)

    def __str__(self) -> str:
        shown = HEADS.get(self.by) or CLOSING.get(self.by) or self.by
        order = f"by {shown}{' ↓' if self.downwards else ''}"
        return order + (f" · only {' '.join(self.conditions)}" if self.conditions else "")


def columns_of(entries: Sequence[Entry]) -> dict[str, str]:
    """Columns and their heads: how a trial stands, what is searched, why it is as it is."""
    names = short_names(searched_keys(entries))
    return {**HEADS, **names, **CLOSING}


def widths(heads: Mapping[str, str], lines: Iterable[Sequence[str]]) -> dict[str, int]:
    """Letters that each column needs; a reason gets no more than `LONGEST`, the details have all of it."""
    needed = {column: len(head) for column, head in heads.items()}
    for line in lines:
        for column, cell in zip(heads, line, strict=True):
            needed[column] = max(needed[column], min(len(cell), LONGEST))
    return needed


def cells(entry: Entry, columns: Sequence[str]) -> list[str]:
    """An entry's cells, short enough for a terminal."""
    return [_cell(entry, column) for column in columns]


def _cell(entry: Entry, column: str) -> str:
    value = value_of(entry, column)
    if column == "value":
        open_ended = entry["objective"] is None and value is not None
        return score_text(entry, value) + ("*" if open_ended else "")
    if column == "reason":
        return printable(str(value or ""))
    return "–" if value is None else printable(as_typed(value, 4))
