"""RMSprop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.optimizers.base import Optimizer
from rnnsweep.unit import NOT_NEGATIVE, POSITIVE, Range


@dataclass(frozen=True)
class RmsProp(Optimizer):
    """RMSprop: the gradient divided by a running root mean square, with momentum.

    Attributes:
        lr: learning rate per row, >= 0.
        alpha: decay of the mean square, per row, 0 <= alpha < 1.
        epsilon: added to the root, per row, > 0.
        momentum: per row, 0 <= momentum < 1.
        weight_decay: decoupled, per row, >= 0; unit 1 / (lr update); 0 is off, bit for bit (`Optimizer.decay`).
        schedule, span, factor: see `Optimizer`.

    Numerics:
        As `torch.optim.RMSprop`, not centred; each entry by itself.

    References:
        Tieleman, Hinton (2012), lecture 6.5.
    """

    lr: float = 0.001
    alpha: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0

    rows: ClassVar[Mapping[str, Range]] = {
        **Optimizer.rows,
        "lr": NOT_NEGATIVE,
        "alpha": Range(0, 1, open_high=True),
        "epsilon": POSITIVE,
        "momentum": Range(0, 1, open_high=True),
        "weight_decay": NOT_NEGATIVE,
    }
    slots: ClassVar[tuple[str, ...]] = ("square", "velocity")
    inner: ClassVar[Mapping[str, Mapping[str, Any]]] = {"rmsprop": {}}

    def propose(
        self,
        gradients: Float[Tensor, "P N"],
        slots: Mapping[str, Float[Tensor, "P N"]],
        hypers: Mapping[str, Shaped[Tensor, "_ _"]],
        taken: Float[Tensor, "P 1"],
    ) -> tuple[Float[Tensor, "P N"], dict[str, Float[Tensor, "P N"]]]:
        """See `Optimizer.propose`."""
        del taken
        alpha = hypers["alpha"]
        square = slots["square"] * alpha + gradients * gradients * (1 - alpha)
        velocity = slots["velocity"] * hypers["momentum"] + gradients / (square.sqrt() + hypers["epsilon"])
        # The rate stands outside of the velocity, as in torch: what is remembered is free of it.
        return velocity * -hypers["lr"], {"square": square, "velocity": velocity}
