"""Long sequences read through windows: what tasks on natural data share.

Shapes: P rows · T = `context` + `length` steps of a window · B mini-batch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from rnnsweep.core.rng import Draws, Split
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.types import Batch
from rnnsweep.unit import Range


@dataclass
class Place:
    """Where the steps of the windows of one mini-batch lie in the part's data, all sequences end to end.

    Attributes:
        index: int64 [P, T, B], row of the data that is the input; its last row where a sequence has not begun.
        target: int64 [P, T, B], row that is wanted.
        own: bool [P, T, B], steps at or after the sequence's start.
        scored: bool [P, T, B], steps that count.
    """

    index: Tensor
    target: Tensor
    own: Tensor
    scored: Tensor


@dataclass(frozen=True)
class WindowTask(Task):
    """Base of tasks that predict the next step of long sequences.

    Every sequence is cut into pieces of `length` steps (the last one may be shorter); each piece is scored once, in a
    window that ends with it and begins `context` steps before it. Context is read but not scored: it stands for a
    state that is carried over. A shorter last piece has more context. Before a sequence's start inputs are 0.
    A sample is a window; samples are drawn with replacement.

    Attributes:
        path: where the data lie; null: a small sample that comes with rnnsweep.
        length: steps of a window that are scored.
        context: steps read before them.
    """

    fixed: ClassVar = {
        "length": Range(1, integer=True, open_high=True),
        "context": Range(0, integer=True, open_high=True),
    }
    per_step: ClassVar[bool] = True

    path: str | None = None
    length: int = 100
    context: int = 0

    def check(self) -> None:
        """Also read the data.

        Raises:
            ConfigError: a field is out of range, or the data are missing or broken.
        """
        super().check()
        self.parts()

    @property
    def source(self) -> tuple[Any, ...]:
        """What the data depend on: arguments of `load`."""
        return (self.path,)

    @staticmethod
    @abstractmethod
    def load(*source: Any, states: str | None = None) -> Mapping[Split, Sequence[np.ndarray]]:
        """Sequences of each part, [steps] or [steps, d]; the reader keeps what it read of files in these states."""

    def parts(self) -> Mapping[Split, Sequence[np.ndarray]]:
        """Sequences of each part, [steps] or [steps, d]."""
        return self.load(*self.source, states=self.data_states)

    @property
    def ahead(self) -> int:
        """How many steps ahead the target lies."""
        return 1

    @property
    def whole(self) -> bool:
        """Whether a sequence's last, shorter piece is left out."""
        return False

    @property
    def max_length(self) -> int:
        """T in steps."""
        return int(self.length) + int(self.context)

    @property
    def samples(self) -> int:
        """Windows of the training part."""
        return self.samples_of("train")

    def samples_of(self, split: Split) -> int:
        """Windows of a part."""
        return len(_table(self, self.data_states, split))

    def place(self, draws: Draws) -> Place:
        """Where the windows of the ids in `draws` lie."""
        T, device = self.max_length, draws.device
        table = _table_on(self, self.data_states, draws.split, device)
        start, end, first = table[draws.ids % len(table)].unbind(2)  # P B
        position = (end - T)[:, None] + torch.arange(T, device=device)[:, None]  # P T B
        own = position >= 0
        # -1 is the row of zeros that `data` ends with
        index = torch.where(own, start[:, None] + position, torch.full_like(position, -1))
        # before the start any row that exists will do: it is not scored
        target = torch.where(own, index + self.ahead, index)
        return Place(index, target, own, position >= first[:, None])

    def batch(self, draws: Draws) -> Batch:
        """Windows of the ids in `draws`; inputs and targets [P, T, B, d]."""
        place = self.place(draws)
        steps = self.data(draws.split, draws.device, draws.dtype)
        lengths = torch.full_like(draws.batch_ids, self.max_length)
        return Batch(steps[place.index], steps[place.target], lengths, place.scored.to(draws.dtype))

    def data(self, split: Split, device: torch.device, dtype: torch.dtype) -> Shaped[Tensor, "rows ..."]:
        """A part's sequences end to end and one row of zeros, [rows + 1] or [rows + 1, d]."""
        return _data(type(self), self.source, self.data_states, split, device, dtype)

    def training_targets(self) -> np.ndarray:
        """Everything that is a target in training, [n] or [n, d]."""
        return np.concatenate([sequence[self.ahead :] for sequence in self.parts()["train"]])


@lru_cache(maxsize=32)
def _table(task: WindowTask, states: str, split: Split) -> Tensor:
    """Windows of a part, int64 [n, 3]: row of the sequence's start; last step (exclusive) and first scored step."""
    del states  # tasks are equal if their fields are: whatever is kept of files is kept for their states too
    rows, start, length = [], 0, int(task.length)
    for sequence in task.parts()[split]:
        # the last steps are targets only
        steps = len(sequence) - task.ahead
        end = steps - length + 1 if task.whole else steps
        rows += [(start, min(first + length, steps), first) for first in range(0, end, length)]
        start += len(sequence)
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)


@lru_cache(maxsize=32)
def _table_on(task: WindowTask, states: str, split: Split, device: torch.device) -> Tensor:
    """The table where it is used, so that no mini-batch waits for a copy."""
    return _table(task, states, split).to(device)


@lru_cache(maxsize=8)
def _data(
    task: type[WindowTask], source: tuple[Any, ...], states: str, split: Split, device: torch.device, dtype: torch.dtype
) -> Tensor:
    joined = np.concatenate(task.load(*source, states=states)[split])
    # a row of zeros at the end, for steps before a sequence's start to point at
    data = torch.from_numpy(np.concatenate([joined, np.zeros_like(joined[:1])]))
    return data.to(device, dtype)
