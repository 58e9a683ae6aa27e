"""RMSprop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rnnsweep.core.optimizers.base import EntrywiseOptimizer, Optimizer, StepFormula, ratio, root, where
from rnnsweep.unit import NOT_NEGATIVE, POSITIVE, Range


def _outside(gradient, slots, hypers, taken):
    """Epsilon added to the root."""
    square, velocity = slots
    lr, alpha, initial, epsilon, momentum = hypers
    # Slots start at zero for every optimiser: a row without a step has the initial value instead.
    square = where(taken == 0, initial, square) * alpha + gradient * gradient * (1 - alpha)
    velocity = velocity * momentum + ratio(gradient, root(square) + epsilon)
    # The rate stands outside of the velocity, as in torch: what is remembered is free of it.
    return velocity * -lr, (square, velocity)


def _inside(gradient, slots, hypers, taken):
    """Epsilon under the root."""
    square, velocity = slots
    lr, alpha, initial, epsilon, momentum = hypers
    square = where(taken == 0, initial, square) * alpha + gradient * gradient * (1 - alpha)
    velocity = velocity * momentum + ratio(gradient, root(square + epsilon))
    return velocity * -lr, (square, velocity)


_HYPERS = ("lr", "alpha", "initial", "epsilon", "momentum")
_OUTSIDE, _INSIDE = StepFormula(_outside, _HYPERS), StepFormula(_inside, _HYPERS)


@dataclass(frozen=True)
class RmsProp(EntrywiseOptimizer):
    """RMSprop: the gradient divided by a running root mean square, with momentum.

    Attributes:
        lr: learning rate per row, >= 0.
        alpha: decay of the mean square, per row, 0 <= alpha < 1.
        initial: what the mean square starts from, per row, >= 0; 1 in TensorFlow 1, which slows the first steps.
        epsilon: added to the root, per row, > 0.
        epsilon_inside: whether epsilon stands under the root, as in TensorFlow 1: entries whose root mean square is
            below its own root take smaller steps.
        momentum: per row, 0 <= momentum < 1.
        weight_decay: decoupled, per row, >= 0; unit 1 / (lr update); 0 is off, bit for bit (`Optimizer.decay`).
        schedule, span, factor: see `Optimizer`.

    Numerics:
        As `torch.optim.RMSprop`, not centred; each entry by itself. `initial` stands in for the state of a row that has
        taken no step, so refused mini-batches do not use it up.

    References:
        Tieleman, Hinton (2012), lecture 6.5. initial, epsilon_inside: `tf.train.RMSPropOptimizer`, which also has
        alpha .9 and epsilon 1e-10 by default.
    """

    lr: float = 0.001
    alpha: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0
    initial: float = 0.0
    epsilon_inside: bool = False

    rows: ClassVar[Mapping[str, Range]] = {
        **Optimizer.rows,
        "lr": NOT_NEGATIVE,
        "alpha": Range(0, 1, open_high=True),
        "initial": NOT_NEGATIVE,
        "epsilon": POSITIVE,
        "momentum": Range(0, 1, open_high=True),
        "weight_decay": NOT_NEGATIVE,
    }
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {**Optimizer.fixed, "epsilon_inside": (False, True)}
    slots: ClassVar[tuple[str, ...]] = ("square", "velocity")
    inner: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "rmsprop": {},
        "rmsprop_inside": {"epsilon_inside": True},
    }

    @property
    def formula(self) -> StepFormula:
        """See `EntrywiseOptimizer.formula`."""
        return _INSIDE if self.epsilon_inside else _OUTSIDE
