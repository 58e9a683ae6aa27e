"""Unbiased online recurrent optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import pad

from rnnsweep.core import numerics, rng
from rnnsweep.core.learners.online import OnlineLearner, loop_sizes
from rnnsweep.core.recurrence.local import START, LocalSteps

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.tasks.base import Task
    from rnnsweep.core.types import Direct

EPSILON = 1e-7
"""Beside the norms that are divided by, and added to both scales, as published."""
_BITS = 32


@dataclass(frozen=True)
class Uoro(OnlineLearner):
    """`rtrl` with J replaced by a product of two vectors whose mean over random signs is J.

        s~ <- r0 D_t s~ + r1 nu        th~ <- th~ / r0 + nu^T I_t / r1        nu: signs, one per entry of the state
        r0 = sqrt(|th~| / |D_t s~|), r1 = sqrt(|nu^T I_t| / |nu|)

    One pair per sequence of the mini-batch, at the cost of backpropagation. The gradient is unbiased, and noisy: its
    variance grows with the number of units and steps, and falls as 1 / batch. Weights change at the end of the
    sequence.

    Numerics:
        Signs depend on the row's key, the update, the sequence, and the step counted from the end only. The scales'
        1e-7 cancel and leave the mean alone. Norms do not overflow. Weights of the loop that a family does not train
        (off the diagonal of indrnn) take part in the noise.

    References:
        Tallec, Ollivier (2018), *Unbiased online recurrent optimization*, algorithm 1 with its variance reduction. Ours
        differs: D_t s~ is exact instead of a difference; a trained h_0 begins as the pair (nu, nu) instead of 0; pairs
        start anew with every sequence, and weights are constant within it.
    """

    def entries(self, family: Family, task: Task) -> int:
        """th~ before and after a step, and what is added to it."""
        return 3 * loop_sizes(family, task)[1]

    def follow(
        self, steps: LocalSteps, direct: Direct, own: Mapping[str, Shaped[Tensor, "P ..."]]
    ) -> Float[Tensor, "P N"]:
        """See `OnlineLearner.follow`."""
        signs = self.signs(steps, own)
        state, weights = _first(steps, signs[:, 0])
        total = torch.zeros_like(weights[:, :1])  # P 1 N
        for t in range(steps.steps):
            new = _stepped(steps, t, (state, weights), signs[:, t + 1])
            on = steps.active[:, t, :, None]
            state, weights = torch.where(on, new[0], state), torch.where(on, new[1], weights)
            if direct.steps is not None:
                total = total + _read(direct.steps[:, t], state, weights)
        if direct.last is not None:
            total = total + _read(direct.last, state, weights)
        return total[:, 0]

    def signs(self, steps: LocalSteps, own: Mapping[str, Shaped[Tensor, "P ..."]]) -> Float[Tensor, "P T1 B S"]:
        """Random signs: of the first state, then of every step."""
        T, B, S = steps.steps, steps.batch, steps.size
        # As fresh training sequences are numbered: no draw is used by two of them.
        ids = own["step"][:, None] * B + torch.arange(B, device=own["step"].device)
        count = (T + 1) * S
        words = rng.Draws(own["key"], ids, own["step"]).words(-(-count // _BITS), rng.stream_of("uoro"))  # P B n
        bits = words[..., None] >> torch.arange(_BITS, device=words.device) & 1
        drawn = (2 * bits - 1).flatten(2)[..., :count].unflatten(2, (T + 1, S)).transpose(1, 2)  # P T+1 B S
        # From the end: the same for a row of any length; the first state's stand before all steps.
        return torch.cat((drawn[:, :1], drawn[:, 1:].flip(1)), 1).to(steps.record.h)


def _first(steps: LocalSteps, signs: Tensor) -> tuple[Tensor, Tensor]:
    """s~ [P, B, S] and th~ [P, B, N] of the first state, which depends on a trained h_0 only."""
    parts: list[Tensor] = []
    state = torch.zeros_like(signs)
    for source in steps.sources:
        if source.name == START:
            known = signs[..., : source.columns]
            parts.append(known)
            state = pad(known, (0, steps.size - source.columns))
        else:
            parts.append(signs.new_zeros(*signs.shape[:2], source.size))
    return state, torch.cat(parts, -1)


def _stepped(steps: LocalSteps, t: int, pair: tuple[Tensor, Tensor], signs: Tensor) -> tuple[Tensor, Tensor]:
    """The pair after step index t."""
    state, weights = steps.push(t, pair[0]), pair[1]
    new = steps.immediate(t, steps.pull(t, signs[:, :, None]).columns)[:, :, 0]
    old_scale = (_norm(weights) / (_norm(state) + EPSILON)).sqrt() + EPSILON
    new_scale = (_norm(new) / (_norm(signs) + EPSILON)).sqrt() + EPSILON
    return old_scale * state + new_scale * signs, weights / old_scale + new / new_scale


def _norm(x: Tensor) -> Tensor:
    """2-norm over the last axis, [P, B, 1]."""
    return numerics.row_norm(x.flatten(0, 1)).view(*x.shape[:2], 1)


def _read(direct: Tensor, state: Tensor, weights: Tensor) -> Tensor:
    """sum_b (direct . s~) th~, [P, 1, N]."""
    return numerics.matmul((direct * state).sum(-1)[:, None], weights)
