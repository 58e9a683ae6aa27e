"""Temporal order: which of A and B came first, which second (Hochreiter & Schmidhuber 1997); and its base."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
from numba import njit
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.host_graph import launch_on_arrays
from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.onehot import codes_of
from rnnsweep.core.tasks.success import argmax_errors
from rnnsweep.core.tasks.synthetic import FILLING, SYMBOLS, Synthetic, Whole, rounded_tenths, sequence_kernels
from rnnsweep.core.types import Batch

_INPUTS = 6
_FIRST_DISTRACTOR, _DISTRACTORS = 2, 4


@dataclass(frozen=True)
class OrderTask(Synthetic):
    """Base of the temporal-order tasks: symbols A and B (inputs 0 and 1) among distractors (2..5).

    Every step is one-hot: A or B, with equal chance, at `bits` positions, one of four distractors elsewhere. The class
    at the end is the number whose binary digits are the symbols, the first one lowest.

    Attributes:
        bits: how many symbols matter.
    """

    fixed: ClassVar = {**Synthetic.fixed, "variant": ("pascanu", "chernodub")}
    bits: ClassVar[int] = 2

    @property
    def tokens(self) -> bool:
        """Whether inputs are symbols: yes."""
        return True

    @property
    def n_inputs(self) -> int:
        """I = 6: A, B and four distractors."""
        return _INPUTS

    @property
    def n_outputs(self) -> int:
        """O = 2**bits classes."""
        return 2**self.bits

    @property
    def chance_loss(self) -> float:
        """Logarithm of O, in nats."""
        return math.log(self.n_outputs)

    @property
    def chance_error(self) -> float:
        """1 - 1 / O."""
        return 1 - 1 / self.n_outputs

    def batch(self, draws: Draws) -> Batch:
        """Sequences of the ids in `draws`; targets are classes, int64 [P, B]."""
        draws = self.addressed(draws)
        lengths, positions = self.place(draws)
        if (kernels := sequence_kernels(draws)) is not None:
            inputs, classes = kernels.order(draws, lengths, positions, self.max_length, (SYMBOLS, FILLING))
            return Batch(inputs, classes, lengths)
        shape = (draws.ids.shape[0], self.max_length, draws.ids.shape[1], _INPUTS)
        inputs = torch.zeros(shape, dtype=draws.dtype, device=draws.device)
        classes = (_write_compiled if draws.fast else _write)(draws, lengths, positions, inputs)
        return Batch(codes_of(inputs) if draws.tokens else inputs, classes, lengths)

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Whether the largest logit is not the class, bool [P, B]."""
        return argmax_errors(outputs, batch.targets)


@dataclass(frozen=True)
class TemporalOrder(OrderTask):
    """Two symbols, A or B, among distractors; the class is v0 + 2 v1 (four classes) at the last step.

    ``pascanu``: n = int(.1 L), positions n + U{0..n-1} and int(.5 L) + U{0..n-1}.
    ``chernodub``: 1-based positions in [T/10, 2T/10] and [4T/10, 5T/10], ends rounded (halves up).

    Numerics:
        Inputs are exactly 0 and 1. Tenths are taken in whole numbers, equal to int(.1 L) and int(.5 L).

    References:
        Pascanu, Mikolov, Bengio (2013) and their scripts; Chernodub, Nowicki (2016).

    Example:
        >>> task = TemporalOrder(length=20)
        >>> task.n_inputs, task.n_outputs, task.max_length
        (6, 4, 20)
    """

    def windows(self, length: Whole) -> list[tuple[Whole, Whole]]:
        """First and last position of both symbols."""
        if self.variant == "chernodub":
            ends = [(1, 2), (4, 5)]
            return [(rounded_tenths(low, length) - 1, rounded_tenths(high, length) - 1) for low, high in ends]
        n = length // 10
        return [(base, base + n - 1) for base in (n, length // 2)]


def _write(draws: Draws, lengths: Tensor, positions: Tensor, inputs: Tensor) -> Tensor:
    """Fill the zero tensor `inputs` [P, T, B, I] and return the classes [P, B], on any device."""
    T, bits = inputs.shape[1], positions.shape[2]
    symbols = draws.integers(0, 1, bits, SYMBOLS)
    last = _FIRST_DISTRACTOR + _DISTRACTORS - 1
    every = draws.integers(_FIRST_DISTRACTOR, last, T, FILLING).scatter(2, positions, symbols)  # P B T
    own = torch.arange(T, device=draws.device) >= T - lengths[:, None]  # P T
    one = own[:, :, None, None].expand(-1, -1, inputs.shape[2], 1).to(inputs.dtype)
    inputs.scatter_(3, every.transpose(1, 2)[..., None], one)
    return (symbols * 2 ** torch.arange(bits, device=draws.device)).sum(2)


def _write_compiled(draws: Draws, lengths: Tensor, positions: Tensor, inputs: Tensor) -> Tensor:
    """As `_write`, on the CPU."""
    return launch_on_arrays(_fill, draws.keys, draws.ids, lengths, positions, inputs)


@njit(nogil=True, cache=True)
def _fill(keys, ids, lengths, positions, inputs):
    T, bits = inputs.shape[1], positions.shape[2]
    classes = np.zeros(ids.shape, dtype=np.int64)
    bit_words = np.empty(4, dtype=np.uint64)
    words = np.empty((T + 3) // 4 * 4, dtype=np.uint64)
    for p in range(ids.shape[0]):
        for b in range(ids.shape[1]):
            rng.fill(keys[p], ids[p, b], SYMBOLS, bit_words)
            rng.fill(keys[p], ids[p, b], FILLING, words)
            # All steps get a distractor first; the symbols then overwrite theirs, so that streams stay aligned.
            for t in range(T - lengths[p], T):
                drawn = np.int64(words[t] * np.uint64(_DISTRACTORS) >> np.uint64(32))
                inputs[p, t, b, _FIRST_DISTRACTOR + drawn] = 1
            for i in range(bits):
                # the top bit is what word * 2 >> 32 gives in `_write`
                symbol = np.int64(bit_words[i] >> np.uint64(31))
                inputs[p, positions[p, b, i], b] = 0
                inputs[p, positions[p, b, i], b, symbol] = 1
                classes[p, b] += symbol << i
    return classes
