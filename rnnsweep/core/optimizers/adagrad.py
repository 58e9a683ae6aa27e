"""Adagrad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.optimizers.base import Optimizer
from rnnsweep.unit import NOT_NEGATIVE, POSITIVE, Range


@dataclass(frozen=True)
class Adagrad(Optimizer):
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

    def propose(
        self,
        gradients: Float[Tensor, "P N"],
        slots: Mapping[str, Float[Tensor, "P N"]],
        hypers: Mapping[str, Shaped[Tensor, "_ _"]],
        taken: Float[Tensor, "P 1"],
    ) -> tuple[Float[Tensor, "P N"], dict[str, Float[Tensor, "P N"]]]:
        """See `Optimizer.propose`."""
        del taken
        total = slots["total"] + gradients * gradients
        # Added here, not stored: slots start at zero for every optimiser.
        root = (total + hypers["initial"]).sqrt() + hypers["epsilon"]
        return gradients / root * -hypers["lr"], {"total": total}
