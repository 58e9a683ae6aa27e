"""Adam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.optimizers.base import Optimizer
from rnnsweep.unit import NOT_NEGATIVE, POSITIVE, Range


@dataclass(frozen=True)
class Adam(Optimizer):
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

    def propose(
        self,
        gradients: Float[Tensor, "P N"],
        slots: Mapping[str, Float[Tensor, "P N"]],
        hypers: Mapping[str, Shaped[Tensor, "_ _"]],
        taken: Float[Tensor, "P 1"],
    ) -> tuple[Float[Tensor, "P N"], dict[str, Float[Tensor, "P N"]]]:
        """See `Optimizer.propose`."""
        beta1, beta2 = hypers["beta1"], hypers["beta2"]
        first = slots["first"] * beta1 + gradients * (1 - beta1)
        second = slots["second"] * beta2 + gradients * gradients * (1 - beta2)
        scale = hypers["lr"] / _correction(beta1, taken)  # P 1: one quotient per row, not one per entry
        root = (second / _correction(beta2, taken)).sqrt()
        return first * -scale / (root + hypers["epsilon"]), {"first": first, "second": second}


def _correction(beta: Tensor, taken: Tensor) -> Tensor:
    """1 - beta^(taken + 1), [P, 1]; exp of 0 * -inf is avoided for beta = 0."""
    # float64: 1 - beta^k cancels where beta is near 1.
    power = ((taken.double() + 1) * beta.double().clamp_min(1e-300).log()).exp()
    return (1 - power).to(beta.dtype)
