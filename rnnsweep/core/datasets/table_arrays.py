"""Tables in numpy's files: arrays of sequences, padded to nothing, with lengths where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rnnsweep.core.datasets.file_sizes import check_npy, size_of
from rnnsweep.core.datasets.table_columns import Table, objects, wrong_file
from rnnsweep.errors import ConfigError

EXPECTED = (
    "a .npy file of numbers [sequences, steps, d] or [steps, d]; or a .npz file with one such array, or with `values` "
    "[all steps, d] and `lengths` [sequences] or `offsets` [sequences + 1], and arrays with a row per sequence or step"
)
VALUES, LENGTHS, OFFSETS = "values", "lengths", "offsets"


def read_array(file: Path) -> Table:
    """A table from a .npy file; columns are called x0, x1, ...

    Raises:
        ConfigError: no array of numbers of two or three dimensions.
    """
    check_npy(file, EXPECTED)
    try:
        array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise wrong_file(file, f"is no readable .npy file without pickled objects ({error})", EXPECTED) from None
    return _table(file, {"x": array})


def read_archive(file: Path) -> Table:
    """A table from a .npz file; columns are called after their arrays, with a number where one has several.

    Raises:
        ConfigError: no such arrays, or their sizes do not fit together.
    """
    size_of(file, EXPECTED)
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as opened:
            arrays: dict[str, np.ndarray] = {}
            for name in opened.files:
                check_npy(file, EXPECTED, name)
                arrays[name] = opened[name]
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - torn, encrypted, of an unknown compression, or no archive at all
        problem = f"is no readable .npz file without pickled objects ({error or type(error).__name__})"
        raise wrong_file(file, problem, EXPECTED) from None
    return _table(file, arrays)


def _table(file: Path, arrays: dict[str, np.ndarray]) -> Table:
    lengths = _lengths(file, arrays)
    steps, sequences = int(lengths.sum()), len(lengths)
    columns: dict[str, np.ndarray] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for name, array in arrays.items():
        if name in (LENGTHS, OFFSETS):
            continue
        if array.dtype.kind not in "fiubUS":
            raise wrong_file(file, f"array {name} is {array.dtype}", allowed="numbers or texts")
        found = _columns(name, _rows(file, name, array, lengths))
        lists |= {name: tuple(found)} if name not in found else {}
        columns |= found
    sequence = np.repeat(np.arange(sequences, dtype=np.int64), lengths)
    names = tuple(map(str, range(sequences)))
    where = np.zeros(steps, np.int32)
    return Table(file, (file,), columns, where, sequence, sequence, names, counted="sequence", lists=lists)


def _lengths(file: Path, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Steps of each sequence, int64 [sequences], >= 1."""
    if VALUES in arrays and (LENGTHS in arrays or OFFSETS in arrays):
        given = arrays[LENGTHS if LENGTHS in arrays else OFFSETS]
        if given.ndim != 1 or given.dtype.kind not in "iu" or arrays[VALUES].ndim not in (1, 2):
            raise wrong_file(file, "lengths or offsets are no whole numbers, or values no [steps, d]", EXPECTED)
        lengths = given.astype(np.int64) if LENGTHS in arrays else np.diff(given.astype(np.int64))
        total, held = int(lengths.sum()), len(arrays[VALUES])
        if OFFSETS in arrays and LENGTHS not in arrays and (len(given) < 2 or given[0] != 0):
            raise wrong_file(file, "offsets do not begin with 0", EXPECTED)
        if total != held:
            raise wrong_file(file, f"lengths add up to {total:,} steps, values has {held:,}", EXPECTED)
        short = np.flatnonzero(lengths < 1)
        if len(short):
            problem = f"sequence {int(short[0])} has {int(lengths[short[0]])} steps"
            raise wrong_file(file, problem, allowed="one step or more")
        return lengths
    whole = [array for array in arrays.values() if array.ndim == 3]
    flat = [array for array in arrays.values() if array.ndim == 2]
    if len({array.shape[:2] for array in whole}) > 1 or not (whole or flat):
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        raise wrong_file(file, f"holds {shapes or 'no array'}", EXPECTED)
    sequences, steps = whole[0].shape[:2] if whole else (1, len(flat[0]))
    if not sequences or not steps:
        raise wrong_file(file, "holds no step", EXPECTED)
    return np.full(sequences, steps, dtype=np.int64)


def _rows(file: Path, name: str, array: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """An array with a row per step of all sequences."""
    total, sequences, steps = int(lengths.sum()), len(lengths), int(lengths[0])
    if array.ndim == 3 or (array.ndim == 2 and array.shape == (sequences, steps) and name != VALUES):
        if array.shape[:2] == (sequences, steps) and (lengths == steps).all():
            return array.reshape(total, -1)
    elif array.ndim in (1, 2) and len(array) == total:
        return array.reshape(total, -1)
    elif array.ndim in (1, 2) and len(array) == sequences:
        return np.repeat(array.reshape(sequences, -1), lengths, axis=0)
    allowed = f"{sequences} rows, one per sequence, or {total}, one per step"
    raise wrong_file(file, f"array {name} is {list(array.shape)}", allowed)


def _columns(name: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    alone = rows.shape[1] == 1
    return {name if alone and name != "x" else f"{name}{i}": _column(rows[:, i]) for i in range(rows.shape[1])}


def _column(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "US":
        return objects(str(value) if values.dtype.kind == "U" else value.decode() for value in values)
    return values.astype(np.float64)
