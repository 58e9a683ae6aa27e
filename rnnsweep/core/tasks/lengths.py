"""What synthetic sequences share: their lengths, and finite training sets. Shapes: P rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.base import Task
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Range

LENGTH, EXTRA_LENGTH, POSITIONS, SYMBOLS, FILLING = range(5)
"""Streams of a synthetic sequence."""


@dataclass(frozen=True)
class LengthTask(Task):
    """Base of tasks whose sequences are made, not read.

    Attributes:
        length: steps (docs/maths.md#tasks says of what); an int, or ``[low, high]``: U{low..high-1} per mini-batch and
            row, as in the scripts of Pascanu et al. (2013).
        train_size: number of training sequences, drawn once per replica; null = every mini-batch is fresh. Validation
            and test sequences are always fresh.
    """

    fixed: ClassVar = {"train_size": Range(1, integer=True, optional=True)}

    length: int | Iterable[int] = 100
    train_size: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.length, Iterable) and not isinstance(self.length, str):
            object.__setattr__(self, "length", tuple(self.length))
        super().__post_init__()

    def check(self) -> None:
        """Also refuse lengths that are too short or no lengths at all.

        Raises:
            ConfigError: some field is out of range.
        """
        super().check()
        if not self._right_length(Range(self.least, open_high=True, integer=True)):
            raise ConfigError(
                "out of range",
                key="task.length",
                value=list(self.length) if isinstance(self.length, tuple) else self.length,
                allowed=f"a whole number >= {self.least}, or [low, high] with {self.least} <= low < high",
            )

    def _right_length(self, allowed: Range) -> bool:
        if not isinstance(self.length, tuple):
            return allowed.accepts(self.length)
        return len(self.length) == 2 and all(map(allowed.accepts, self.length)) and self.length[0] < self.length[1]

    @property
    def least(self) -> int:
        """Smallest value of `length`."""
        return 1

    @property
    def length_bounds(self) -> tuple[int, int]:
        """Shortest and longest value of `length` that can be drawn, both included."""
        if isinstance(self.length, tuple):
            return int(self.length[0]), int(self.length[1]) - 1
        assert isinstance(self.length, (int, float))
        return int(self.length), int(self.length)

    @property
    def prolonged(self) -> bool:
        """Whether U{0..int(.1 T) - 1} further steps are drawn per mini-batch and row."""
        return False

    @property
    def max_length(self) -> int:
        """T_max in steps."""
        longest = self.length_bounds[1]
        return longest + longest // 10 - 1 if self.prolonged else longest

    @property
    def samples(self) -> int | None:
        """`train_size`."""
        return self.train_size

    def addressed(self, draws: Draws) -> Draws:
        """The draws with ids folded into the finite training set, where there is one."""
        if self.train_size is None or draws.split != "train":
            return draws
        return dataclasses.replace(draws, ids=draws.ids % self.train_size)

    def lengths(self, draws: Draws) -> Tensor:
        """Values of `length`, prolonged where the task does that, int64 [P]."""
        low, high = self.length_bounds
        lengths = draws.batch_integers(low, high, LENGTH)
        if self.prolonged:
            lengths = lengths + draws.batch_integers(0, lengths // 10 - 1, EXTRA_LENGTH)
        return lengths
