"""Sequences of one's own from a file: NPY, NPZ or CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnsweep.errors import ConfigError

GROUP = "sequence"
"""Column of a CSV that says which sequence a row is a step of."""
_KEY = "--data"


@dataclass(frozen=True)
class NamedSequence:
    """One sequence.

    Attributes:
        name: from the file: a name, or a number from 0.
        values: [steps, inputs], finite.
    """

    name: str
    values: np.ndarray


class StoredSequence(NamedSequence):
    """One whose values are read when they are asked for, and not kept."""

    def __init__(self, name: str, read: Callable[[], np.ndarray]) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "_read", read)

    @property
    def values(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleVariableOverride] - asked for, as a field is
        """[steps, inputs], finite, float64."""
        read: Callable[[], np.ndarray] = getattr(self, "_read")  # noqa: B009 - no field: pyright knows of none
        return read().astype(np.float64)


def read_sequences(file: Path, width: int) -> list[NamedSequence]:
    """All sequences of a file, in its order; at least one, each with a step or more.

    Args:
        file: ``.npy``: [steps, inputs] or [sequences, steps, inputs]; ``.npz``: arrays of these shapes by
            name; ``.csv``: a step per row, a column per input, and perhaps a column `sequence`.
        width: inputs of the network.

    Raises:
        ConfigError: what is wrong, with the file, and the row and column or the array.
    """
    readers = {".npy": _npy, ".npz": _npz, ".csv": _csv}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise ConfigError("is no file of sequences", key=_KEY, value=str(file), allowed=", ".join(readers))
    try:
        found = list(reader(file, width))
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
        raise ConfigError(problem, key=_KEY, value=str(file)) from None
    if not found:
        raise _wrong(file, "holds no sequence", width)
    return found


def _npy(file: Path, width: int) -> Iterator[NamedSequence]:
    yield from _of_array(file, "array", _loaded(file), width, "")


def _npz(file: Path, width: int) -> Iterator[NamedSequence]:
    arrays = _loaded(file)
    if isinstance(arrays, np.ndarray):
        raise _wrong(file, "is no .npz archive", width)
    with arrays:
        for name in arrays.files:
            try:
                array = arrays[name]
            except (ValueError, OSError, EOFError) as error:
                raise _wrong(file, f"array {name} cannot be read: {error}", width) from None
            yield from _of_array(file, f"array {name}", array, width, name)


def _loaded(file: Path):
    try:
        return np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _wrong(file, f"cannot be read: {error}", 0) from None


def _of_array(file: Path, what: str, array: np.ndarray, width: int, name: str) -> Iterator[NamedSequence]:
    if array.dtype.kind not in "fiub" or array.ndim not in (2, 3) or array.shape[-1] != width or 0 in array.shape[:-1]:
        problem = f"{what} is {array.dtype} {list(array.shape)}"
        raise _wrong(file, problem, width)
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        at = [int(index) for index in np.argwhere(~np.isfinite(values))[0]]
        raise ConfigError("is not finite", key=f"{what}{at}", value=float(values[tuple(at)]), file=str(file))
    if values.ndim == 2:
        yield NamedSequence(name or "0", values)
        return
    for index, one in enumerate(values):
        yield NamedSequence(f"{name}[{index}]" if name else str(index), one)


def _csv(file: Path, width: int) -> Iterator[NamedSequence]:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        try:
            rows = [(number, row) for number, row in enumerate(csv.reader(stream), 1) if row]
        except (UnicodeDecodeError, csv.Error) as error:
            raise _wrong(file, f"is no UTF-8 text of comma-separated values: {error}", width) from None
    if not rows:
        return
    header = _header(rows[0][1])
    names = header or [str(index) for index in range(1, len(rows[0][1]) + 1)]
    inputs = [index for index, name in enumerate(names) if name != GROUP]
    if len(inputs) != width:
        raise _wrong(file, f"has {len(inputs)} columns of inputs", width)
    group = names.index(GROUP) if GROUP in names else None
    steps: dict[str, list[list[float]]] = {}
    last = None
    for number, row in rows[1:] if header else rows:
        if len(row) != len(names):
            raise ConfigError(f"has {len(row)} values", key=f"row {number}", allowed=f"{len(names)}", file=str(file))
        name = "0" if group is None else row[group]
        if name != last and name in steps:
            hint = "Rows of a sequence stand together, in the order of its steps."
            raise ConfigError(
                "begins again", key=f"row {number}, column {GROUP}", value=name, file=str(file), hint=hint
            )
        last = name
        steps.setdefault(name, []).append([_number(file, number, names[index], row[index]) for index in inputs])
    for name, values in steps.items():
        yield NamedSequence(name, np.array(values, dtype=np.float64).reshape(len(values), width))


def _header(row: Sequence[str]) -> list[str] | None:
    """The names in a first row; None where it holds numbers already."""
    try:
        [float(cell) for cell in row]
    except ValueError:
        return [cell.strip() for cell in row]
    return None


def _number(file: Path, row: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = None
    if value is None or not np.isfinite(value):
        problem = "is missing" if not text.strip() else "is no number" if value is None else "is not finite"
        raise ConfigError(problem, key=f"row {row}, column {column}", value=text, file=str(file))
    return value


def _wrong(file: Path, problem: str, width: int) -> ConfigError:
    allowed = (
        f"numbers [steps, {width}] or [sequences, steps, {width}]; a .csv: a step per row, {width} columns of inputs"
    )
    return ConfigError(problem, key=_KEY, value=str(file), allowed=allowed)
