"""Adam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rnnsweep.core.optimizers.base import EntrywiseOptimizer, Optimizer, StepFormula, correction, ratio, root
from rnnsweep.unit import NOT_NEGATIVE, POSITIVE, Range


def _step(gradient, slots, hypers, taken):
    """The first moment over the root of the second, both corrected."""
    first, second = slots
    lr, beta1, beta2, epsilon = hypers
    first = first * beta1 + gradient * (1 - beta1)
    second = second * beta2 + gradient * gradient * (1 - beta2)
    scale = ratio(lr, correction(beta1, taken))  # one quotient per row, not one per entry
    length = root(ratio(second, correction(beta2, taken)))
    return ratio(first * -scale, length + epsilon), (first, second)


_STEP = StepFormula(_step, ("lr", "beta1", "beta2", "epsilon"))


@dataclass(frozen=True)
class Adam(EntrywiseOptimizer):
    """Adam: bias-corrected moments of the gradient.

    Attributes:
        lr: learning rate per row, >= 0.
        beta1, beta2: decay of the first and second moment, per row, 0 <= beta < 1.
        epsilon: added to the root of the second moment, per row, > 0.
        weight_decay: decoupled, per row, >= 0; unit 1 / (lr update); 0 is off, bit for bit (`Optimizer.decay`).
        schedule, span, factor: see `Optimizer`.

    Numerics:
        Bias corrections 1 - beta^k are formed in float64 from k = steps taken, by exp(k log beta) and rounded. Refused
        mini-batches do not advance k.

    References:
        Kingma, Ba (2015), algorithm 1; epsilon outside the corrected root, as `torch.optim.Adam`.
    """

    lr: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    rows: ClassVar[Mapping[str, Range]] = {
        **Optimizer.rows,
        "lr": NOT_NEGATIVE,
        "beta1": Range(0, 1, open_high=True),
        "beta2": Range(0, 1, open_high=True),
        "epsilon": POSITIVE,
        "weight_decay": NOT_NEGATIVE,
    }
    slots: ClassVar[tuple[str, ...]] = ("first", "second")
    inner: ClassVar[Mapping[str, Mapping[str, Any]]] = {"adam": {}}

    @property
    def formula(self) -> StepFormula:
        """See `EntrywiseOptimizer.formula`."""
        return _STEP
