"""Rows of a table as sequences: which rows belong together, and in which order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from rnnsweep.core.datasets.table_columns import Table, as_text


@dataclass(frozen=True, eq=False)
class Sequences:
    """The rows of a table in the order of their sequences, all end to end.

    Attributes:
        table: that they are rows of.
        order: int64 [rows], rows of the table.
        starts: int64 [sequences + 1], where each begins in `order`.
        names: of the sequences, as the file calls them, or numbers from 0.
        named: whether the file calls them so; numbers depend on the order in the file.
    """

    table: Table
    order: np.ndarray
    starts: np.ndarray
    names: tuple[str, ...]
    named: bool

    def __len__(self) -> int:
        return len(self.names)

    def constant(self, name: str, key: str) -> list[str | None]:
        """A column's one value of each sequence, as text; None where it is empty.

        Raises:
            ConfigError: no such column, or a sequence with two values.
        """
        cells = self.table.texts(name, key)
        found: list[str | None] = []
        for start, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            first = cells[self.order[start]]
            other = next((row for row in self.order[start:end] if cells[row] != first), None)
            if other is not None:
                problem = f"differs from {'an empty cell' if first is None else first} at another step of its sequence"
                raise self.table.wrong(other, name, problem, cells[other], allowed="one value per sequence")
            found.append(first)
        return found

    def digests(self) -> list[bytes]:
        """What each sequence is told apart by: its name where the file has one, else its content.

        Neither depends on the order of sequences in the file, nor on which columns are read.
        """
        if self.named:
            return [hashlib.sha256(name.encode()).digest() for name in self.names]
        columns = [self.table.columns[name][self.order] for name in sorted(self.table.columns)]
        found: list[bytes] = []
        for start, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            digest = hashlib.sha256()
            for column in columns:
                cells = column[start:end]
                digest.update(repr(list(cells)).encode() if cells.dtype.kind == "O" else cells.tobytes())
            found.append(digest.digest())
        return found


def arrange(table: Table, group: str | None, time: str | None) -> Sequences:
    """Put the rows of each sequence together, in the order of `time` or else of the file.

    Args:
        table: see `read_table`.
        group: column that says which sequence a row belongs to, within each file of a folder; None: as the files say.
        time: column that rows are sorted by.

    Raises:
        ConfigError: no such column, an empty cell, a time that is none, or two rows of a sequence with the same time.
    """
    which, names, named = _grouped(table, group)
    if time is None:
        order = np.argsort(which, kind="stable")
    else:
        times = _times(table, time)
        order = np.lexsort((times, which))
        same = np.flatnonzero((np.diff(which[order]) == 0) & (times[order][1:] == times[order][:-1]))
        if len(same):
            row = int(order[same[0] + 1])
            other = int(table.row[order[same[0]]])
            hint = "" if group else " task.group says which sequence a row belongs to."
            problem = f"is the time of row {other} too"
            raise table.wrong(
                row, time, problem, as_text(table.columns[time][row]), hint=f"Times are unique in a sequence.{hint}"
            )
    starts = np.searchsorted(which[order], np.arange(len(names) + 1))
    return Sequences(table, order, starts, names, named)


def _grouped(table: Table, group: str | None) -> tuple[np.ndarray, tuple[str, ...], bool]:
    """Number of each row's sequence, by first appearance, the sequences' names, and whether the file names them."""
    if group is None:
        if table.sequence is not None:
            return table.sequence, table.names, table.by_file
        return np.zeros(len(table), dtype=np.int64), ("0",), False
    cells = table.texts(group, "task.group")
    if None in cells:
        raise table.wrong(cells.index(None), group, "is empty", allowed="the name of a sequence in each row")
    numbers: dict[str, int] = {}
    which = np.empty(len(table), dtype=np.int64)
    for row, cell in enumerate(cells):
        outer = f"{table.names[table.sequence[row]]}/" if table.by_file and table.sequence is not None else ""
        which[row] = numbers.setdefault(f"{outer}{cell}", len(numbers))
    return which, tuple(numbers), True


def _times(table: Table, name: str) -> np.ndarray:
    """A column that rows can be sorted by."""
    column = table.column(name, "task.time")
    if column.dtype.kind == "O":
        column = _dates(table, name, column)
    empty = np.isnat(column) if column.dtype.kind == "M" else np.isnan(column)
    if empty.any():
        raise table.wrong(int(np.flatnonzero(empty)[0]), name, "is empty", allowed="a time in each row")
    return column


def _dates(table: Table, name: str, column: np.ndarray) -> np.ndarray:
    found = np.empty(len(column), dtype="datetime64[ns]")
    for row, cell in enumerate(column):
        try:
            found[row] = np.datetime64("NaT") if cell is None else np.datetime64(cell.removesuffix("Z"), "ns")
        except ValueError:
            allowed = "numbers, or dates and times such as 2024-05-31 or 2024-05-31T12:30:00"
            raise table.wrong(row, name, "is no time", cell, allowed=allowed) from None
    return found
