"""What analyses of trained sweeps work on, and their contract: P trained rows of one shape, and tables of numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.embedded import plain
from rnnsweep.core.embedding import TABLE, look_up
from rnnsweep.core.families.base import Values
from rnnsweep.core.free_run import output_of
from rnnsweep.core.pack import Streams
from rnnsweep.core.program import Program
from rnnsweep.core.rng import Draws
from rnnsweep.core.state_map import LoopMap
from rnnsweep.core.types import Batch
from rnnsweep.unit import Unit

Columns = dict[str, np.ndarray]
Tables = dict[str, Columns]
"""Table -> column -> values, in long form. Every table has a column ``row``, the place in the pack."""

ROW_ENTRIES = 1 << 24
"""Numbers of one kind that an analysis holds at once: 128 MB in float64."""
_LOOKED_AT = 512
"""Sequences among which those of one length are looked for, where lengths differ."""


@dataclass(frozen=True)
class TrainedRows:
    """P trained rows that differ in numbers only, and the sequences that all of them are shown.

    Attributes:
        program: units and sizes; float64, engine `reference`.
        values: raw parameters. hypers: the family's per-row hyperparameters and state.
        seed: of the sequences, which no training has seen; every row sees the same ones.
    """

    program: Program
    values: Values
    hypers: Mapping[str, Float[Tensor, " P"]]
    seed: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    @cached_property
    def loop(self) -> LoopMap:
        """One step of all rows."""
        return LoopMap(plain(self.program.family), self.values, self.hypers)

    def part(self, start: int, stop: int) -> TrainedRows:
        """Some of the rows."""
        values = {name: value[start:stop] for name, value in self.values.items()}
        return replace(self, values=values, hypers={name: value[start:stop] for name, value in self.hypers.items()})

    def batch(self, sequences: int) -> Batch:
        """Sequences of the task's validation stream, the same for all rows, without steps before their start.

        Symbols that the network looks up come as their vectors.

        All have one length: where the task's differ, that of which there are most among the first `_LOOKED_AT`, of
        several the longest; there may be fewer than were asked for.
        """
        task, first = self.program.task, self._drawn(torch.arange(sequences))
        if first.lengths.ndim == 2:
            lengths = self._drawn(torch.arange(max(_LOOKED_AT, sequences))).lengths[0]
            values, counts = lengths.unique(return_counts=True)  # ascending
            most = values[counts == counts.max()][-1]
            first = self._drawn(torch.nonzero(lengths == most)[:sequences, 0])
        own = slice(first.inputs.shape[1] - int(first.lengths.flatten()[0]), None)  # rows share a key: one length
        targets = first.targets[:, own] if task.per_step else first.targets
        mask = None if first.mask is None else first.mask[:, own]
        lengths = first.lengths if first.lengths.ndim == 1 else first.lengths[:, 0]
        inputs = first.inputs[:, own]
        inputs = look_up(self.values[TABLE], inputs) if self.program.family.looks_up else inputs
        return replace(first, inputs=inputs, targets=targets, mask=mask, lengths=lengths, state=None)

    def _drawn(self, ids: Int64[Tensor, " n"]) -> Batch:
        """Sequences of these ids, of those that there are."""
        task, available = self.program.task, self.program.task.samples_of("valid")
        keys = torch.full((len(self),), Streams(self.seed, 0).key("analysis"))
        ids = ids if available is None else ids[ids < available]
        draws = Draws(keys, ids.expand(len(self), -1), torch.zeros_like(keys), self.program.dtype, split="valid")
        draws = replace(draws, tokens=self.program.family.looks_up)
        return task.batch(draws)

    @property
    def reads_states(self) -> bool:
        """Whether an output is a function of one state: not with a read-out that looks back."""
        return self.program.readout.carries

    def outputs(self, states: Float[Tensor, "P B S"]) -> Float[Tensor, "P B O"]:
        """Outputs at single states."""
        return output_of(self.program.readout, self.values, self.loop.shown(states))


@dataclass(frozen=True)
class SweepAnalysis(Unit):
    """Base of analyses of trained sweeps: a frozen set of settings that turns rows into tables.

    Promises: rows do not mix, a pack gives what its rows give alone; equal rows give equal tables; a row that has
    diverged gives NaN and changes no other.

    Attributes:
        sequences: of the task, shown to every row.
    """

    unit_group: ClassVar[str] = "analysis"
    fixed: ClassVar[Mapping[str, Any]] = {}

    sequences: int = 8

    @property
    def unit_key(self) -> str:
        """Where its settings stand on the command line: ``lyapunov``."""
        return self.unit_name

    @abstractmethod
    def entries(self, rows: TrainedRows) -> int:
        """Numbers of one kind that it holds at once for one row; packs are cut by it."""

    @abstractmethod
    def measure(self, rows: TrainedRows) -> Tables:
        """The tables of these rows."""

    def check_rows(self, rows: TrainedRows) -> None:
        """Raise `ConfigError` where the analysis is not defined for rows of this kind."""
        del rows


def measured(analysis: SweepAnalysis, rows: TrainedRows) -> Tables:
    """`SweepAnalysis.measure` of any number of rows, in packs that fit into memory.

    Raises:
        ConfigError: see `SweepAnalysis.check_rows`.
    """
    analysis.check_rows(rows)
    size = max(1, ROW_ENTRIES // max(1, analysis.entries(rows)))
    parts: list[Tables] = []
    for start in range(0, len(rows), size):
        tables = analysis.measure(rows.part(start, start + size))
        for columns in tables.values():
            columns["row"] = columns["row"] + start
        parts.append(tables)
    return {
        name: {column: np.concatenate([part[name][column] for part in parts]) for column in parts[0][name]}
        for name in parts[0]
    }


def long_table(keep: Any = None, **columns: Any) -> Columns:
    """A long table of arrays that broadcast against each other; `keep` leaves out what it is false for.

    Example:
        >>> long_table(row=np.arange(2)[:, None], x=np.array([[1.0, 2.0], [3.0, 4.0]]))["row"].tolist()
        [0, 0, 1, 1]
    """
    arrays = [value.numpy() if isinstance(value, Tensor) else np.asarray(value) for value in columns.values()]
    chosen = np.ones((), bool) if keep is None else np.asarray(keep)
    *spread, chosen = np.broadcast_arrays(*arrays, chosen)
    return {name: value[chosen].copy() for name, value in zip(columns, spread, strict=True)}


def row_axis(rows: int, axes: int) -> np.ndarray:
    """The places 0..P-1 along the first of `axes` axes."""
    return np.arange(rows).reshape(rows, *[1] * (axes - 1))
