"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.optimizers.base import EntrywiseOptimizer, Optimizer, StepFormula, plus
from rnnsweep.unit import NOT_NEGATIVE, Range


def _plain(gradient, slots, hypers, taken):
    """The velocity's step."""
    (velocity,) = slots
    lr, momentum = hypers
    velocity = plus(velocity * momentum, gradient)
    return velocity * -lr, (velocity,)


def _ahead(gradient, slots, hypers, taken):
    """The step of the gradient, looked up ahead."""
    (velocity,) = slots
    lr, momentum = hypers
    velocity = plus(velocity * momentum, gradient)
    return (gradient + momentum * velocity) * -lr, (velocity,)


_PLAIN, _AHEAD = StepFormula(_plain, ("lr", "momentum")), StepFormula(_ahead, ("lr", "momentum"))


@dataclass(frozen=True)
class Sgd(EntrywiseOptimizer):
    """SGD: v <- momentum v + g, step = -lr v; Nesterov: step = -lr (g + momentum v).

    Attributes:
        lr: learning rate per row, >= 0; unit parameter^2 / loss.
        momentum: per row, 0 <= momentum < 1; 0 is plain SGD, bit for bit.
        nesterov: whether the gradient is looked up ahead.
        momentum_reset: updates of an epoch, at whose start v is 0 again; null: never.
        weight_decay: decoupled, per row, >= 0; unit 1 / (lr update); 0 is off, bit for bit (`Optimizer.decay`).
        schedule, span, factor: see `Optimizer`.

    Numerics:
        Every entry takes one product and one sum, never fused, so that vector tails round alike.

    References:
        As `torch.optim.SGD` with dampening 0 (first step: v = g). momentum_reset: the authors' script for Chernodub,
        Nowicki (2016).
    """

    lr: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    momentum_reset: int | None = None

    rows: ClassVar[Mapping[str, Range]] = {
        **Optimizer.rows,
        "lr": NOT_NEGATIVE,
        "momentum": Range(0, 1, open_high=True),
        "weight_decay": NOT_NEGATIVE,
    }
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        **Optimizer.fixed,
        "nesterov": (True, False),
        "momentum_reset": Range(1, integer=True, optional=True),
    }
    slots: ClassVar[tuple[str, ...]] = ("velocity",)
    inner: ClassVar[Mapping[str, Mapping[str, Any]]] = {"sgd": {}, "nesterov": {"nesterov": True}}

    def unread(self) -> Mapping[str, str]:
        """What is about a momentum that there is not."""
        idle = {} if self.momentum else dict.fromkeys(("nesterov", "momentum_reset"), "optimizer.momentum=0")
        return {**super().unread(), **idle}

    def kept(
        self, slots: Mapping[str, Float[Tensor, "P N"]], step: Int64[Tensor, "P 1"]
    ) -> Mapping[str, Float[Tensor, "P N"]]:
        """No velocity at the start of an epoch."""
        if self.momentum_reset is None:
            return slots
        velocity = slots["velocity"]
        # Each row by its own clock: rows of different age share a pack.
        return {"velocity": torch.where(step % self.momentum_reset == 0, torch.zeros_like(velocity), velocity)}

    @property
    def formula(self) -> StepFormula:
        """See `EntrywiseOptimizer.formula`."""
        return _AHEAD if self.nesterov else _PLAIN

    @property
    def fused_formula(self) -> StepFormula | None:
        """None where the velocity begins anew now and then."""
        return super().fused_formula if self.momentum_reset is None else None
