"""Sequences of a map-style `torch.utils.data.Dataset` as a table: whoever has one need not write files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from rnnsweep.core.datasets.dataset_files import KeptReader, states_of
from rnnsweep.core.datasets.table_columns import Table, objects
from rnnsweep.errors import ConfigError, RnnsweepError
from rnnsweep.loader import fault, load_code

KEY = "task.path"
INPUTS, WANTED = "x", "y"
"""What the two parts of an item (x, y) are called."""
EXPECTED = (
    "(x, y) with x [steps, d] or [steps]; x alone; or a dict of such arrays, numbers and texts, with one array for the "
    "steps at least"
)


@dataclass(frozen=True)
class DatasetSource:
    """A class, or a function that returns one of its objects, and what it is called with.

    Attributes:
        target: ``package.module.Class``.
        arguments: JSON of the keyword arguments, so that this can be a key of caches.
    """

    target: str
    arguments: str = "{}"

    @classmethod
    def of(cls, block: Any) -> DatasetSource:
        """Of a block of a config.

        Raises:
            ConfigError: it names no code.
        """
        if not isinstance(block, Mapping) or not isinstance(block.get("_target_"), str):
            raise ConfigError("names no data set", key=KEY, value=block, allowed="a block with a _target_")
        arguments = {name: value for name, value in block.items() if name != "_target_"}
        return cls(block["_target_"], json.dumps(arguments, sort_keys=True))

    def block(self) -> dict[str, Any]:
        """As a config has it."""
        return {"_target_": self.target, **json.loads(self.arguments)}

    def states(self) -> str:
        """Size and time of writing of the files and folders that its arguments name: what is kept is kept for these."""
        named = [value for value in json.loads(self.arguments).values() if isinstance(value, str)]
        places = [Path(os.path.expanduser(value)) for value in named if os.path.exists(os.path.expanduser(value))]
        files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*")))]
        return states_of(files)


def read_dataset(source: DatasetSource) -> Table:
    """All items, each a sequence; columns are called after the items' parts, with a number where one has several.

    An array with a row per step in every item is read per step; any other holds for all steps of its item.

    Raises:
        ConfigError: the code cannot be imported or fails, or an item is not as it should be; says which.
    """
    return _kept(source)[0]


def digest(source: DatasetSource) -> str:
    """SHA-256 of the content of all items, whatever files they come from."""
    return _kept(source)[1]


def _read(source: DatasetSource) -> tuple[Table, str]:
    data = _made(source)
    items = [_item(source, data, index) for index in range(_length(source, data))]
    _check_steady(source, data, items)
    table = _table(source, items)
    return table, _content(table)


_kept = KeptReader(_read, DatasetSource.states, most=2)


def _made(source: DatasetSource) -> Any:
    made = load_code(source.target, KEY)
    try:
        data = made(**json.loads(source.arguments))
    except RnnsweepError:
        raise
    except Exception as error:
        raise fault(error, "cannot be made", KEY, source.target, _module(source)) from error
    if isinstance(data, torch.utils.data.IterableDataset) or not (
        hasattr(data, "__getitem__") and hasattr(data, "__len__")
    ):
        allowed = "a map-style torch.utils.data.Dataset, with __len__ and __getitem__"
        raise ConfigError("is no such data set", key=f"{KEY}._target_", value=source.target, allowed=allowed)
    return data


def _module(source: DatasetSource) -> str:
    return source.target.rpartition(".")[0]


def _length(source: DatasetSource, data: Any) -> int:
    try:
        length = len(data)
    except Exception as error:
        raise fault(error, "has no length", KEY, source.target, _module(source)) from error
    if not length:
        raise ConfigError("is empty", key=KEY, value=source.target, allowed="items")
    return length


def _item(source: DatasetSource, data: Any, index: int) -> dict[str, Any]:
    """Parts of an item by name: arrays [...], numbers and texts."""
    try:
        item = data[index]
    except Exception as error:
        raise fault(error, f"item {index} cannot be read", KEY, source.target, _module(source)) from error
    if isinstance(item, Mapping):
        named = {str(name): value for name, value in cast("Mapping[Any, Any]", item).items()}
    elif isinstance(item, (tuple, list)) and len(cast("Sequence[Any]", item)) == 2:
        named = dict(zip((INPUTS, WANTED), cast("Sequence[Any]", item), strict=True))
    elif isinstance(item, (torch.Tensor, np.ndarray)):
        named = {INPUTS: item}
    else:
        raise _wrong(source, index, f"is {_kind(item)}")
    parts = {name: _part(source, index, name, value) for name, value in named.items()}
    if not any(isinstance(value, np.ndarray) for value in parts.values()):
        raise _wrong(source, index, "has no array with a row per step")
    return parts


def _kind(value: Any) -> str:
    size = f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
    return f"a {type(value).__name__}{size}"


def _part(source: DatasetSource, index: int, name: str, value: Any) -> Any:
    """An array of float64 or texts with one or two axes, a float, a text or None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, torch.Tensor):
        # float64 here: numpy knows no bfloat16
        value = value.detach().cpu().to(torch.float64 if value.is_floating_point() else value.dtype).numpy()
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        raise _wrong(source, index, f"has a ragged {name}") from None
    if array.dtype.kind not in "fiubU" or array.ndim > 2 or 0 in array.shape:
        raise _wrong(source, index, f"has {name} of {array.dtype} {list(array.shape)}")
    if array.dtype.kind != "U":
        array = array.astype(np.float64)
    return array if array.ndim else array.item()


def _wrong(source: DatasetSource, index: int, problem: str, allowed: str = EXPECTED) -> ConfigError:
    return ConfigError(f"item {index} {problem}", key=KEY, value=source.target, allowed=allowed)


def _check_steady(source: DatasetSource, data: Any, items: Sequence[Mapping[str, Any]]) -> None:
    """Read the first items again: each worker reads for itself, and all must train with the same numbers."""
    for index in range(min(3, len(items))):
        again = _item(source, data, index)
        same = again.keys() == items[index].keys() and all(
            np.array_equal(again[name], value, equal_nan=isinstance(value, float) or _numeric(value))
            for name, value in items[index].items()
        )
        if not same:
            raise _wrong(source, index, "differs when it is read again", "the same item each time: nothing random")


def _numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _table(source: DatasetSource, items: Sequence[Mapping[str, Any]]) -> Table:
    first = items[0]
    for index, item in enumerate(items):
        if item.keys() != first.keys():
            odd = sorted(item.keys() ^ first.keys())[0]
            raise _wrong(source, index, f"has other parts than item 0: {odd} is in one of them only", "the same parts")
    lengths = [_steps(item) for item in items]
    columns: dict[str, np.ndarray] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for name in first:
        found = dict(_columns(source, name, [item[name] for item in items], lengths))
        if len(found) > 1 or next(iter(found)) != name:
            lists[name] = tuple(found)
        columns |= found
    sequence = np.repeat(np.arange(len(items), dtype=np.int64), lengths)
    names = tuple(map(str, range(len(items))))
    place = Path(source.target)
    rows = np.zeros(len(sequence), np.int32)
    return Table(place, (place,), columns, rows, sequence, sequence, names, counted="item", lists=lists)


def _steps(item: Mapping[str, Any]) -> int:
    """Rows of x, else of the first array with two axes, else of the first one."""
    arrays = {name: value for name, value in item.items() if isinstance(value, np.ndarray)}
    whole = [value for value in arrays.values() if value.ndim == 2]
    return len(arrays[INPUTS] if INPUTS in arrays else (whole or list(arrays.values()))[0])


def _columns(
    source: DatasetSource, name: str, values: Sequence[Any], lengths: Sequence[int]
) -> Iterator[tuple[str, np.ndarray]]:
    """One part of all items, a cell per step."""
    arrays = [isinstance(value, np.ndarray) for value in values]
    if not any(arrays):
        yield name, np.repeat(_cells(values), lengths)
        return
    if not all(arrays):
        index = arrays.index(not arrays[0])
        raise _wrong(source, index, f"has {name} {'without' if arrays[0] else 'with'} an axis, unlike item 0")
    per_step = all(len(value) == steps for value, steps in zip(values, lengths, strict=True))
    if not per_step:
        # one value, or several, for the whole sequence
        values = [value.reshape(1, -1) if value.ndim == 1 else value for value in values]
    else:
        values = [value.reshape(len(value), -1) for value in values]
    for index, (value, steps) in enumerate(zip(values, lengths, strict=True)):
        if not per_step and len(value) != 1:
            raise _wrong(source, index, f"has {name} {list(value.shape)} beside {steps} steps")
        if value.shape[1] != values[0].shape[1]:
            problem = f"has {name} with {value.shape[1]} values, item 0 has {values[0].shape[1]}"
            raise _wrong(source, index, problem, "items of one width")
    rows = np.concatenate(values)
    rows = rows if per_step else np.repeat(rows, lengths, axis=0)
    alone = rows.shape[1] == 1 and name != INPUTS
    for column in range(rows.shape[1]):
        yield name if alone else f"{name}{column}", _cells(rows[:, column])


def _cells(values: Any) -> np.ndarray:
    """A column: numbers, or texts."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return values
    if all(value is None or isinstance(value, float) for value in values):
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return objects(None if value is None else str(value) for value in values)


def _content(table: Table) -> str:
    found = hashlib.sha256(repr((table.names, len(table))).encode())
    for name, column in sorted(table.columns.items()):
        found.update(name.encode())
        found.update(repr(column.tolist()).encode() if column.dtype.kind == "O" else column.tobytes())
    assert table.sequence is not None
    found.update(table.sequence.tobytes())
    return found.hexdigest()
