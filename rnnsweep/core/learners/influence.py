"""The influence of a loop's weights on its state, carried forward: J_t = ds_t/dtheta.

    J_t = D_t J_{t-1} + I_t        D_t = ds_t/ds_{t-1}, I_t = ds_t/dtheta with s_{t-1} held

`Whole` holds all of it, or what a mask leaves; `narrow.Narrow` only a few entries per parameter.
Shapes: see `core.types` and `recurrence.local`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from rnnsweep.core import numerics
from rnnsweep.core.recurrence.local import START, LocalSteps
from rnnsweep.core.types import Direct


@runtime_checkable
class Influence(Protocol):
    """J, or an approximation of it, at one step after another."""

    def step(self, t: int) -> None:
        """Go on over step index t."""
        ...

    def read(self, direct: Float[Tensor, "P B S"]) -> None:
        """Add what errors of the present state say about the weights."""
        ...

    def total(self) -> Float[Tensor, "P N"]:
        """What was added."""
        ...


def collected(steps: LocalSteps, direct: Direct, influence: Influence) -> Float[Tensor, "P N"]:
    """sum_t (dC/ds_t without later steps) J_t over all steps."""
    for t in range(steps.steps):
        influence.step(t)
        if direct.steps is not None:
            influence.read(direct.steps[:, t])
    if direct.last is not None:
        influence.read(direct.last)
    return influence.total()


class Whole:
    """All entries, one matrix [S, N] per sequence.

    Args:
        steps: whose.
        mask: entries that are kept, per row; None: all.

    Numerics:
        Sizes are padded once, so that the products of `numerics.matmul` copy nothing. Memory: three such matrices.
    """

    def __init__(self, steps: LocalSteps, mask: Bool[Tensor, "P S N"] | None = None) -> None:
        self._steps, self._mask, zeros = steps, mask, steps.record.h.new_zeros
        P, B, S, N = steps.rows, steps.batch, steps.size, steps.parameters
        self._size = S + -S % numerics.LANES
        self._j = zeros(P, B, self._size, N + -N % numerics.LANES)
        self._total = zeros(P, 1, self._j.shape[-1])
        self._eye = torch.eye(S, dtype=self._j.dtype, device=self._j.device).expand(P, B, S, S)
        offset = 0
        for source in steps.sources:
            if source.name == START:
                # h_0 is the state itself, as far as it goes.
                start = self._j[:, :, : source.columns, offset : offset + source.size]
                start.copy_(torch.eye(source.columns, dtype=start.dtype, device=start.device))
            offset += source.size

    def step(self, t: int) -> None:
        """See `Influence.step`."""
        steps, S, N = self._steps, self._steps.size, self._steps.parameters
        pulled = steps.pull(t, self._eye)
        missing = self._size - S
        d = pad(steps.jacobian(pulled), (0, missing, 0, missing))
        new = numerics.matmul(d.flatten(0, 1), self._j.flatten(0, 1)).view_as(self._j)
        part = new[:, :, :S, :N]
        part += steps.immediate(t, pulled.columns)
        if self._mask is not None:
            part.copy_(torch.where(self._mask[:, None], part, torch.zeros_like(part)))
        self._j = torch.where(steps.active[:, t, :, None, None], new, self._j)

    def read(self, direct: Float[Tensor, "P B S"]) -> None:
        """See `Influence.read`."""
        given = pad(direct, (0, self._size - direct.shape[-1])).flatten(1)[:, None]  # P 1 BS
        self._total = self._total + numerics.matmul(given, self._j.flatten(1, 2))

    def total(self) -> Float[Tensor, "P N"]:
        """See `Influence.total`."""
        return self._total[:, 0, : self._steps.parameters]
