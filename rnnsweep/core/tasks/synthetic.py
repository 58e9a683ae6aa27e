"""What synthetic sequences share: their lengths, and finite training sets.

Shapes: P rows · B mini-batch · T = `max_length` steps.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.unit import Range
from rnnsweep.errors import ConfigError

LENGTH, EXTRA_LENGTH, POSITIONS, SYMBOLS, FILLING = range(5)
"""Streams of a synthetic sequence."""

Window = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Synthetic(Task):
    """Base of tasks whose sequences are made, not read.

    Attributes:
        length: steps (MATHS §8 says of what); an int, or ``[low, high]``: U{low..high-1} per mini-batch and row, as in
            the scripts of Pascanu et al. (2013).
        variant: whose conventions.
        train_size: number of training sequences, drawn once per replica; null = every mini-batch is fresh. Validation
            and test sequences are always fresh.
    """

    fixed: ClassVar = {"train_size": Range(1, integer=True, optional=True)}

    length: int | Iterable[int] = 100
    variant: str = "pascanu"
    train_size: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.length, Iterable) and not isinstance(self.length, str):
            object.__setattr__(self, "length", tuple(self.length))
        super().__post_init__()

    def check(self) -> None:
        """Also refuse lengths that leave a position without a choice.

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
        """Smallest length for which every position has a choice."""
        return 10

    @property
    def length_bounds(self) -> tuple[int, int]:
        """Shortest and longest value of `length` that can be drawn, both included."""
        if isinstance(self.length, tuple):
            return int(self.length[0]), int(self.length[1]) - 1
        assert isinstance(self.length, (int, float))
        return int(self.length), int(self.length)

    @property
    def max_length(self) -> int:
        """T_max in steps."""
        return self.length_bounds[1]

    @property
    def samples(self) -> int | None:
        """`train_size`."""
        return self.train_size

    def lengths(self, draws: Draws) -> Tensor:
        """Steps of each row's sequences, int64 [P]."""
        low, high = self.length_bounds
        if low == high:
            return torch.full_like(draws.batch_ids, low)
        return draws.batch_integers(low, high, LENGTH)

    def addressed(self, draws: Draws) -> Draws:
        """The draws with ids folded into the finite training set, where there is one."""
        if self.train_size is None or draws.split != "train":
            return draws
        return dataclasses.replace(draws, ids=draws.ids % self.train_size)

    @abstractmethod
    def windows(self, length: Tensor) -> Window:
        """First and last position of each special symbol, 0-based from the sequence's own start.

        Args:
            length: steps of the sequence, int64, any shape; plain ints work too.
        """

    def positions(self, draws: Draws, lengths: Tensor) -> Tensor:
        """Steps of the special symbols, int64 [P, B, m], right-aligned: counted from step 0 of T_max."""
        windows = self.windows(lengths[:, None])
        low = torch.cat([first for first, _ in windows], dim=1)[:, None]  # P 1 m
        high = torch.cat([last for _, last in windows], dim=1)[:, None]
        start = (self.max_length - lengths)[:, None, None]
        return draws.integers(low + start, high + start, len(windows), POSITIONS)


def rounded_tenths(count: int, length: Tensor) -> Tensor:
    """The product count * length / 10 rounded to the nearest whole number, halves up, in exact arithmetic."""
    return (count * length + 5) // 10
