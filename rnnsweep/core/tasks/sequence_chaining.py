"""Sequence chaining: pattern units select learned segments one after another (Murray 2019)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.losses import SQUARED_ERROR, Loss
from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.tasks.onehot import codes_of
from rnnsweep.core.tasks.synthetic import SYMBOLS
from rnnsweep.core.types import Batch
from rnnsweep.unit import Range

_MODES = 6
_LIMIT = 0.04
_APART = 0.25
"""Least mean squared difference of two curves. Above 4 * .04, so that no output is right for two of them."""


@dataclass(frozen=True)
class SequenceChaining(Task):
    """A chain of segments, each chosen by a pattern unit that is on during the segment; wanted is the segment's curve.

    There are `segments` fixed curves, sums of six sine waves that end at 0, with mean square 1/2; each sequence is a
    chain of them in random order. A sequence is wrong if the mean squared error of any of its segments exceeds .04.

    Attributes:
        length: steps of one segment.
        segments: number of different curves, and of pattern units.
        chain: segments per sequence.
        curve_seed: which curves.

    Numerics:
        Curves are formed in float64 and rounded once.

    References:
        Murray (2019), eLife 8:e43299: the augmented circuit, whose pattern units switch per segment. Ours differs: the
        order is given from outside, curves and the rule for success are our own choice.

    Example:
        >>> task = SequenceChaining()
        >>> task.n_inputs, task.n_outputs, task.max_length, task.chance_error
        (4, 1, 90, 0.984375)
    """

    fixed: ClassVar = {
        "length": Range(2 * _MODES, integer=True, open_high=True),
        "segments": Range(2, 16, integer=True),
        "chain": Range(1, integer=True, open_high=True),
        "curve_seed": Range(0, integer=True, open_high=True),
    }
    loss: ClassVar[Loss] = SQUARED_ERROR
    per_step: ClassVar[bool] = True

    length: int = 30
    segments: int = 4
    chain: int = 3
    curve_seed: int = 0

    @property
    def tokens(self) -> bool:
        """Whether inputs are symbols, of segments: yes."""
        return True

    @property
    def n_inputs(self) -> int:
        """I: one pattern unit per curve."""
        return int(self.segments)

    @property
    def n_outputs(self) -> int:
        """O = 1."""
        return 1

    @property
    def max_length(self) -> int:
        """T = `length` * `chain`."""
        return int(self.length) * int(self.chain)

    @property
    def chance_loss(self) -> float:
        """Variance among the curves, averaged over the steps of a segment."""
        return float(_curves(int(self.length), int(self.segments), int(self.curve_seed)).var(0, correction=0).mean())

    @property
    def chance_error(self) -> float:
        """1 - segments ** -chain: a fixed chain; no output is right for two."""
        return 1 - float(self.segments) ** -self.chain

    def batch(self, draws: Draws) -> Batch:
        """Sequences of the ids in `draws`; targets [P, T, B, 1]."""
        order = draws.integers(0, self.n_inputs - 1, int(self.chain), SYMBOLS).transpose(1, 2)  # P chain B
        units = torch.eye(self.n_inputs, dtype=draws.dtype, device=draws.device)[order]  # P chain B I
        inputs = units.repeat_interleave(int(self.length), dim=1)
        curves = _curves_on(self, draws.device, draws.dtype)[order]  # P chain B length
        targets = curves.transpose(2, 3).flatten(1, 2)[..., None].contiguous()
        return Batch(
            codes_of(inputs) if draws.tokens else inputs, targets, torch.full_like(draws.batch_ids, self.max_length)
        )

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Whether the mean squared error of some segment exceeds .04, bool [P, B]."""
        square = (outputs - batch.targets)[..., 0].double().square()  # P T B
        each = square.unflatten(1, (int(self.chain), int(self.length))).mean(2)  # P chain B
        # not `>`, which is false for NaN
        return ~(each <= _LIMIT).all(1)


@lru_cache(maxsize=16)
def _curves(length: int, segments: int, seed: int) -> Tensor:
    """Curves, float64 [segments, length]; candidates too near to an earlier curve are passed over."""
    s = torch.arange(1, length + 1, dtype=torch.float64) / length
    waves = torch.sin(math.pi * torch.arange(1, _MODES + 1, dtype=torch.float64)[:, None] * s)  # modes length
    key, kept, candidate = torch.tensor([rng.key(seed, 0, "sequence chaining, curves")]), [], 0
    while len(kept) < segments:
        curve = rng.normals(key, _MODES, candidate)[0] @ waves
        # mean square 1/2, that of a sine wave
        curve = curve / (2 * curve.square().mean()).sqrt()
        candidate += 1
        if all(float((curve - other).square().mean()) > _APART for other in kept):
            kept.append(curve)
    return torch.stack(kept)


@lru_cache(maxsize=16)
def _curves_on(task: SequenceChaining, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The curves where they are used, so that no mini-batch waits for a copy."""
    return _curves(int(task.length), int(task.segments), int(task.curve_seed)).to(device, dtype)
