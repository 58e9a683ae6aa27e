"""Tables in text files: comma- or tab-separated values, JSON lines, and plain text."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnsweep.core.datasets.file_sizes import check_memory, size_of
from rnnsweep.core.datasets.table_columns import ANY, EXPECTED, Roles, Table, objects, typed, wrong_cell, wrong_file
from rnnsweep.errors import ConfigError

DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_COPIES = 24
"""Bytes in memory per byte of a text file, at most: a cell of two characters is an object of some fifty bytes."""
_BLOCK = 1 << 13
"""Rows that are turned into columns at once."""
_CHOOSE = "task.inputs=[...] reads some columns alone."


def read_separated(file: Path) -> Table:
    """A table from a .csv or .tsv file with a first row of names.

    Raises:
        ConfigError: no UTF-8 text, no names, or a row with more or fewer cells; says which.
    """
    check_memory(file, _COPIES * size_of(file, EXPECTED), EXPECTED)
    reader = csv.reader(_lines(file), delimiter=DELIMITERS[file.suffix.lower()], strict=True)
    columns: dict[str, list[str]] = {}
    numbers: list[int] = []
    try:
        for block in _blocks(file, reader):
            columns = columns or {name: [] for name in block.names}
            numbers += block.numbers
            for column, cells in zip(columns.values(), zip(*block.rows, strict=True), strict=True):
                column += cells
    except csv.Error as error:
        raise wrong_file(file, f"row {reader.line_num} cannot be read: {error}") from None
    if not numbers:
        raise wrong_file(file, "is empty" if not reader.line_num else "has a first row of names and no other")
    found = {name: typed(cells) for name, cells in columns.items()}
    return Table(file, (file,), found, np.zeros(len(numbers), np.int32), np.array(numbers, dtype=np.int64))


@dataclass
class _Block:
    """Some rows with their numbers."""

    names: list[str]
    rows: list[list[str]]
    numbers: list[int]


def _blocks(file: Path, reader: Any) -> Iterator[_Block]:
    """The rows below the names, some at a time: lists of all rows at once keep Python's collector busy."""
    names: list[str] = []
    block = _Block(names, [], [])
    for cells in reader:
        if not cells:
            continue
        if not names:
            names += _names(file, cells, reader.dialect.delimiter)
            continue
        if len(cells) != len(names):
            problem = f"has {len(cells)} cells, the first row has {len(names)}"
            raise wrong_cell(file, reader.line_num, names[min(len(cells), len(names)) - 1], problem)
        block.rows.append(cells)
        block.numbers.append(reader.line_num)
        if len(block.rows) == _BLOCK:
            yield block
            block = _Block(names, [], [])
    if block.rows:
        yield block


def _lines(file: Path) -> Iterator[str]:
    """Lines of a UTF-8 file, with or without a mark at its start."""
    number = 0
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            for number, line in enumerate(stream, 1):
                if "\0" in line:
                    raise wrong_file(file, f"is no text: row {number} has a zero byte")
                yield line
    except UnicodeDecodeError:
        raise wrong_file(file, f"is no UTF-8 text after row {number}", hint="Save it as UTF-8.") from None
    except OSError as error:
        raise wrong_file(file, f"cannot be read ({error.strerror})") from None


def _names(file: Path, cells: Sequence[str], delimiter: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(names) == 1 and (other := next((mark for mark in ";\t|," if mark in names[0]), None)):
        wanted = "commas in a .csv file, tabs in a .tsv file"
        raise wrong_file(file, f"has columns that are separated by {other!r}, not by {delimiter!r}", allowed=wanted)
    if all(_is_number(name) for name in names):
        raise wrong_file(file, "row 1 has numbers where the names of the columns are expected", allowed=None)
    for index, name in enumerate(names):
        if not name:
            hint = "Name it or leave it out; pandas leaves its index out with index=False."
            raise wrong_cell(file, 1, str(index + 1), "has no name", hint=hint)
        if name in names[:index]:
            raise wrong_cell(file, 1, str(index + 1), "is the name of another column too", name)
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_plain(file: Path) -> Table:
    """A table with one row, whose column `text` is all of a .txt file.

    Raises:
        ConfigError: no UTF-8 text, or an empty one.
    """
    check_memory(file, _COPIES * size_of(file, EXPECTED), EXPECTED)
    text = "".join(_lines(file)).replace("\r\n", "\n")
    if not text.strip():
        raise wrong_file(file, "is empty")
    return Table(file, (file,), {"text": objects([text])}, np.zeros(1, np.int32), np.ones(1, np.int64))


def read_json_lines(file: Path, roles: Roles = ANY) -> Table:
    """A table from a .jsonl file: an object per line.

    A line is a sequence where its values are lists, one item per step; what is no list holds for all of its steps. A
    file without lists has a step per line.

    Args:
        file: what is read. roles: of its columns.

    Raises:
        ConfigError: a line is no such object; says which.
    """
    check_memory(file, _COPIES * size_of(file, EXPECTED), EXPECTED)
    found = [(number, _object(file, number, line)) for number, line in enumerate(_lines(file), 1) if line.strip()]
    if not found:
        raise wrong_file(file, "is empty")
    first = found[0][1]
    for number, item in found:
        if item.keys() != first.keys():
            odd = sorted(item.keys() ^ first.keys())[0]
            raise wrong_cell(file, number, odd, "is in this line or in the first one only")
    numbers = [number for number, _ in found]
    return from_records(file, numbers, {name: [item[name] for _, item in found] for name in first}, roles)


def _object(file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        item = json.loads(line)
    except RecursionError:
        raise wrong_file(file, f"row {number} is nested too deep") from None
    except ValueError as error:
        raise wrong_file(file, f"row {number} is no JSON ({error})") from None
    if not isinstance(item, dict) or not item:
        raise wrong_file(file, f"row {number} is no JSON object", allowed='{"name": value, ...} in every row')
    return item


def from_records(file: Path, rows: Sequence[int], records: Mapping[str, Sequence[Any]], roles: Roles = ANY) -> Table:
    """A table from values by column, of which lists are the steps of a sequence.

    Args:
        file: for errors. rows: where each record stands there.
        records: column -> a value per record: number, text, None or true and false, or a list of them.
        roles: of the columns. Lists that nobody asked for are left out where they do not fit.

    Raises:
        ConfigError: lists of a record differ in length or are empty, or a value is of another kind.
    """
    try:
        return _from_all(file, rows, records, roles.beside)
    except ConfigError:
        asked = {
            name: values
            for name, values in records.items()
            if not (roles.may_drop(name) and any(isinstance(value, (list, dict)) for value in values))
        }
        if not asked or len(asked) == len(records):
            raise
    return _from_all(file, rows, asked, roles.beside)


def _from_all(file: Path, rows: Sequence[int], records: Mapping[str, Sequence[Any]], beside: Collection[str]) -> Table:
    records, unfolded = _unfolded(file, rows, records, beside)
    lists = [name for name, values in records.items() if isinstance(values[0], list)]
    lengths = [_steps(file, row, {name: records[name][i] for name in records}, lists) for i, row in enumerate(rows)]
    columns: dict[str, np.ndarray] = {}
    for name, values in records.items():
        flat = [item for value in values for item in value] if name in lists else values
        steps = np.repeat(np.arange(len(rows)), lengths) if name in lists else np.arange(len(rows))
        column = _plain(file, rows, name, flat, steps)
        columns[name] = column if name in lists or not lists else np.repeat(column, lengths)
    total = sum(lengths)
    row = np.repeat(np.array(rows, dtype=np.int64), lengths)
    sequence = np.repeat(np.arange(len(rows), dtype=np.int64), lengths) if lists else None
    names = tuple(map(str, range(len(rows)))) if lists else ()
    return Table(file, (file,), columns, np.zeros(total, np.int32), row, sequence, names, lists=unfolded)


def _unfolded(
    file: Path, rows: Sequence[int], records: Mapping[str, Sequence[Any]], beside: Collection[str]
) -> tuple[dict[str, Sequence[Any]], dict[str, tuple[str, ...]]]:
    """Records in which lists of values of a whole sequence are columns of their own, and their names by list.

    Numbers, as many in each record, become ``name0``, ``name1``, ...; texts, however many, ``name=text`` of each that
    occurs, 1 where it does.
    """
    lists = {name for name, values in records.items() if any(isinstance(value, list) for value in values)}
    steps = next((records[name] for name in records if name in lists and name not in beside), None)
    found: dict[str, Sequence[Any]] = {}
    named: dict[str, tuple[str, ...]] = {}
    for name, values in records.items():
        per_step = steps is not None and all(map(_alike, values, steps))
        if name not in lists or name not in beside or per_step:
            found[name] = values
            continue
        bad = next((i for i, value in enumerate(values) if not isinstance(value, list)), None)
        if bad is not None:
            raise wrong_cell(file, rows[bad], name, "is no list, unlike in other rows", allowed="a list in each row")
        own = _texts(name, values) if any(isinstance(v, str) for value in values for v in value) else None
        own = _numbers(file, rows, name, values) if own is None else own
        named[name] = tuple(own)
        found |= own
    return found, named


def _alike(one: Any, other: Any) -> bool:
    return isinstance(one, list) and isinstance(other, list) and len(one) == len(other)


def _texts(name: str, values: Sequence[Sequence[Any]]) -> dict[str, Sequence[Any]]:
    sets = [{str(item) for item in value} for value in values]
    return {f"{name}={text}": [float(text in one) for one in sets] for text in sorted(set().union(*sets))}


def _numbers(file: Path, rows: Sequence[int], name: str, values: Sequence[Sequence[Any]]) -> dict[str, Sequence[Any]]:
    width = len(values[0])
    for row, value in zip(rows, values, strict=True):
        if len(value) != width or not width:
            problem = f"has {len(value)} values, the first row has {width}"
            raise wrong_cell(file, row, name, problem, allowed="as many in each row, an item per step, or texts")
    return {f"{name}{index}": [value[index] for value in values] for index in range(width)}


def _steps(file: Path, row: int, record: Mapping[str, Any], lists: Sequence[str]) -> int:
    """Steps of a record."""
    for name, value in record.items():
        if isinstance(value, list) != (name in lists):
            raise wrong_cell(file, row, name, f"is {'no' if name in lists else 'a'} list, unlike in the first row")
    if not lists:
        return 1
    steps = len(record[lists[0]])
    for name in lists:
        if len(record[name]) != steps:
            problem = f"has {len(record[name])} steps, {lists[0]} has {steps}"
            raise wrong_cell(file, row, name, problem, allowed="lists of one length in a row", hint=_CHOOSE)
    if not steps:
        raise wrong_cell(file, row, lists[0], "has no step")
    return steps


def _plain(file: Path, rows: Sequence[int], name: str, values: Sequence[Any], record: np.ndarray) -> np.ndarray:
    """A column of JSON values."""
    # what is no number, text, true, false or null has a structure that no rule could unfold
    bad = next((i for i, v in enumerate(values) if not (v is None or isinstance(v, (int, float, str, bool)))), None)
    if bad is not None:
        problem = f"is nested ({type(values[bad]).__name__} at a step)"
        raise wrong_cell(
            file, rows[int(record[bad])], name, problem, allowed="a number or a text at a step", hint=_CHOOSE
        )
    if all(v is None or not isinstance(v, str) for v in values):
        try:
            return np.array([math.nan if v is None else float(v) for v in values], dtype=np.float64)
        except OverflowError:
            return objects(None if v is None else str(v) for v in values)
    return typed([None if v is None else str(v) for v in values])
