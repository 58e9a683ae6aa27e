"""Columns as inputs of a network: gaps filled, values standardised, by what training saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnsweep.core.datasets.table_columns import Table, has_decimal_comma, is_number
from rnnsweep.core.datasets.table_sequences import Sequences

_CONSTANT = 1e-12
"""A standard deviation below this share of the largest value is rounding: the column is constant."""


BLOCK = 1 << 21
"""Numbers whose moments are formed at once; of more than these, block by block, whether they are in memory or not."""


class Moments:
    """Mean, deviation and extremes of columns, from rows that come one after the other.

    The rows are put together to blocks of one size, however they come, so that the numbers do not depend on it, to the
    bit. NaN is left out.

    Attributes:
        count: of each column, int64 [d]; mean: float64 [d]; least, most: float64 [d], 0 or beyond.
        gaps: bool [d], whether a value was missing.

    References:
        Blocks are joined as Chan, Golub, LeVeque (1979), equation 2.1.
    """

    def __init__(self, width: int) -> None:
        """Of so many columns."""
        self._pending = np.empty((max(1, BLOCK // max(1, width)), width))
        self._held = 0
        self.count, self.gaps = np.zeros(width, np.int64), np.zeros(width, bool)
        self.mean, self._squares = np.zeros(width), np.zeros(width)
        self.least, self.most = np.full(width, np.inf), np.full(width, -np.inf)

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """Of the rows of an array [n, d]."""
        moments = cls(values.shape[1])
        moments.add(values)
        moments.finish()
        return moments

    def add(self, values: np.ndarray) -> None:
        """Further rows, float64 [n, d]."""
        while len(values):
            taken = values[: len(self._pending) - self._held]
            self._pending[self._held : self._held + len(taken)] = taken
            self._held += len(taken)
            values = values[len(taken) :]
            if self._held == len(self._pending):
                self.finish()

    def finish(self) -> None:
        """Join what is pending; `add` goes on with a new block."""
        if not self._held:
            return
        block, self._held = self._pending[: self._held], 0
        there = ~np.isnan(block)
        count = there.sum(0)
        with np.errstate(invalid="ignore"):
            mean = np.nansum(block, 0) / count
        squares = np.nansum((block - mean) ** 2, 0)
        self.least = np.fmin(self.least, np.fmin.reduce(block, 0))
        self.most = np.fmax(self.most, np.fmax.reduce(block, 0))
        self.gaps |= ~there.all(0)
        total = self.count + count
        # the first block's numbers as they are: those of a table that is one block are numpy's own
        first, off = self.count == 0, mean - self.mean
        with np.errstate(invalid="ignore"):
            joined = self.mean + off * count / total
            spread = self._squares + squares + off**2 * self.count * count / total
        empty = count == 0
        self.mean = np.where(empty, self.mean, np.where(first, mean, joined))
        self._squares = np.where(empty, self._squares, np.where(first, squares, spread))
        self.count = total

    def scale(self, standardise: bool = True) -> Scale:
        """What standardises such columns; NaN where one is empty."""
        if not standardise:
            return Scale(np.zeros(len(self.mean)), np.ones(len(self.mean)))
        with np.errstate(invalid="ignore"):
            deviation = np.sqrt(self._squares / self.count)
        mean = np.where(self.count > 0, self.mean, np.nan)
        largest = np.fmax(np.abs(self.least), np.abs(self.most))
        return Scale(mean, np.where(deviation > _CONSTANT * largest, deviation, 1.0))


@dataclass(frozen=True, eq=False)
class Scale:
    """Standardisation of columns: ``(value - mean) / deviation``, float64 [d] each; a constant column becomes 0."""

    mean: np.ndarray
    deviation: np.ndarray

    @staticmethod
    def of(values: np.ndarray, standardise: bool = True) -> Scale:
        """Of the rows of an array [n, d], NaN left out; without `standardise` one that changes nothing."""
        return Moments.of(values).scale(standardise)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Standardised."""
        return (values - self.mean) / self.deviation

    def rows(self, values: np.ndarray) -> np.ndarray:
        """Standardised, as float32; infinite where that is too small."""
        with np.errstate(over="ignore"):
            return self.apply(values).astype(np.float32)

    def single(self, sequences: Sequences, columns: Sequence[str], values: np.ndarray) -> np.ndarray:
        """Standardised, as float32; `values` [rows, d] are those of all rows in the order of the sequences.

        Raises:
            ConfigError: one is too far from all of training for float32.
        """
        found = self.rows(values)
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

    def rows(self, values: np.ndarray) -> np.ndarray:
        """Inputs float32 [n, width] of rows float64 [n, d] that have been checked; not of ``previous``."""
        gaps = np.isnan(values)
        filled = np.where(gaps, 0.0 if self.missing == "zero" else self.mean, values)
        return np.concatenate([self.scale.rows(filled), gaps[:, list(self.flagged)].astype(np.float32)], 1)

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
    return recipe_of(columns, Moments.of(raw), standardise, missing, flags)


def recipe_of(columns: Sequence[str], moments: Moments, standardise: bool, missing: str, flags: bool) -> InputRecipe:
    """The recipe from the moments of the training rows, none of whose columns is empty."""
    flagged = tuple(int(i) for i in np.flatnonzero(moments.gaps)) if flags else ()
    return InputRecipe(tuple(columns), moments.scale(standardise), missing, moments.mean, flagged)


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
