"""Gradient flossing: Lyapunov exponents are pulled to zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnsweep.core.controllers.base import Additive, Context
from rnnsweep.core.recurrence.unrolled import Unrolled
from rnnsweep.core.types import Capability, merged
from rnnsweep.unit import NOT_NEGATIVE, Range

_ROUNDING = 64
"""What is left of a vector after projection is rounding when it is shorter than so many units in the last place."""


@dataclass(frozen=True)
class GradientFlossing(Additive):
    """Add weight * mean_B (1/k) sum_i lambda_i^2 to the cost: the first k finite-time Lyapunov exponents, squared.

        q_t R_t = D_t q_{t-1}, D_t = dh_t / dh_{t-1}        lambda_i = (1/T) sum_t log R_t[i, i]

    Its gradient runs through the whole loop, states included. Every `every`-th update of a row gets it, the first one
    included.

    Attributes:
        weight: per row, >= 0; 0 is off, bit for bit.
        exponents: k; whole, 1..H.
        every: updates from one use to the next; whole, >= 1. A use costs several updates.

    Numerics:
        Vectors start as the first k units and are orthonormalised at every step by Gram and Schmidt. A direction that
        dies out, or falls together with an earlier one to rounding, stays 0 and counts no further (dead ReLU units).
        Rows are independent to the bit.

    References:
        Engelken (2023), eq. 4, for all time steps of the mini-batch.
    """

    weight: float = 0.0
    exponents: int = 1
    every: int = 1

    asks_host: ClassVar[bool] = True  # whether any row is due
    rows: ClassVar[Mapping[str, Range]] = {"weight": NOT_NEGATIVE}
    fixed: ClassVar[Mapping[str, Range]] = {
        "exponents": Range(1, 8192, integer=True),
        "every": Range(1, integer=True),
    }

    @property
    def requires(self) -> frozenset[Capability]:
        """A loop of simple cells, whose Jacobian is known."""
        return frozenset({Capability.SIMPLE})

    def active(self, hypers: Mapping[str, Float[Tensor, " P"]]) -> Bool[Tensor, " P"]:
        """Rows with weight > 0."""
        return hypers["weight"] > 0

    def add(self, context: Context) -> Float[Tensor, "P N"]:
        """See `Additive.add`."""
        weight = context.hypers["weight"]
        # By each row's own clock: rows of different age share a pack.
        due = (weight > 0) & (context.step % self.every == 0)
        if not bool(due.any()):
            return context.gradients
        family, hypers, batch = context.family, context.family_hypers, context.batch
        feed = family.feed(context.values, hypers, batch.inputs, batch.lengths, context.engine)
        # Updates run without autograd; here the loop itself is a graph.
        with torch.enable_grad():
            weights = batch.with_initial_state(family.weights(context.values, hypers))
            loop = Unrolled(weights, feed.inputs, context.activation, None, batch.lengths)
            spectrum = lyapunov_spectrum(loop, self.exponents)
            # d/dlambda of mean_B (1/k) sum lambda^2; numel is B k.
            loop_gradients = loop.gradients([spectrum], [2 * spectrum.detach() / spectrum[0].numel()])
        # added: where layers or a look-up come before the loop, both have a part of its matrix
        named = merged(family.pullback(context.values, hypers, loop_gradients), feed.pullback(loop_gradients.inputs))
        extra = context.layout.flatten(named, torch.zeros_like(context.gradients))
        # Selected: rows that are not due come back to the bit.
        return torch.where(due[:, None], context.gradients + weight[:, None] * extra, context.gradients)


def lyapunov_spectrum(loop: Unrolled, exponents: int) -> Float[Tensor, "P B K"]:
    """The first finite-time Lyapunov exponents [P, B, k], nats per step, differentiable."""
    state = loop.start()
    P, B, H = state.shape
    vectors = torch.eye(H, dtype=state.dtype, device=state.device)[:exponents].expand(P, B, -1, -1)
    total = state.new_zeros(P, B, vectors.shape[2])
    for t in range(loop.steps):
        state, a = loop.step(t, state)
        moved, grown = orthonormal(loop.pushed(a, vectors))
        own = loop.own[:, t, :, None]
        # Steps before a row's own start move no vector and add no growth.
        vectors = torch.where(own[..., None], moved, vectors)
        total = total + torch.where(own, grown, torch.zeros_like(grown))
    # Per own step: sequences differ in length.
    return total / loop.own.sum(1)[..., None]


def orthonormal(vectors: Float[Tensor, "P B K H"]) -> tuple[Float[Tensor, "P B K H"], Float[Tensor, "P B K"]]:
    """Gram and Schmidt over the third axis of [P, B, K, H]; and log of the lengths that they had left, [P, B, K]."""
    done: list[Tensor] = []
    logs: list[Tensor] = []
    limit = (_ROUNDING * torch.finfo(vectors.dtype).eps) ** 2
    for vector in vectors.unbind(2):
        # Only for the comparison below: no gradient goes through a limit.
        before = (vector.detach() * vector.detach()).sum(-1)
        for other in done:
            # What is left is projected again (modified Gram-Schmidt): that rounds less.
            vector = vector - (vector * other).sum(-1, keepdim=True) * other
        square = (vector * vector).sum(-1)
        # Also not denormal: the slopes of log and root would overflow.
        alive = (square > limit * before) & (square > torch.finfo(square.dtype).tiny)
        # 1 for the dead: `where` after a log of 0 would hand back NaN gradients.
        safe = torch.where(alive, square, torch.ones_like(square))
        logs.append(0.5 * torch.where(alive, safe.log(), torch.zeros_like(safe)))
        done.append(torch.where(alive[..., None], vector / safe.sqrt()[..., None], torch.zeros_like(vector)))
    return torch.stack(done, 2), torch.stack(logs, 2)  # P B K H, P B K
