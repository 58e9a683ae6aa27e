"""Arrays larger than memory: .npy files that are mapped, so that only what a mini-batch reads is ever in memory.

Shapes: R rows, the steps of all sequences end to end · d columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from rnnsweep.core.datasets.dataset_files import KeptReader, locate, states_of
from rnnsweep.core.datasets.file_sizes import check_npy
from rnnsweep.core.datasets.table_arrays import (
    EXPECTED,
    LENGTHS,
    OFFSETS,
    array_files,
    check_kind,
    column_of,
    columns_of,
    is_unpacked,
    placed,
    sequence_lengths,
)
from rnnsweep.core.datasets.table_columns import Table, as_text, largest_allowed, wrong_file
from rnnsweep.core.datasets.table_inputs import BLOCK, InputRecipe, Moments, Scale
from rnnsweep.core.datasets.table_sequences import Sequences
from rnnsweep.errors import ConfigError

MOST_READ = 1 << 25
"""Arrays with more numbers than this are mapped. Smaller ones are read, as float64 and then float32, and lie where the
network is trained."""


@dataclass(frozen=True, eq=False)
class MappedArrays:
    """Arrays with a row per step, on the disk, and a table of those with a row per sequence.

    Attributes:
        path: file or folder.
        steps: name -> array [R, d] as it lies in its file, in whatever type.
        files: of these arrays.
        table: a row per sequence.
        starts: int64 [sequences + 1], row where each begins.
        names: all columns, in the order of the arrays, those of `table` included.
        lists: names that stand for several columns.
    """

    path: Path
    steps: dict[str, np.ndarray]
    files: dict[str, Path]
    table: Table
    starts: np.ndarray
    names: tuple[str, ...]
    lists: dict[str, tuple[str, ...]]

    @cached_property
    def places(self) -> dict[str, tuple[str, int]]:
        """Column with a value per step -> array, and column of it."""
        return {
            column: (name, place) for name in self.steps for place, column in enumerate(self.lists.get(name, (name,)))
        }

    def header(self) -> Table:
        """A table with all columns; those with a value per step have no rows."""
        empty = np.empty(0)
        columns = {name: self.table.columns.get(name, empty) for name in self.names}
        return Table(self.path, self.table.files, columns, self.table.file, self.table.row, lists=self.lists)

    def values(self, columns: Sequence[str], rows: np.ndarray) -> np.ndarray:
        """Float64 [n, d] of the rows int64 [n]."""
        found = np.empty((len(rows), len(columns)))
        # a contiguous run is a slice: no copy before the conversion
        run = len(rows) and int(rows[-1]) - int(rows[0]) + 1 == len(rows) and bool((np.diff(rows) == 1).all())
        where = slice(int(rows[0]), int(rows[-1]) + 1) if run else rows
        for name, array in self.steps.items():
            chosen = [(i, self.places[c][1]) for i, c in enumerate(columns) if self.places.get(c, ("",))[0] == name]
            if chosen:
                to, of = (list(each) for each in zip(*chosen, strict=True))
                found[:, to] = array[where][:, of]
        for i, column in enumerate(columns):
            if column in self.table.columns:
                found[:, i] = self.table.numbers(column, "task.inputs")[self.sequence_of(rows)]
        return found

    def sequence_of(self, rows: np.ndarray) -> np.ndarray:
        """Which sequence each row is of."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def wrong(self, row: int, column: str, problem: str, value: object = None, **words: str) -> ConfigError:
        """The error for one cell of an array with a row per step."""
        sequence = int(self.sequence_of(np.array([row]))[0])
        key = f"sequence {sequence}, step {row - int(self.starts[sequence]) + 1}, column {column}"
        file = self.files[self.places[column][0]] if column in self.places else self.path
        return ConfigError(problem, key=key, value=value, file=str(file), **words)

    def blocks(self, columns: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows int64 [n] and values float64 [n, d], from the first row to the last.

        Raises:
            ConfigError: a value is infinite or too large for float32.
        """
        size, total = max(1, BLOCK // len(columns)), int(self.starts[-1])
        for start in range(0, total, size):
            rows = np.arange(start, min(start + size, total))
            values = self.values(columns, rows)
            large = np.abs(values) > largest_allowed
            if large.any():
                row, column = map(int, np.argwhere(large)[0])
                problem = "is not finite" if np.isinf(values[row, column]) else "is too large for float32"
                shown = float(values[row, column])
                raise self.wrong(start + row, columns[column], problem, shown, allowed="finite numbers")
            yield rows, values

    def constant(self, name: str) -> np.ndarray:
        """A column's one value of each sequence, float64 [sequences].

        Raises:
            ConfigError: a sequence has two.
        """
        found = self.values([name], self.starts[:-1])[:, 0]
        for rows, values in self.blocks([name]):
            first = found[self.sequence_of(rows)]
            other = np.flatnonzero((values[:, 0] != first) & ~(np.isnan(values[:, 0]) & np.isnan(first)))
            if len(other):
                at, shown = int(rows[other[0]]), as_text(float(values[other[0], 0]))
                problem = (
                    f"differs from {as_text(float(first[other[0]])) or 'an empty cell'} at another step of its sequence"
                )
                raise self.wrong(at, name, problem, shown, allowed="one value per sequence")
        return found

    def sequences(self, names: Sequence[str]) -> MappedSequences:
        """The sequences, a row each, with what each has one value of; `names` of columns that must be so."""
        more = {name: self.constant(name) for name in names if name in self.places}
        table = self.table
        columns = {**table.columns, **more}
        count = np.arange(len(table))
        whole = Table(
            table.path, table.files, columns, table.file, table.row, table.sequence, table.names, counted=table.counted
        )
        return MappedSequences(whole, count, np.arange(len(table) + 1), table.names, named=False, mapped=self)


@dataclass(frozen=True, eq=False)
class MappedSequences(Sequences):
    """Sequences whose steps lie on the disk: a row of the table for each.

    Attributes:
        mapped: the steps.
    """

    mapped: MappedArrays = field(kw_only=True)

    def digests(self) -> list[bytes]:
        """Those of `Sequences`: all of the arrays is read once, from the first row to the last."""
        starts, found = self.mapped.starts, list[bytes]()
        size = max(1, BLOCK // max(1, len(self.mapped.places)))
        while len(found) < len(self):
            first = len(found)
            # as many whole sequences as a block holds; a longer one is read column by column
            last = int(np.searchsorted(starts, starts[first] + size, side="right")) - 1
            found += self._short(first, last) if last > first else [self._long(first)]
        return found

    def _short(self, first: int, last: int) -> list[bytes]:
        mapped, starts, start = self.mapped, self.mapped.starts, int(self.mapped.starts[first])
        columns = list(mapped.places)
        block = np.ascontiguousarray(mapped.values(columns, np.arange(start, starts[last])).T)
        steps = dict(zip(columns, block, strict=True))
        return [
            self._digest(i, lambda name, a=int(starts[i]) - start, b=int(starts[i + 1]) - start: [steps[name][a:b]])
            for i in range(first, last)
        ]

    def _long(self, index: int) -> bytes:
        start, end = (int(at) for at in self.mapped.starts[index : index + 2])
        return self._digest(
            index,
            lambda name: (
                self.mapped.values([name], np.arange(at, min(at + BLOCK, end))) for at in range(start, end, BLOCK)
            ),
        )

    def _digest(self, index: int, steps: Callable[[str], Iterable[np.ndarray]]) -> bytes:
        mapped, digest = self.mapped, hashlib.sha256()
        count = int(mapped.starts[index + 1] - mapped.starts[index])
        for name in sorted(mapped.names):
            if name in mapped.places:
                for piece in steps(name):
                    digest.update(piece.tobytes())
                continue
            cells = np.repeat(mapped.table.columns[name][index : index + 1], count)
            digest.update(repr(list(cells)).encode() if cells.dtype.kind == "O" else cells.tobytes())
        return digest.digest()


@dataclass(frozen=True, eq=False)
class MappedRows:
    """Rows that are prepared when they are taken: as those of a table that is in memory, to the bit.

    Attributes:
        mapped: arrays.
        columns: of them.
        recipe: what makes float32 of float64.
    """

    mapped: MappedArrays
    columns: tuple[str, ...]
    recipe: InputRecipe | Scale

    def take(self, index: np.ndarray) -> np.ndarray:
        """Float32 [n, width] of the rows int64 [n]; zeros where it is -1."""
        own = index >= 0
        rows = self.recipe.rows(self.mapped.values(self.columns, index[own]))
        found = np.zeros((len(index), rows.shape[1]), np.float32)
        found[own] = rows
        return found


def fit_mapped(mapped: MappedArrays, columns: Sequence[str], spans: np.ndarray, missing: str) -> Moments:
    """Moments of the training rows, in one pass over all rows that also checks each value.

    Args:
        mapped: arrays.
        columns: of numbers.
        spans: int64 [n, 2], first row and end of what is for training.
        missing: ``error`` refuses gaps.

    Raises:
        ConfigError: a value is empty, infinite or too large, or too far from all of training once it is standardised.
    """
    spans = spans[np.argsort(spans[:, 0])]
    moments = Moments(len(columns))
    # the extremes of all rows and where they are: what overflows float32 is one of them
    ends = np.zeros((2, len(columns)))
    where = np.zeros((2, len(columns)), np.int64)
    for rows, values in mapped.blocks(columns):
        gaps = np.isnan(values)
        if missing == "error" and gaps.any():
            row, column = map(int, np.argwhere(gaps)[0])
            allowed = "a number, or task.missing=zero or mean"
            raise mapped.wrong(int(rows[row]), columns[column], "is empty", allowed=allowed)
        inside = np.searchsorted(spans[:, 0], rows, side="right") - 1
        moments.add(values[(inside >= 0) & (rows < spans[inside, 1])])
        filled = np.where(gaps, 0.0, values)
        for side, at in enumerate((filled.argmin(0), filled.argmax(0))):
            most = filled[at, np.arange(len(columns))]
            beyond = most < ends[0] if side == 0 else most > ends[1]
            ends[side], where[side] = np.where(beyond, most, ends[side]), np.where(beyond, rows[at], where[side])
    moments.finish()
    with np.errstate(over="ignore"):
        scaled = moments.scale().rows(ends)
    if np.isinf(scaled).any():
        side, column = map(int, np.argwhere(np.isinf(scaled))[0])
        problem, allowed = "is too large for float32 once it is standardised", "numbers like those for training"
        shown = float(ends[side, column])
        raise mapped.wrong(int(where[side, column]), columns[column], problem, shown, allowed=allowed)
    return moments


def mapped_files(path: str | None) -> list[Path]:
    """The .npy files of a path that may be mapped: one, or those of an unpacked archive; else none."""
    place = locate(path, "", EXPECTED) if path is not None else None
    if place is None or not (is_unpacked(place) or (place.suffix.lower() == ".npy" and place.is_file())):
        return []
    return array_files(place)


def _opened(path: str | None) -> MappedArrays | None:
    files = mapped_files(path)
    shapes = [check_npy(file, EXPECTED, in_memory=False)[0] for file in files]
    if sum(int(np.prod(shape, dtype=object)) for shape in shapes) <= MOST_READ:
        return None
    place = locate(path, "", EXPECTED)
    named = {"x" if place == file else file.stem: file for file in files}
    arrays = {name: np.load(file, mmap_mode="r", allow_pickle=False) for name, file in named.items()}
    lengths = sequence_lengths(place, arrays)
    steps: dict[str, np.ndarray] = {}
    columns: dict[str, np.ndarray] = {}
    names: list[str] = []
    lists: dict[str, tuple[str, ...]] = {}
    for name, array in arrays.items():
        if name in (LENGTHS, OFFSETS):
            continue
        check_kind(named[name], name, array)
        if not array.flags.c_contiguous:
            allowed = "C order, as numpy.ascontiguousarray makes it, for arrays that do not fit into memory"
            raise wrong_file(named[name], "is in Fortran order", allowed)
        rows, per_step = placed(place, name, array, lengths)
        if per_step and array.dtype.kind in "US":
            allowed = f"numbers, in arrays with more than {MOST_READ:,} values"
            raise wrong_file(named[name], "holds texts with one for each step", allowed)
        own = columns_of(name, rows.shape[1])
        names += own
        lists |= {name: own} if own != (name,) else {}
        if per_step:
            steps[name] = rows
        else:
            columns |= dict(zip(own, (column_of(rows[:, i]) for i in range(len(own))), strict=True))
    count = np.arange(len(lengths))
    table = Table(
        place,
        (place,),
        columns,
        np.zeros(len(count), np.int32),
        count,
        count,
        tuple(map(str, count)),
        counted="sequence",
    )
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return MappedArrays(place, steps, {name: named[name] for name in steps}, table, starts, tuple(names), lists)


open_mapped = KeptReader(_opened, lambda path: states_of(mapped_files(path)), most=2)
"""The arrays of a path, one mapping per process; None where they are not mapped. Raises as reading does."""
