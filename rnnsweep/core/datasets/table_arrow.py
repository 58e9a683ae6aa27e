"""Tables in Arrow's files: Parquet, and folders that Hugging Face's `datasets` has saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnsweep.core.datasets.file_sizes import check_memory, check_unpacked, size_of
from rnnsweep.core.datasets.table_columns import ANY, EXPECTED, Roles, Table, joined, objects, wrong_cell, wrong_file
from rnnsweep.core.datasets.table_text_files import from_records
from rnnsweep.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow

_COPIES = 8
"""Bytes in memory per byte of an Arrow file, at most: single bytes become float64."""
SPLIT = "split"
"""Column of a saved dict of data sets: the name of the data set, such as train or test."""


def read_parquet(file: Path, roles: Roles = ANY) -> Table:
    """A table from a .parquet file: a step per row, or a sequence per row where columns hold lists.

    Raises:
        ConfigError: no Parquet file, no rows, or a column of another kind.
    """
    import pyarrow.parquet  # here: half a second, and other tasks do without

    size = size_of(file, EXPECTED)
    try:
        with pyarrow.parquet.ParquetFile(file) as opened:
            groups = range(opened.metadata.num_row_groups)
            unpacked = sum(opened.metadata.row_group(index).total_byte_size for index in groups)
            check_unpacked(file, size, unpacked, EXPECTED)
            check_memory(file, _COPIES * opened.metadata.num_rows * opened.metadata.num_columns, EXPECTED)
            found = opened.read()
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - torn, encrypted, of an unknown compression: pyarrow has many classes
        raise wrong_file(file, f"is no readable Parquet file ({_first_line(error)})") from None
    return _from_arrow(file, found, roles)


def is_saved(folder: Path) -> bool:
    """Whether `datasets` has saved a data set, or a dict of them, in this folder."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def saved_files(folder: Path) -> list[Path]:
    """The files that hold the data; sorted."""
    return sorted(folder.rglob("*.arrow"))


def read_saved(folder: Path, roles: Roles = ANY) -> Table:
    """A table from what `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote.

    A dict's data sets come with a column `split` that names each.

    Raises:
        ConfigError: no readable Arrow files, no rows, or a column of another kind.
    """
    parts = list(_saved_parts(folder, roles))
    if not parts:
        raise wrong_file(folder, "holds no .arrow file")
    return joined(folder, parts)


def _saved_parts(folder: Path, roles: Roles) -> Iterator[Table]:
    dictionary = (folder / "dataset_dict.json").is_file()
    for file in saved_files(folder):
        table = _from_arrow(file, _stream(file), roles)
        if dictionary and SPLIT not in table.columns:
            table.columns[SPLIT] = objects([file.relative_to(folder).parts[0]] * len(table))
        yield table


def _stream(file: Path) -> pyarrow.Table:
    import pyarrow

    check_memory(file, _COPIES * size_of(file, EXPECTED), EXPECTED)
    try:
        with pyarrow.memory_map(str(file)) as mapped:
            return pyarrow.ipc.open_stream(mapped).read_all()
    except Exception as error:  # noqa: BLE001 - as above
        raise wrong_file(file, f"is no readable Arrow file ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _from_arrow(file: Path, table: pyarrow.Table, roles: Roles) -> Table:
    import pyarrow

    if not table.num_rows or not table.num_columns:
        raise wrong_file(file, "has no rows")
    names = list(table.column_names)
    if len(set(names)) < len(names):
        raise wrong_file(file, "has two columns of one name")
    kinds = {name: table.schema.field(name).type for name in names}
    names = [name for name in names if _takes(kinds[name]) or not roles.may_drop(name)]
    for name in names:
        kind = kinds[name]
        if not _takes(kind):
            allowed = "numbers, texts, times, true and false, or lists of numbers or texts"
            raise ConfigError(f"is {kind}", key=f"column {name}", file=str(file), allowed=allowed)
    rows = range(1, table.num_rows + 1)
    if any(pyarrow.types.is_nested(kinds[name]) for name in names):
        records = {name: _read(file, name, table.column(name), lambda column: column.to_pylist()) for name in names}
        for name, values in records.items():
            empty = next((i for i, v in enumerate(values) if v is None), None)
            if empty is not None and pyarrow.types.is_nested(kinds[name]) and not roles.may_drop(name):
                raise wrong_cell(file, empty + 1, name, "is empty", allowed="a list with an item for each step")
        return from_records(file, rows, records, roles)
    columns = {name: _read(file, name, table.column(name), _column) for name in names}
    return Table(file, (file,), columns, np.zeros(len(rows), np.int32), np.array(rows, dtype=np.int64))


def _read(file: Path, name: str, column: pyarrow.ChunkedArray, how: Callable[[pyarrow.ChunkedArray], Any]) -> Any:
    """A column, whose bytes may be of another kind than its type says."""
    try:
        return how(column)
    except Exception as error:  # noqa: BLE001 - texts are decoded, and times converted, only here
        problem = f"cannot be read ({_first_line(error)})"
        raise ConfigError(problem, key=f"column {name}", file=str(file)) from None


def _takes(kind: Any, nested: bool = True) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _takes(kind.value_type, nested=False)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return nested and _takes(kind.value_type, nested=False)
    plain = (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string)
    return any(test(kind) for test in (*plain, types.is_decimal, types.is_null)) or (nested and _is_time(kind))


def _is_time(kind: Any) -> bool:
    from pyarrow import types

    return types.is_timestamp(kind) or types.is_date(kind)


def _column(column: pyarrow.ChunkedArray) -> np.ndarray:
    import pyarrow
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if _is_time(kind):
        return column.cast(pyarrow.timestamp("ns")).to_numpy().astype("datetime64[ns]")
    if types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind):
        return objects(column.to_pylist())
    if types.is_boolean(kind):
        column = column.cast(pyarrow.int8())
    if types.is_integer(kind) and _beyond(column):
        return objects(None if value is None else str(value) for value in column.to_pylist())
    return column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)


def _beyond(column: pyarrow.ChunkedArray) -> bool:
    """Whether some whole number is not exact as float64."""
    from pyarrow import compute

    ends = compute.call_function("min_max", [column]).as_py()
    return any(end is not None and abs(end) >= 2**53 for end in ends.values())
