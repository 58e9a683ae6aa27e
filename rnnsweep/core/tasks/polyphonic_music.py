"""Polyphonic music: which keys sound at the next step?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.datasets.midi import NOTES
from rnnsweep.core.datasets.rolls import read_rolls, roll_files
from rnnsweep.core.losses import BINARY_CROSS_ENTROPY, Loss
from rnnsweep.core.rng import Split
from rnnsweep.core.tasks.success import share_of_steps
from rnnsweep.core.tasks.windows import WindowTask
from rnnsweep.core.types import Batch
from rnnsweep.unit import Range


@dataclass(frozen=True)
class PolyphonicMusic(WindowTask):
    """Piano rolls: 88 keys, 1 where a key sounds; wanted are the keys of the next step.

    The loss is the negative log-likelihood per step, nats, summed over the keys. The error is the share of steps at
    which some key is wrong (logit > 0 means that it sounds).

    Attributes:
        steps_per_beat: steps per quarter note of MIDI files; JSON and .npz files have steps of their own.

    Numerics:
        Inputs and targets are exactly 0 and 1.

    References:
        Boulanger-Lewandowski, Bengio, Vincent (2012); Pascanu, Mikolov, Bengio (2013), section 4.2. Ours differs:
        pieces longer than `length` are scored window by window.

    Example:
        >>> task = PolyphonicMusic()
        >>> task.n_inputs, task.n_outputs, task.loss.name
        (88, 88, 'binary_cross_entropy')
    """

    fixed: ClassVar = {**WindowTask.fixed, "steps_per_beat": Range(1, 96, integer=True)}
    loss: ClassVar[Loss] = BINARY_CROSS_ENTROPY

    steps_per_beat: int = 2

    @property
    def source(self) -> tuple[Any, ...]:
        """Path and `steps_per_beat`."""
        return self.path, int(self.steps_per_beat)

    @staticmethod
    def load(*source: Any, states: str | None = None) -> Mapping[Split, Sequence[np.ndarray]]:
        """Pieces as uint8 [steps, 88]."""
        return read_rolls(*source, states=states)

    def data_files(self) -> Sequence[Path]:
        """See `Task.data_files`."""
        return roll_files(self.path)

    @property
    def n_inputs(self) -> int:
        """I = 88."""
        return NOTES

    @property
    def n_outputs(self) -> int:
        """O = 88."""
        return NOTES

    @property
    def chance_loss(self) -> float:
        """Entropy of each key's share of the training steps, summed over the keys, nats."""
        return _chance(self, self.data_states)[0]

    @property
    def chance_error(self) -> float:
        """1 - share of the commonest training step."""
        return _chance(self, self.data_states)[1]

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Share of steps with a wrong key, float64 [P, B]."""
        assert batch.mask is not None
        # +inf would count as "sounds" otherwise
        wrong = ((outputs > 0) != (batch.targets > 0)) | ~torch.isfinite(outputs)
        return share_of_steps(wrong.any(-1), batch.mask)


@lru_cache(maxsize=16)
def _chance(task: PolyphonicMusic, states: str) -> tuple[float, float]:
    del states  # see `windows._table`
    steps = task.training_targets()
    shares = steps.mean(0, dtype=np.float64)
    # keys that never or always sound have no entropy, and 0 log 0 is NaN
    sounding = shares[(shares > 0) & (shares < 1)]
    entropy = -(sounding * np.log(sounding) + (1 - sounding) * np.log1p(-sounding)).sum()
    _, counts = np.unique(steps, axis=0, return_counts=True)
    return float(entropy), 1 - float(counts.max()) / len(steps)
