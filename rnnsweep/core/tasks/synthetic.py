"""What made sequences share: their lengths, finite training sets, and special positions.

Shapes: P rows · B mini-batch · T = `max_length` steps.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from jaxtyping import Int64
from numba import njit
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.host_graph import launch_on_arrays
from rnnsweep.core.kernels import kernels_for
from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.base import Task
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Metric, Range

Whole = TypeVar("Whole", int, Tensor)

LENGTH, EXTRA_LENGTH, POSITIONS, SYMBOLS, FILLING = range(5)
"""Streams of a synthetic sequence."""

_SCORED = {
    "valid/error": Metric("share of evaluation sequences that are wrong, 0..1", "validation error", drawn=True),
    "valid/loss": Metric("loss on fresh evaluation sequences", "validation loss"),
}


@dataclass(frozen=True)
class LengthTask(Task):
    """Base of tasks whose sequences are made, not read.

    Attributes:
        length: steps (docs/maths.md#tasks says of what); an int, or ``[low, high]``: U{low..high-1} per mini-batch and
            row, as in the scripts of Pascanu et al. (2013).
        train_size: number of training sequences, drawn once per replica; null = every mini-batch is fresh. Validation
            and test sequences are always fresh.
        eval_lengths: further values of `length` at which every evaluation measures, each under keys of its own:
            ``valid/error.length200``, ``valid/loss.length200``. The same sequence ids at every length; training is
            what it is without.
    """

    fixed: ClassVar = {"train_size": Range(1, integer=True, optional=True)}

    length: int | Iterable[int] = 100
    train_size: int | None = None
    eval_lengths: Iterable[int] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        for name in ("length", "eval_lengths"):
            value = getattr(self, name)
            if isinstance(value, Iterable) and not isinstance(value, str):
                # yaml gives a list, but tasks are keys of caches
                object.__setattr__(self, name, tuple(value))
        super().__post_init__()

    def check(self) -> None:
        """Also refuse lengths that are too short or no lengths at all.

        Raises:
            ConfigError: some field is out of range.
        """
        super().check()
        whole = Range(self.least, open_high=True, integer=True)
        if not self._right_length(whole):
            raise ConfigError(
                "out of range",
                key="task.length",
                value=list(self.length) if isinstance(self.length, tuple) else self.length,
                allowed=f"a whole number >= {self.least}, or [low, high] with {self.least} <= low < high",
            )
        further = self.eval_lengths
        if not isinstance(further, tuple) or not all(map(whole.accepts, further)) or len({*further}) < len(further):
            shown = list(further) if isinstance(further, tuple) else further
            allowed = f"a list of different whole numbers >= {self.least}, such as [100, 200]"
            raise ConfigError("out of range", key="task.eval_lengths", value=shown, allowed=allowed)

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
    def probes(self) -> Mapping[str, Task]:
        """The task at each of `eval_lengths`."""
        return {
            _suffix(length): dataclasses.replace(self, length=int(length), eval_lengths=())
            for length in self.eval_lengths
        }

    @classmethod
    def declares(cls, values: Mapping[str, Any]) -> Mapping[str, Metric]:
        """Each metric of an evaluation also at each of `eval_lengths`."""
        every, lengths = super().declares(values), values.get("eval_lengths") or ()
        scored = {**_SCORED, **every}
        return {
            **every,
            **{
                f"{key}.{_suffix(length)}": Metric(
                    f"{metric.meaning}, at length {length}", f"{metric.label or key} at length {length}", metric.drawn
                )
                for length in (lengths if isinstance(lengths, (list, tuple)) else ())
                for key, metric in scored.items()
            },
        }

    @property
    def chance(self) -> Mapping[str, float]:
        """Also at each of `eval_lengths`."""
        return {**super().chance, **_by_probe({name: probe.chance for name, probe in self.probes.items()})}

    @property
    def worst(self) -> Mapping[str, float]:
        """Also at each of `eval_lengths`."""
        return {**super().worst, **_by_probe({name: probe.worst for name, probe in self.probes.items()})}

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
        # sequences are addressed: the same id gives the same sequence, so nothing need be stored
        return dataclasses.replace(draws, ids=draws.ids % self.train_size)

    def lengths(self, draws: Draws) -> Int64[Tensor, " P"]:
        """Values of `length`, prolonged where the task does that, int64 [P]."""
        low, high = self.length_bounds
        lengths = draws.batch_integers(low, high, LENGTH)
        if self.prolonged:
            # a stream of its own, so that tasks that do not prolong draw the same lengths
            lengths = lengths + draws.batch_integers(0, lengths // 10 - 1, EXTRA_LENGTH)
        return lengths


def _suffix(length: float) -> str:
    return f"length{int(length) if isinstance(length, float) and length.is_integer() else length}"


def _by_probe(levels: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Levels of evaluations, by the keys that they have beside those of the task itself."""
    return {
        f"{key}.{name}": value for name, each in levels.items() for key, value in each.items() if key[:6] == "valid/"
    }


@dataclass(frozen=True)
class Synthetic(LengthTask):
    """Base of tasks in which what matters stands at a few random positions.

    Attributes:
        length: steps (docs/maths.md#tasks says of what); an int, or ``[low, high]``: U{low..high-1} per mini-batch and
            row, as in the scripts of Pascanu et al. (2013).
        train_size: number of training sequences, drawn once per replica; null = every mini-batch is fresh.
        variant: whose conventions.
    """

    variant: str = "pascanu"

    @property
    def least(self) -> int:
        """Smallest length for which every position has a choice."""
        return 10

    def place(self, draws: Draws) -> tuple[Int64[Tensor, " P"], Int64[Tensor, "P B m"]]:
        """Steps of each row's sequences, int64 [P], and the steps of their special symbols, int64 [P, B, m].

        Sequences are right-aligned, and steps are counted from step 0 of T_max.
        """
        kernels, table = sequence_kernels(draws), _window_table(self)
        if kernels is not None and table.shape[1] <= kernels.MOST_POSITIONS:
            streams, ends = (LENGTH, EXTRA_LENGTH, POSITIONS), self.length_bounds
            return kernels.place(draws, self._window_table_on(draws.device), ends, streams, prolonged=self.prolonged)
        if not draws.fast:
            lengths = self.lengths(draws)
            return lengths, self._positions(draws, lengths)
        # The compiled loop gets plain numbers and tables: it knows no task.
        low, high = self.length_bounds
        setting = np.array([low, high - low + 1, self.prolonged, self.max_length])
        return launch_on_arrays(_place, draws.keys, draws.ids, draws.batch_ids, setting, table)

    @abstractmethod
    def windows(self, length: Whole) -> list[tuple[Whole, Whole]]:
        """First and last position of each special symbol, 0-based from the sequence's own start.

        Args:
            length: steps of the sequence: a plain int, or int64 of any shape.
        """

    def _window_table_on(self, device: torch.device) -> Tensor:
        """`_window_table` on a device, kept with the task: replayed updates read it where it was when recorded."""
        kept = self.__dict__.setdefault("_window_tables", {})
        if device not in kept:
            kept[device] = torch.from_numpy(_window_table(self)).to(device)
        return kept[device]

    def _positions(self, draws: Draws, lengths: Tensor) -> Tensor:
        windows = self.windows(lengths[:, None])
        low = torch.cat([first for first, _ in windows], dim=1)[:, None]  # P 1 m
        high = torch.cat([last for _, last in windows], dim=1)[:, None]
        start = (self.max_length - lengths)[:, None, None]
        return draws.integers(low + start, high + start, len(windows), POSITIONS)


def sequence_kernels(draws: Draws) -> ModuleType | None:
    """`core.gpu.sequences` where it is to be used."""
    return kernels_for("sequences", draws.device) if draws.compiled else None


@lru_cache(maxsize=64)
def _window_table(task: Synthetic) -> np.ndarray:
    """First position and number of positions of each special symbol by length, int64 [T_max + 1, m, 2]."""
    shortest, longest = task.length_bounds[0], task.max_length
    # By length, since windows depend on it; a few kilobytes, made once per task.
    table = np.zeros((longest + 1, len(task.windows(longest)), 2), dtype=np.int64)
    for length in range(shortest, longest + 1):
        table[length] = [(low, high - low + 1) for low, high in task.windows(length)]
    return table


@njit(inline="always")
def _integer(word, span):
    # the formula of `Draws.integers`: both ways must give the same sequences
    return np.int64(word * np.uint64(span) >> np.uint64(32))


@njit(nogil=True, cache=True)
def _place(keys, ids, batch_ids, setting, table):
    low, span, prolonged, longest = setting
    P, B, m = ids.shape[0], ids.shape[1], table.shape[1]
    lengths, positions = np.empty(P, dtype=np.int64), np.empty((P, B, m), dtype=np.int64)
    words = np.empty(4, dtype=np.uint64)
    for p in range(P):
        # one length per row and mini-batch, as in `Draws.batch_integers`
        rng.fill(keys[p], batch_ids[p], LENGTH | rng.BATCH, words)
        length = low + _integer(words[0], span)
        if prolonged:
            rng.fill(keys[p], batch_ids[p], EXTRA_LENGTH | rng.BATCH, words)
            length += _integer(words[0], length // 10)
        lengths[p] = length
        for b in range(B):
            rng.fill(keys[p], ids[p, b], POSITIONS, words)
            for i in range(m):
                positions[p, b, i] = longest - length + table[length, i, 0] + _integer(words[i], table[length, i, 1])
    return lengths, positions


def rounded_tenths(count: int, length: Whole) -> Whole:
    """The product count * length / 10 rounded to the nearest whole number, halves up, in exact arithmetic."""
    return (count * length + 5) // 10
