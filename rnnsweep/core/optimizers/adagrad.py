"""Adagrad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rnnsweep.core.optimizers.base import EntrywiseOptimizer, Optimizer, StepFormula, ratio, root
from rnnsweep.unit import NOT_NEGATIVE, POSITIVE, Range


def _step(gradient, slots, hypers, taken):
    """The gradient over the root of all squares so far."""
    (total,) = slots
    lr, initial, epsilon = hypers
    total = total + gradient * gradient
    # Added here, not stored: slots start at zero for every optimiser.
    return ratio(gradient, root(total + initial) + epsilon) * -lr, (total,)


_STEP = StepFormula(_step, ("lr", "initial", "epsilon"))


@dataclass(frozen=True)
class Adagrad(EntrywiseOptimizer):
    """Adagrad: the gradient divided by the root of the sum of all squares so far.

    Attributes:
        lr: learning rate per row, >= 0.
        initial: what the sum starts from, per row, >= 0.
        epsilon: added to the root, per row, > 0.
        weight_decay: decoupled, per row, >= 0; unit 1 / (lr update); 0 is off, bit for bit (`Optimizer.decay`).
        schedule, span, factor: see `Optimizer`.

    Numerics:
        As `torch.optim.Adagrad` without decay of the rate; each entry by itself.

    References:
        Duchi, Hazan, Singer (2011).
    """

    lr: float = 0.01
    initial: float = 0.0
    epsilon: float = 1e-10
    weight_decay: float = 0.0

    rows: ClassVar[Mapping[str, Range]] = {
        **Optimizer.rows,
        "lr": NOT_NEGATIVE,
        "initial": NOT_NEGATIVE,
        "epsilon": POSITIVE,
        "weight_decay": NOT_NEGATIVE,
    }
    slots: ClassVar[tuple[str, ...]] = ("total",)
    inner: ClassVar[Mapping[str, Mapping[str, Any]]] = {"adagrad": {}}

    @property
    def formula(self) -> StepFormula:
        """See `EntrywiseOptimizer.formula`."""
        return _STEP
