"""Columns as inputs of a network: gaps filled, values standardised, by what training saw."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnsweep.core.datasets.table_columns import Table, has_decimal_comma, is_number
from rnnsweep.core.datasets.table_sequences import Sequences

_CONSTANT = 1e-12
"""A standard deviation below this share of the largest value is rounding: the column is constant."""


@dataclass(frozen=True, eq=False)
class Scale:
    """Standardisation of columns: ``(value - mean) / deviation``, float64 [d] each; a constant column becomes 0."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, standardise: bool = True) -> Scale:
        """Of the rows of an array [n, d], NaN left out; without `standardise` one that changes nothing."""
        if not standardise:
            return cls(np.zeros(values.shape[1]), np.ones(values.shape[1]))
        with warnings.catch_warnings():
            # a column that is empty everywhere has no mean: whoever needs one asks before
            warnings.simplefilter("ignore", RuntimeWarning)
            mean, deviation = np.nanmean(values, 0), np.nanstd(values, 0)
            largest = np.nanmax(np.abs(values), 0, initial=0.0)
        return cls(mean, np.where(deviation > _CONSTANT * largest, deviation, 1.0))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Standardised."""
        return (values - self.mean) / self.deviation

    def single(self, sequences: Sequences, columns: Sequence[str], values: np.ndarray) -> np.ndarray:
        """Standardised, as float32; `values` [rows, d] are those of all rows in the order of the sequences.

        Raises:
            ConfigError: one is too far from all of training for float32.
        """
        with np.errstate(over="ignore"):
            found = self.apply(values).astype(np.float32)
        if np.isinf(found).any():
            row, column = map(int, np.argwhere(np.isinf(found))[0])
            problem, allowed = "is too large for float32 once it is standardised", "numbers like those for training"
            value = float(values[row, column])
            raise sequences.table.wrong(int(sequences.order[row]), columns[column], problem, value, allowed=allowed)
        return found

    def back(self, values: np.ndarray) -> np.ndarray:
        """In the units of the data."""
        return values * self.deviation + self.mean


@dataclass(frozen=True, eq=False)
class InputRecipe:
    """What makes inputs of columns, fitted on the training part.

    Attributes:
        columns: names, in order.
        scale: of them.
        missing: ``error``, ``zero``, ``mean`` or ``previous``, see `Table` of the tasks.
        mean: of each column over the training rows, in its own units.
        flagged: columns that have gaps in training and get a further input, 1 where a value is missing.
    """

    columns: tuple[str, ...]
    scale: Scale
    missing: str
    mean: np.ndarray
    flagged: tuple[int, ...]

    @property
    def width(self) -> int:
        """Inputs of the network."""
        return len(self.columns) + len(self.flagged)

    def plain(self) -> dict[str, Any]:
        """As JSON, for whoever prepares sequences without rnnsweep."""
        numbers = {"mean": self.scale.mean, "deviation": self.scale.deviation, "fill": self.mean}
        lists = {name: values.tolist() for name, values in numbers.items()}
        return {"columns": list(self.columns), "missing": self.missing, "flagged": list(self.flagged), **lists}

    def apply(self, sequences: Sequences) -> np.ndarray:
        """Inputs float32 [rows, width], rows in the order of the sequences.

        Raises:
            ConfigError: a column is not there or no numbers, or a cell is empty and must not be.
        """
        values = raw_inputs(sequences, self.columns)
        gaps = np.isnan(values)
        if self.missing == "error":
            refuse_gaps(sequences, self.columns, gaps)
        flags = gaps[:, list(self.flagged)].astype(np.float64)
        if gaps.any():
            values = self._filled(values, gaps, sequences.starts)
        scaled = self.scale.single(sequences, self.columns, values)
        return np.concatenate([scaled, flags.astype(np.float32)], 1)

    def _filled(self, values: np.ndarray, gaps: np.ndarray, starts: np.ndarray) -> np.ndarray:
        if self.missing == "zero":
            return np.where(gaps, 0.0, values)
        if self.missing == "mean":
            return np.where(gaps, self.mean, values)
        # the row of the last value so far: a running maximum that begins anew with each sequence
        rows = np.arange(len(values))[:, None]
        first = np.repeat(starts[:-1], np.diff(starts))[:, None]
        last = np.maximum.accumulate(np.where(gaps, -1, rows), 0)
        found = np.take_along_axis(values, last.clip(min=0), 0)
        return np.where(last >= first, found, self.mean)


def raw_inputs(sequences: Sequences, columns: Sequence[str], key: str = "task.inputs") -> np.ndarray:
    """Columns as float64 [rows, d] in the order of the sequences, NaN where a cell is empty."""
    return np.stack([sequences.table.numbers(name, key)[sequences.order] for name in columns], 1)


def refuse_gaps(sequences: Sequences, columns: Sequence[str], gaps: np.ndarray) -> None:
    """Raise `ConfigError` for the first gap [rows, d]."""
    if gaps.any():
        row, column = map(int, np.argwhere(gaps)[0])
        allowed = "a number, or task.missing=zero, mean or previous"
        raise sequences.table.wrong(int(sequences.order[row]), columns[column], "is empty", allowed=allowed)


def fit_inputs(
    sequences: Sequences, columns: Sequence[str], training: np.ndarray, standardise: bool, missing: str, flags: bool
) -> InputRecipe:
    """The recipe of the columns, from the training rows alone.

    Args:
        sequences: all of them.
        columns: names.
        training: bool [rows], which rows are for training.
        standardise, missing, flags: see `InputRecipe`; `flags` adds those inputs.

    Raises:
        ConfigError: see `InputRecipe.apply`; or a column is empty at all steps of the training part.
    """
    raw = raw_inputs(sequences, columns)[training]
    gaps = np.isnan(raw)
    empty = np.flatnonzero(gaps.all(0))
    if len(empty):
        name = columns[int(empty[0])]
        row = int(sequences.order[np.flatnonzero(training)[0]])
        raise sequences.table.wrong(row, name, "is empty, as in all rows for training", allowed="a column with numbers")
    flagged = tuple(int(i) for i in np.flatnonzero(gaps.any(0))) if flags else ()
    return InputRecipe(tuple(columns), Scale.of(raw, standardise), missing, np.nanmean(raw, 0), flagged)


def numeric_columns(table: Table, others: Sequence[str]) -> tuple[str, ...]:
    """All columns of numbers but `others`.

    Raises:
        ConfigError: a column has numbers in most rows and something else in one, or numbers with a decimal comma: slips
            that nobody would notice.
    """
    found: list[str] = []
    for name, column in table.columns.items():
        if name in others:
            continue
        if column.dtype.kind == "f":
            found.append(name)
        elif column.dtype.kind == "O" and _mostly_numbers(column):
            table.numbers(name, "task.inputs")
    return tuple(found)


def _mostly_numbers(column: np.ndarray) -> bool:
    filled = [cell for cell in column if cell is not None]
    return bool(filled) and sum(is_number(cell) or has_decimal_comma(cell) for cell in filled) > len(filled) / 2
