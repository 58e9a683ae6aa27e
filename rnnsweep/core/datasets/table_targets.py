"""Columns as targets of a network: classes, labels that are there or not, or numbers, by what training saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rnnsweep.core.datasets.table_columns import is_number
from rnnsweep.core.datasets.table_inputs import Scale, raw_inputs
from rnnsweep.core.datasets.table_sequences import Sequences
from rnnsweep.core.datasets.table_splits import Segment
from rnnsweep.errors import ConfigError

MOST_CLASSES = 1000
"""More values than this are taken for numbers, or for names of the sequences."""


_LABEL = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}


@dataclass(frozen=True, eq=False)
class Targets:
    """What is wanted of each sequence, or of each row in the order of the sequences.

    Attributes:
        values: int64 classes [n], or float32 [n, outputs]: 0 and 1, or standardised numbers. Of a row that is not
            known: 0.
        known: bool [n], where a target is there.
        classes: names of the classes; of several targets, those of the columns.
        scale: of numbers; None of classes.
    """

    values: np.ndarray
    known: np.ndarray
    classes: tuple[str, ...] = field(default=())
    scale: Scale | None = None

    @property
    def several(self) -> bool:
        """Whether these are labels, each of which is there or not."""
        return self.scale is None and self.values.ndim == 2


def class_targets(sequences: Sequences, segments: Sequence[Segment], name: str, per_step: bool) -> Targets:
    """Classes, numbered in the order of their names; those of the training part are all there are.

    Raises:
        ConfigError: no such column; one class or far too many; a class that training does not have; an empty cell of a
            sequence.
    """
    cells = _cells(sequences, name, per_step)
    training, places = set[str](), {}
    for segment in segments:
        for index in _indices(segment, per_step):
            cell = cells[index]
            if cell is None:
                continue
            places.setdefault(cell, (segment.part, index))
            if segment.part == "train":
                training.add(cell)
    if not per_step and None in cells:
        row = int(sequences.order[sequences.starts[cells.index(None)]])
        raise sequences.table.wrong(row, name, "is empty", allowed="a class for each sequence")
    _check_classes(sequences, name, training, len(segments), per_step)
    classes = tuple(sorted(training, key=_natural))
    for cell, (part, index) in places.items():
        if cell not in training:
            row = int(sequences.order[index if per_step else sequences.starts[index]])
            problem = f"is a class of the {part} part that the training part does not have"
            raise sequences.table.wrong(row, name, problem, cell, allowed=f"one of {_some(classes)}")
    numbers = {cell: number for number, cell in enumerate(classes)}
    values = np.array([numbers.get(cell or "", 0) for cell in cells], dtype=np.int64)
    return Targets(values, np.array([cell is not None for cell in cells]), classes)


def _cells(sequences: Sequences, name: str, per_step: bool) -> list[str | None]:
    if not per_step:
        return sequences.constant(name, "task.target")
    texts = sequences.table.texts(name, "task.target")
    return [texts[row] for row in sequences.order]


def _indices(segment: Segment, per_step: bool) -> range | tuple[int]:
    return range(segment.start, segment.end) if per_step else (segment.sequence,)


def _check_classes(sequences: Sequences, name: str, classes: set[str], count: int, per_step: bool) -> None:
    if len(classes) < 2:
        shown = next(iter(classes), "nothing")
        problem = f"is constant: {sequences.table.path} has {shown} in all of the training part"
        raise ConfigError(problem, key="task.target", value=name, allowed="a column with two classes or more")
    # of few sequences, several may well be alone in their class
    many = len(classes) > MOST_CLASSES or (not per_step and len(classes) > max(10, count / 2))
    if many:
        problem = f"has {len(classes)} different values in the training part of {sequences.table.path}"
        numbers = all(map(is_number, classes))
        hint = f"task.goal={'forecast' if per_step else 'regress'} takes numbers." if numbers else None
        most = f"at most {MOST_CLASSES} classes" if per_step else "classes with two sequences or more"
        raise ConfigError(problem, key="task.target", value=name, allowed=most, hint=hint)


def _natural(name: str) -> tuple[int, float, str]:
    """Numbers by size, then texts by letters."""
    return (0, float(name), name) if is_number(name) else (1, 0.0, name)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def label_targets(sequences: Sequences, names: Sequence[str]) -> Targets:
    """Several columns of 0 and 1 per sequence.

    Raises:
        ConfigError: no such column, an empty cell, or something else in one.
    """
    values = np.empty((len(sequences), len(names)), dtype=np.float32)
    for column, name in enumerate(names):
        for index, cell in enumerate(sequences.constant(name, "task.target")):
            if (cell or "").lower() not in _LABEL:
                row = int(sequences.order[sequences.starts[index]])
                raise sequences.table.wrong(row, name, "is neither 0 nor 1", cell or "empty", allowed="0 or 1")
            values[index, column] = _LABEL[str(cell).lower()]
    return Targets(values, np.ones(len(values), dtype=bool), tuple(names))


def number_targets(
    sequences: Sequences, segments: Sequence[Segment], names: Sequence[str], per_step: bool, standardise: bool
) -> Targets:
    """Numbers per sequence or per row, standardised by those of the training part.

    Raises:
        ConfigError: no such column, a cell that is no number, an empty cell of a sequence, or a constant column.
    """
    rows = raw_inputs(sequences, names, "task.target")
    if not per_step:
        for name in names:
            sequences.constant(name, "task.target")
    chosen = slice(None) if per_step else sequences.starts[:-1]
    raw = rows[chosen]
    known = np.logical_not(np.isnan(raw).any(1))
    if not per_step and not known.all():
        index = int(np.flatnonzero(~known)[0])
        column = names[int(np.flatnonzero(np.isnan(raw[index]))[0])]
        row = int(sequences.order[sequences.starts[index]])
        raise sequences.table.wrong(row, column, "is empty", allowed="a number for each sequence")
    training = np.zeros(len(raw), dtype=bool)
    for segment in segments:
        if segment.part == "train":
            training[list(_indices(segment, per_step))] = True
    seen = raw[training & known]
    spread = np.ptp(seen, axis=0) if len(seen) else np.zeros(len(names))
    refuse_constant(spread, names, sequences.table.path)
    scale = Scale.of(seen, standardise)
    scaled = scale.single(sequences, names, rows)[chosen]
    values = np.where(known[:, None], scaled, np.float32(0))
    return Targets(values, known, tuple(names), scale)


def refuse_constant(spread: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Raise `ConfigError` for the first target whose largest and smallest number in training are the same."""
    if not spread.all():
        name = names[int(np.flatnonzero(spread == 0)[0])]
        problem = f"is constant in the training part of {path}"
        raise ConfigError(problem, key="task.target", value=name, allowed="a column with different numbers")


def sequence_weights(sequences: Sequences, segments: Sequence[Segment], name: str) -> np.ndarray:
    """A weight for each sequence, float32 [sequences], so scaled that their mean over the training part is 1.

    Raises:
        ConfigError: no such column, two values in a sequence, an empty cell, a negative number, or all 0 in training.
    """
    key = "task.weights"
    numbers = sequences.table.numbers(name, key)[sequences.order]
    sequences.constant(name, key)
    found = numbers[sequences.starts[:-1]]
    bad = np.flatnonzero(~(found >= 0))
    if len(bad):
        row = int(sequences.order[sequences.starts[bad[0]]])
        value = float(found[bad[0]])
        problem = "is empty" if np.isnan(value) else "is negative"
        allowed = "a number >= 0 for each sequence"
        raise sequences.table.wrong(row, name, problem, None if np.isnan(value) else value, allowed=allowed)
    training = sorted({segment.sequence for segment in segments if segment.part == "train"})
    mean = found[training].mean()
    if not mean:
        problem = f"is 0 in all of the training part of {sequences.table.path}"
        raise ConfigError(problem, key=key, value=name, allowed="a positive number for some sequence")
    return (found / mean).astype(np.float32)
