"""Sequences of a file that a trained network is asked about, prepared when they are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from rnnsweep.core.datasets.mapped_arrays import MappedArrays
from rnnsweep.core.datasets.table_columns import largest_allowed
from rnnsweep.core.datasets.table_inputs import InputRecipe


@dataclass(frozen=True, eq=False)
class NewSequences:
    """Names and inputs; what lies on the disk is read again whenever it is taken, and not kept.

    Attributes:
        names: of each sequence. take: inputs of one of them, float32 [steps, width] or codes int64 [steps, 1].
    """

    names: tuple[str, ...]
    take: Callable[[int], np.ndarray]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        return ((name, self.take(index)) for index, name in enumerate(self.names))


def in_memory(
    names: Sequence[str],
    starts: Int64[np.ndarray, " S1"],
    inputs: Float[np.ndarray, "rows width"] | Int64[np.ndarray, "rows width"],
) -> NewSequences:
    """Of rows that lie end to end.

    Args:
        names: of each sequence. starts: where each begins, and the end. inputs: of all rows.
    """
    return NewSequences(tuple(names), lambda index: inputs[starts[index] : starts[index + 1]])


def on_disk(mapped: MappedArrays, recipe: InputRecipe) -> NewSequences:
    """Of mapped arrays, with whose columns the network was trained; not of ``previous``, which no mapped array has.

    Raises:
        ConfigError: a column is not there or no numbers; when a sequence is taken: a cell is empty that must not be, or
            no number that float32 has.
    """
    header = mapped.header()
    for name in recipe.columns:
        header.numbers(name, "task.inputs")

    def take(index: int) -> np.ndarray:
        start, end = int(mapped.starts[index]), int(mapped.starts[index + 1])
        values = mapped.values(recipe.columns, np.arange(start, end))
        bad = ~(np.abs(values) <= largest_allowed)
        if recipe.missing != "error":
            bad &= ~np.isnan(values)
        if bad.any():
            row, column = map(int, np.argwhere(bad)[0])
            shown = float(values[row, column])
            problem = (
                "is empty" if np.isnan(shown) else "is not finite" if np.isinf(shown) else "is too large for float32"
            )
            raise mapped.wrong(start + row, recipe.columns[column], problem, shown, allowed="finite numbers")
        return recipe.rows(values)

    return NewSequences(mapped.table.names, take)
