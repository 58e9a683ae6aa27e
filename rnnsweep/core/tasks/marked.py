"""Sequences of values of which two are marked: what adding and multiplication share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numba import njit
from torch import Tensor

from rnnsweep.core import philox
from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.success import absolute_errors, squared_errors
from rnnsweep.core.tasks.synthetic import EXTRA_LENGTH, FILLING, Synthetic, Window, rounded_tenths
from rnnsweep.core.types import Batch

_SQUARED_LIMIT = 0.04


@dataclass(frozen=True)
class MarkedTask(Synthetic):
    """Base of adding and multiplication: inputs are (marker, value); two values are marked with 1, others with 0.

    Attributes:
        success: ``squared_error``: wrong when e**2 > .04; ``absolute``: wrong when |e| > `tolerance`; null: the
            variant's own rule (``absolute`` for ``chernodub``, else ``squared_error``).
        tolerance: of the rule ``absolute``.
    """

    fixed: ClassVar = {**Synthetic.fixed, "success": (None, "squared_error", "absolute")}
    loss: ClassVar[str] = "squared_error"
    tolerance: ClassVar[float]

    success: str | None = None

    @property
    def n_inputs(self) -> int:
        """I = 2: marker and value."""
        return 2

    @property
    def n_outputs(self) -> int:
        """O = 1."""
        return 1

    @property
    def rule(self) -> str:
        """The success rule in force."""
        return self.success or ("absolute" if self.variant == "chernodub" else "squared_error")

    @property
    def half_width(self) -> float:
        """Largest |e| that counts as a success."""
        return self.tolerance if self.rule == "absolute" else _SQUARED_LIMIT**0.5

    @property
    def max_length(self) -> int:
        """T_max in steps; ``pascanu`` adds up to int(.1 T) - 1 steps to T."""
        longest = self.length_bounds[1]
        return longest + longest // 10 - 1 if self.variant == "pascanu" else longest

    def lengths(self, draws: Draws) -> Tensor:
        """Steps of each row's sequences, int64 [P]; ``pascanu``: T + U{0..int(.1 T) - 1}, once per mini-batch."""
        lengths = super().lengths(draws)
        if self.variant == "pascanu":
            lengths = lengths + draws.batch_integers(0, lengths // 10 - 1, EXTRA_LENGTH)
        return lengths

    def windows(self, length: Tensor) -> Window:
        """First and last position of both markers."""
        if self.variant == "urnn":
            half = length // 2
            return [(0 * half, half - 1), (half, length - 1)]
        if self.variant == "chernodub":
            extended = (11 * length + 9) // 10  # ceil(1.1 T)
            tenth, half = rounded_tenths(1, extended), rounded_tenths(5, extended)
            return [(0 * tenth, tenth - 1), (tenth, half - 1)]
        tenth = length // 10
        return [(0 * tenth, tenth - 1), (tenth, tenth + 4 * length // 10 - 1)]

    @abstractmethod
    def combine(self, first: Tensor, second: Tensor) -> Tensor:
        """Target from the two marked values."""

    def batch(self, draws: Draws) -> Batch:
        """Sequences of the ids in `draws`; targets are values, [P, B, 1]."""
        draws = self.addressed(draws)
        lengths = self.lengths(draws)
        positions = self.positions(draws, lengths)
        starts = self.max_length - lengths
        make = _make_compiled if draws.fast else _make
        inputs, marked = make(draws, starts, positions, self.max_length, self.variant == "chernodub")
        return Batch(inputs, self.combine(marked[..., :1], marked[..., 1:]), lengths)

    def errors(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Which sequences are wrong under `rule`, bool [P, B]."""
        if self.rule == "absolute":
            return absolute_errors(outputs, batch.targets, self.tolerance)
        return squared_errors(outputs, batch.targets, _SQUARED_LIMIT)


def _make(draws: Draws, starts: Tensor, positions: Tensor, T: int, signed: bool) -> tuple[Tensor, Tensor]:
    """Inputs [P, T, B, 2] and the marked values [P, B, 2], on any device."""
    values = draws.uniforms(T, FILLING)  # P B T
    if signed:
        values = 2 * values - 1  # exact: 24 bits
    marked = values.gather(2, positions)
    own = torch.arange(T, device=draws.device) >= starts[:, None, None]
    markers = torch.zeros_like(values).scatter(2, positions, 1)
    inputs = torch.stack((markers, torch.where(own, values, torch.zeros_like(values))), dim=3)  # P B T 2
    return inputs.transpose(1, 2).contiguous(), marked


def _make_compiled(draws: Draws, starts: Tensor, positions: Tensor, T: int, signed: bool) -> tuple[Tensor, Tensor]:
    """As `_make`, on the CPU."""
    P, B = draws.ids.shape
    inputs = torch.zeros(P, T, B, 2, dtype=draws.dtype)
    keys, ids, first, marks = (array.contiguous().numpy() for array in (draws.keys, draws.ids, starts, positions))
    _fill(keys, ids, first, marks, inputs.numpy(), signed)
    return inputs, inputs[..., 1].transpose(1, 2).gather(2, positions)


@njit(nogil=True, cache=True)
def _fill(keys, ids, starts, positions, inputs, signed):
    T = inputs.shape[1]
    scale, offset = (2.0**-23, 1.0) if signed else (2.0**-24, 0.0)
    words = np.empty((T + 3) // 4 * 4, dtype=np.uint64)
    for p in range(ids.shape[0]):
        for b in range(ids.shape[1]):
            philox.fill(keys[p], ids[p, b], FILLING, words)
            for t in range(starts[p], T):
                inputs[p, t, b, 1] = np.float64(words[t] >> np.uint64(8)) * scale - offset
            for i in range(2):
                inputs[p, positions[p, b, i], b, 0] = 1
