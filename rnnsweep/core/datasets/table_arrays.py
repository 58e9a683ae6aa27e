"""Tables in numpy's files: arrays of sequences, padded to nothing, with lengths where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rnnsweep.core.datasets.file_sizes import check_npy, size_of
from rnnsweep.core.datasets.table_columns import Table, objects, wrong_file
from rnnsweep.errors import ConfigError

EXPECTED = (
    "a .npy file of numbers [sequences, steps, d] or [steps, d]; or a .npz file with one such array, or with `x` or "
    "`values` [all steps, d] and `lengths` [sequences] or `offsets` [sequences + 1], and arrays with a row per "
    "sequence or step; or a folder with these arrays as .npy files, x.npy or values.npy among them"
)
X, VALUES, LENGTHS, OFFSETS = "x", "values", "lengths", "offsets"


def read_array(file: Path) -> Table:
    """A table from a .npy file; columns are called x0, x1, ...

    Raises:
        ConfigError: no array of numbers of two or three dimensions.
    """
    return _table(file, {X: _array(file)})


def _array(file: Path) -> np.ndarray:
    check_npy(file, EXPECTED)
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise wrong_file(file, f"is no readable .npy file without pickled objects ({error})", EXPECTED) from None


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


def is_unpacked(place: Path) -> bool:
    """Whether this is a folder with the arrays of a .npz file, each a .npy file: ``x.npy`` or ``values.npy``."""
    return any((place / f"{name}.npy").is_file() for name in (X, VALUES))


def array_files(place: Path) -> list[Path]:
    """A .npy file, or those of an unpacked archive, sorted."""
    return sorted(place.glob("*.npy")) if place.is_dir() else [place]


def read_unpacked(folder: Path) -> Table:
    """The table that a .npz file with the arrays of these .npy files would be.

    Raises:
        ConfigError: see `read_archive`.
    """
    return _table(folder, {file.stem: _array(file) for file in array_files(folder)})


def _table(file: Path, arrays: dict[str, np.ndarray]) -> Table:
    lengths = sequence_lengths(file, arrays)
    steps, sequences = int(lengths.sum()), len(lengths)
    columns: dict[str, np.ndarray] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for name, array in arrays.items():
        if name in (LENGTHS, OFFSETS):
            continue
        check_kind(file, name, array)
        rows, per_step = placed(file, name, array, lengths)
        names = columns_of(name, rows.shape[1])
        lists |= {name: names} if names != (name,) else {}
        rows = rows if per_step else np.repeat(rows, lengths, axis=0)
        columns |= {column: column_of(rows[:, i]) for i, column in enumerate(names)}
    sequence = np.repeat(np.arange(sequences, dtype=np.int64), lengths)
    names = tuple(map(str, range(sequences)))
    where = np.zeros(steps, np.int32)
    return Table(file, (file,), columns, where, sequence, sequence, names, counted="sequence", lists=lists)


def check_kind(file: Path, name: str, array: np.ndarray) -> None:
    """Raise `ConfigError` for an array that holds neither numbers nor texts."""
    if array.dtype.kind not in "fiubUS":
        raise wrong_file(file, f"array {name} is {array.dtype}", allowed="numbers or texts")


def sequence_lengths(file: Path, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Steps of each sequence, int64 [sequences], >= 1.

    Raises:
        ConfigError: sizes that do not fit together.
    """
    name = VALUES if VALUES in arrays else X
    if name in arrays and (LENGTHS in arrays or OFFSETS in arrays):
        given = arrays[LENGTHS if LENGTHS in arrays else OFFSETS]
        if given.ndim != 1 or given.dtype.kind not in "iu" or arrays[name].ndim not in (1, 2):
            raise wrong_file(file, f"lengths or offsets are no whole numbers, or {name} no [all steps, d]", EXPECTED)
        lengths = given.astype(np.int64) if LENGTHS in arrays else np.diff(given.astype(np.int64))
        total, held = int(lengths.sum()), len(arrays[name])
        if OFFSETS in arrays and LENGTHS not in arrays and (len(given) < 2 or given[0] != 0):
            raise wrong_file(file, "offsets do not begin with 0", EXPECTED)
        if total != held:
            raise wrong_file(file, f"lengths add up to {total:,} steps, {name} has {held:,}", EXPECTED)
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


def placed(file: Path, name: str, array: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, bool]:
    """An array as rows [n, d], and whether there is one per step of all sequences; else one per sequence.

    Raises:
        ConfigError: it has as many rows as neither.
    """
    total, sequences, steps = int(lengths.sum()), len(lengths), int(lengths[0])
    if array.ndim == 3 or (array.ndim == 2 and array.shape == (sequences, steps) and name != VALUES):
        if array.shape[:2] == (sequences, steps) and (lengths == steps).all():
            return array.reshape(total, -1), True
    elif array.ndim in (1, 2) and len(array) == total:
        return array.reshape(total, -1), True
    elif array.ndim in (1, 2) and len(array) == sequences:
        return array.reshape(sequences, -1), False
    allowed = f"{sequences} rows, one per sequence, or {total}, one per step"
    raise wrong_file(file, f"array {name} is {list(array.shape)}", allowed)


def columns_of(name: str, width: int) -> tuple[str, ...]:
    """Names of an array's columns."""
    return (name,) if width == 1 and name != X else tuple(f"{name}{i}" for i in range(width))


def column_of(values: np.ndarray) -> np.ndarray:
    """A column as tables have it: float64, or texts."""
    if values.dtype.kind in "US":
        return objects(str(value) if values.dtype.kind == "U" else value.decode() for value in values)
    return values.astype(np.float64)
