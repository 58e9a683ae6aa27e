"""Sequences of values of which two are marked: what adding and multiplication share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
from numba import njit
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.host_graph import launch_on_arrays
from rnnsweep.core.losses import SQUARED_ERROR, Loss
from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.success import absolute_errors, squared_errors
from rnnsweep.core.tasks.synthetic import FILLING, Synthetic, Whole, rounded_tenths, sequence_kernels
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
    loss: ClassVar[Loss] = SQUARED_ERROR
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
    def prolonged(self) -> bool:
        """Only ``pascanu`` draws further steps."""
        return self.variant == "pascanu"

    def windows(self, length: Whole) -> list[tuple[Whole, Whole]]:
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
    def combine(self, first: Float[Tensor, "*shape"], second: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Target from the two marked values."""

    def batch(self, draws: Draws) -> Batch:
        """Sequences of the ids in `draws`; targets are values, [P, B, 1]."""
        draws = self.addressed(draws)
        lengths, positions = self.place(draws)
        signed = self.variant == "chernodub"
        if (kernels := sequence_kernels(draws)) is not None:
            inputs, marked = kernels.marked(draws, lengths, positions, self.max_length, FILLING, signed=signed)
            return Batch(inputs, self.combine(marked[..., :1], marked[..., 1:]), lengths)
        shape = (draws.ids.shape[0], self.max_length, draws.ids.shape[1], 2)
        inputs = torch.zeros(shape, dtype=draws.dtype, device=draws.device)
        write = _write_compiled if draws.fast else _write
        marked = write(draws, lengths, positions, inputs, signed=signed)
        return Batch(inputs, self.combine(marked[..., :1], marked[..., 1:]), lengths)

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Which sequences are wrong under `rule`, bool [P, B]."""
        if self.rule == "absolute":
            return absolute_errors(outputs, batch.targets, self.tolerance)
        return squared_errors(outputs, batch.targets, _SQUARED_LIMIT)


def _write(draws: Draws, lengths: Tensor, positions: Tensor, inputs: Tensor, *, signed: bool) -> Tensor:
    """Fill the zero tensor `inputs` [P, T, B, 2] and return the marked values [P, B, 2], on any device."""
    T = inputs.shape[1]
    values = draws.uniforms(T, FILLING)  # P B T
    if signed:
        values = 2 * values - 1  # exact: 24 bits
    own = torch.arange(T, device=draws.device) >= (T - lengths)[:, None, None]
    inputs[..., 0] = torch.zeros_like(values).scatter(2, positions, 1).transpose(1, 2)
    inputs[..., 1] = torch.where(own, values, torch.zeros_like(values)).transpose(1, 2)
    return values.gather(2, positions)


def _write_compiled(draws: Draws, lengths: Tensor, positions: Tensor, inputs: Tensor, *, signed: bool) -> Tensor:
    """As `_write`, on the CPU."""
    return launch_on_arrays(_fill, draws.keys, draws.ids, lengths, positions, inputs, signed)


@njit(nogil=True, cache=True)
def _fill(keys, ids, lengths, positions, inputs, signed):
    T = inputs.shape[1]
    # 2 u - 1 in one step, exact like the two of `_write`
    scale, offset = (2.0**-23, 1.0) if signed else (2.0**-24, 0.0)
    marked = np.empty(positions.shape, dtype=inputs.dtype)
    # the generator makes words by four
    words = np.empty((T + 3) // 4 * 4, dtype=np.uint64)
    for p in range(ids.shape[0]):
        for b in range(ids.shape[1]):
            rng.fill(keys[p], ids[p, b], FILLING, words)
            for t in range(T - lengths[p], T):
                inputs[p, t, b, 1] = np.float64(words[t] >> np.uint64(8)) * scale - offset
            for i in range(2):
                inputs[p, positions[p, b, i], b, 0] = 1
                marked[p, b, i] = inputs[p, positions[p, b, i], b, 1]
    return marked
