"""Character language model: which character comes next?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from rnnsweep.core.datasets.text import read_text, text_files
from rnnsweep.core.rng import Draws, Split
from rnnsweep.core.tasks.onehot import symbols
from rnnsweep.core.tasks.success import argmax_errors, share_of_steps
from rnnsweep.core.tasks.windows import Place, WindowTask
from rnnsweep.core.types import Batch
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Metric


@dataclass(frozen=True)
class CharLm(WindowTask):
    """The text one character per step, one-hot; wanted is the character `ahead` steps later.

    The alphabet is every character of all parts. The error is the share of characters that are not the likeliest.
    Losses are in nats per character; ``valid/bits_per_character`` is the validation loss in bits.

    Attributes:
        ahead_steps: 1, or 5 as in the second experiment of Pascanu et al. (2013).
        carry: the state goes over from one mini-batch to the next. The training text is cut into as many streams as a
            mini-batch has sequences; each mini-batch reads the next `length` characters of all of them, and at their
            end begins anew with the family's own first state. The validation text is read in the same way.

    Numerics:
        Inputs are exactly 0 and 1.

    References:
        Mikolov et al. (2012); Pascanu, Mikolov, Bengio (2013), section 4.2. Ours differs without `carry`: windows are
        drawn at random, and `context` characters before each stand for a state.

    Example:
        >>> task = CharLm()
        >>> task.n_inputs == task.n_outputs, task.max_length
        (True, 100)
    """

    metrics: ClassVar[Mapping[str, Metric]] = {
        "valid/bits_per_character": Metric(
            "loss on the evaluation text, in bits instead of nats", "bits per character", drawn=True
        )
    }
    fixed: ClassVar = {**WindowTask.fixed, "ahead_steps": (1, 5), "carry": (True, False)}

    ahead_steps: int = 1
    carry: bool = False

    def check(self) -> None:
        """Also whether both ways to a state are asked for.

        Raises:
            ConfigError: they are, or a field is out of range, or the text is missing or broken.
        """
        super().check()
        # context stands in for a carried state: with both it would be read twice
        if self.carry and self.context:
            problem = "stands for a state that is carried over"
            raise ConfigError(problem, key="task.context", value=self.context, allowed="0 with task.carry=true")

    def check_batch(self, batch: int) -> None:
        """Streams must be as long as one window at least."""
        if self.carry and not self._windows(batch):
            most = self._steps // int(self.length)
            problem = f"the training text has {self._steps} characters, too few for so many streams of task.length"
            raise ConfigError(problem, key="training.batch", value=batch, allowed=f"at most {most}")

    @staticmethod
    def load(*source: Any, states: str | None = None) -> Mapping[Split, Sequence[np.ndarray]]:
        """Codes of the text's characters, one sequence per part."""
        return read_text(*source, states=states)[1]

    def data_files(self) -> Sequence[Path]:
        """See `Task.data_files`."""
        return text_files(self.path)

    @property
    def ahead(self) -> int:
        """`ahead_steps`."""
        return int(self.ahead_steps)

    @property
    def alphabet(self) -> str:
        """All characters; a character's place is its code."""
        return read_text(self.path, states=self.data_states)[0]

    @property
    def tokens(self) -> bool:
        """Whether inputs are symbols: yes."""
        return True

    @property
    def n_inputs(self) -> int:
        """I: characters of the alphabet."""
        return len(self.alphabet)

    @property
    def n_outputs(self) -> int:
        """O = I."""
        return len(self.alphabet)

    @property
    def chance_loss(self) -> float:
        """Entropy of the training characters, nats."""
        shares = _shares(self, self.data_states)
        return -sum(share * math.log(share) for share in shares if share)

    @property
    def chance_error(self) -> float:
        """1 - share of the commonest training character."""
        return 1 - max(_shares(self, self.data_states))

    @property
    def derived(self) -> Mapping[str, float]:
        """The loss in bits."""
        return {"valid/bits_per_character": 1 / math.log(2)}

    @property
    def carries(self) -> bool:
        """`carry`."""
        return self.carry

    @property
    def whole(self) -> bool:
        """Streams have whole windows only."""
        return self.carry

    @property
    def _steps(self) -> int:
        """Characters of the training text that have a target."""
        return len(self.parts()["train"][0]) - self.ahead

    def _windows(self, batch: int) -> int:
        """Windows of each stream."""
        return self._steps // batch // int(self.length)

    def begins(self, step: Int64[Tensor, " P"], batch: int) -> Bool[Tensor, " P"]:
        """At the start of the text, again and again."""
        return step % self._windows(batch) == 0

    def place(self, draws: Draws) -> Place:
        """Where the windows lie: of the streams, where the state is carried over in training."""
        if not self.carry or draws.split != "train":
            return super().place(draws)
        T, B, device = self.max_length, draws.ids.shape[1], draws.device
        # stream b begins at its share of the text; what is left over at the end is not read
        starts = torch.arange(B, device=device) * (self._steps // B)
        # by update, not by id: a stream goes on where it stopped
        within = draws.batch_ids % self._windows(B) * T  # P
        steps = within[:, None] + torch.arange(T, device=device)  # P T
        index = steps[:, :, None] + starts  # P T B
        # streams have whole windows only: every step is their own
        own = torch.ones_like(index, dtype=torch.bool)
        return Place(index, index + self.ahead, own, own)

    def batch(self, draws: Draws) -> Batch:
        """Windows of the ids in `draws`, or of the streams; targets are codes, int64 [P, T, B]."""
        place = self.place(draws)
        codes = self.data(draws.split, draws.device, torch.int64)
        inputs = symbols(codes[place.index], place.own, self.n_inputs, draws)
        lengths = torch.full_like(draws.batch_ids, self.max_length)
        return Batch(inputs, codes[place.target], lengths, place.scored.to(draws.dtype))

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Share of wrong characters, float64 [P, B]."""
        assert batch.mask is not None
        return share_of_steps(argmax_errors(outputs, batch.targets), batch.mask)


@lru_cache(maxsize=16)
def _shares(task: CharLm, states: str) -> tuple[float, ...]:
    del states  # see `windows._table`
    # minlength: characters that only other parts have count 0
    counts = np.bincount(task.training_targets(), minlength=task.n_outputs)
    return tuple((counts / counts.sum()).tolist())
