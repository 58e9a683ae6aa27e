"""Columns of a user's file in long form, a step per row, whatever kind of file they came from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnnsweep.errors import ConfigError, nearest

FOLDER = "folder"
"""Column of a folder's files: the sub-folder that a file lies in."""
EXPECTED = (
    "a .csv, .tsv, .parquet, .npz, .npy or .jsonl file, a folder of such files, or a folder that `datasets` has saved"
)
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""What an empty cell may be written as, in lower case."""
_EXACT = 2.0**53
"""Whole numbers from here on are not exact as float64: they are kept as text, for they are names."""

largest_allowed = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Roles:
    """What columns are for, as far as reading a file depends on it.

    Attributes:
        beside: columns whose lists may be several values of a whole sequence, not its steps: unless each has an item
            per step.
        used: all columns that are asked for by name; None: whatever there is. Others may be what cannot be read.
    """

    beside: tuple[str, ...] = ()
    used: frozenset[str] | None = None

    def may_drop(self, name: str) -> bool:
        """Whether a column is one that nobody asked for."""
        return self.used is not None and name not in self.used


ANY = Roles()
"""No column is for anything yet."""


@dataclass(frozen=True, eq=False)
class Table:
    """Columns, all of one length.

    Attributes:
        path: what was read.
        files: that it was read from.
        columns: name -> float64 with NaN, datetime64[ns] with NaT, or texts with None where a cell is empty.
        file: int32 [rows], which of `files` a row comes from.
        row: int64 [rows], where it stands there, from 1, as an editor or a table viewer counts; of arrays the number of
            its sequence, from 0.
        sequence: int64 [rows], where the files themselves say what is a sequence; else None.
        names: of these sequences.
        by_file: whether each file is one of them, and gives it its name; else names are numbers.
        counted: what `row` counts, for errors: ``row``, ``sequence`` of arrays, or ``item`` of a data set.
        lists: names that stand for several columns, such as an array's.
    """

    path: Path
    files: tuple[Path, ...]
    columns: dict[str, np.ndarray]
    file: np.ndarray
    row: np.ndarray
    sequence: np.ndarray | None = None
    names: tuple[str, ...] = ()
    by_file: bool = False
    counted: str = "row"
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def __len__(self) -> int:
        return len(self.row)

    def wrong(self, row: int, column: str, problem: str, value: object = None, **words: Any) -> ConfigError:
        """The error for one cell; `row` counts in this table from 0, the error says where it stands in its file."""
        where = f"{self.counted} {self.row[row]}"
        if self.sequence is not None and not self.by_file:
            # a row of the file is a sequence: which of its steps?
            where += f", step {row - int(np.searchsorted(self.sequence, self.sequence[row])) + 1}"
        key = f"{where}, column {column}"
        return ConfigError(problem, key=key, value=value, file=str(self.files[self.file[row]]), **words)

    def column(self, name: str, key: str) -> np.ndarray:
        """A column.

        Raises:
            ConfigError: there is none of that name; `key` is the config's that names it.
        """
        if name not in self.columns:
            known = tuple(self.columns)
            problem = f"{self.path} has no such column"
            raise ConfigError(problem, key=key, value=name, allowed=known, hint=nearest(str(name), known))
        return self.columns[name]

    def unfolded(self, names: Iterable[str]) -> tuple[str, ...]:
        """Names of columns, where some may stand for several."""
        return tuple(column for name in names for column in self.lists.get(name, (name,)))

    def is_number(self, name: str) -> bool:
        """Whether a column holds numbers only."""
        return self.columns[name].dtype.kind == "f"

    def numbers(self, name: str, key: str) -> np.ndarray:
        """A column as float64, NaN where a cell is empty.

        Raises:
            ConfigError: there is no such column, or a cell is no number, or not finite.
        """
        column = self.column(name, key)
        if column.dtype.kind == "M":
            raise self.wrong(0, name, "is a time", str(column[0]), allowed="numbers; times as task.time")
        if column.dtype.kind == "O":
            at = next(i for i, cell in enumerate(column) if cell is not None and not is_number(cell))
            hint = "Numbers have a decimal point, no comma." if has_decimal_comma(column[at]) else None
            raise self.wrong(at, name, "is no number", column[at], allowed="numbers, or an empty cell", hint=hint)
        if (np.abs(column) > largest_allowed).any():
            at = int(np.flatnonzero(np.abs(column) > largest_allowed)[0])
            problem = "is not finite" if np.isinf(column[at]) else "is too large for float32"
            raise self.wrong(at, name, problem, float(column[at]), allowed="finite numbers")
        return column

    def texts(self, name: str, key: str) -> list[str | None]:
        """A column as text, None where a cell is empty; whole numbers without a point."""
        return [as_text(cell) for cell in self.column(name, key)]


def wrong_cell(file: Path, row: int, column: str, problem: str, value: object = None, **words: Any) -> ConfigError:
    """The error for a cell: file, row, column, value, what is wrong and what is allowed."""
    return ConfigError(problem, key=f"row {row}, column {column}", value=value, file=str(file), **words)


def wrong_file(file: Path, problem: str, allowed: str | None = EXPECTED, hint: str | None = None) -> ConfigError:
    """The error for a file as a whole."""
    return ConfigError(problem, key="task.path", value=str(file), allowed=allowed, hint=hint)


def as_text(cell: Any) -> str | None:
    """A cell as the name of a class, group or part.

    Example:
        >>> as_text(3.0), as_text(2.5), as_text("a"), as_text(float("nan"))
        ('3', '2.5', 'a', None)
    """
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(float(cell))
    return str(cell)


def is_number(text: Any) -> bool:
    """Whether a cell reads as a number that float64 holds."""
    try:
        return abs(float(text)) < _EXACT or not str(text).strip().lstrip("-").isdigit()
    except (TypeError, ValueError):
        return False


def has_decimal_comma(text: Any) -> bool:
    """Whether a cell is a number as it is written in many countries.

    Example:
        >>> has_decimal_comma("-3,5"), has_decimal_comma("3.5"), has_decimal_comma("a,5")
        (True, False, False)
    """
    return isinstance(text, str) and text.count(",") == 1 and is_number(text.replace(",", "."))


def typed(cells: Sequence[str | None]) -> np.ndarray:
    """A column of cells as they are written: float64 where all are numbers or empty, else texts with None.

    Example:
        >>> typed(["1", "", "2.5"]).tolist(), typed(["1", "x"]).tolist()
        ([1.0, nan, 2.5], ['1', 'x'])
    """
    try:
        # the fast way; it knows "nan" and "inf", but no other word for an empty cell
        values = np.array(cells, dtype=np.float64)
    except (TypeError, ValueError):
        values = None
    if values is not None and not (np.abs(values) >= _EXACT).any():
        return values
    plain = [None if cell is None or cell.strip().lower() in MISSING else cell.strip() for cell in cells]
    if all(cell is None or is_number(cell) for cell in plain) and any(cell is not None for cell in plain):
        return np.array([math.nan if cell is None else float(cell) for cell in plain], dtype=np.float64)
    return objects(plain)


def objects(cells: Iterable[Any]) -> np.ndarray:
    """A column of texts."""
    items = list(cells)
    column = np.empty(len(items), dtype=object)
    column[:] = items
    return column


def joined(path: Path, parts: Sequence[Table], names: Sequence[str] = ()) -> Table:
    """Several files as one table; each file is a sequence where `names` are given.

    Raises:
        ConfigError: a file has other columns than the first, or another kind of one.
    """
    if len(parts) == 1 and not names:
        return parts[0]
    first = parts[0]
    for part in parts[1:]:
        if set(part.columns) != set(first.columns):
            odd = sorted(set(part.columns) ^ set(first.columns))[0]
            problem = f"has other columns than {first.files[0].name}: {odd} is in one of them only"
            raise wrong_file(part.files[0], problem, allowed="files with the same columns")
    columns = {name: _one_kind([part.columns[name] for part in parts]) for name in first.columns}
    sizes = [len(part) for part in parts]
    sequence, named = _sequences(parts, names)
    by_file = bool(names) and all(part.sequence is None for part in parts)
    files = tuple(file for part in parts for file in part.files)
    which = np.repeat(np.arange(len(parts), dtype=np.int32), sizes)
    row = np.concatenate([part.row for part in parts])
    return Table(path, files, columns, which, row, sequence, named, by_file, first.counted, first.lists)


def _sequences(parts: Sequence[Table], names: Sequence[str]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Sequences of several files together: those of each file, or each file one."""
    own = [part.sequence for part in parts if part.sequence is not None]
    if len(own) == len(parts):
        starts = np.cumsum([0, *(len(part.names) for part in parts)])
        sequence = np.concatenate([each + start for each, start in zip(own, starts, strict=False)])
        prefix = names or [""] * len(parts)
        named = [f"{p}/{n}" if p else n for p, part in zip(prefix, parts, strict=True) for n in part.names]
        return sequence, tuple(named)
    if not names:
        return None, ()
    return np.repeat(np.arange(len(parts), dtype=np.int64), [len(part) for part in parts]), tuple(names)


def _one_kind(columns: Sequence[np.ndarray]) -> np.ndarray:
    kinds = {column.dtype.kind for column in columns}
    # empty everywhere in one file and numbers in another: numbers; numbers and texts: texts
    if kinds == {"f", "O"}:
        return typed([as_text(cell) for column in columns for cell in column])
    if len(kinds) == 1:
        return np.concatenate(columns)
    return objects(as_text(cell) for column in columns for cell in column)
