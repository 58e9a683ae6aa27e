"""L1 penalty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rnnsweep.core.controllers.base import Additive, Context
from rnnsweep.core.unit import NOT_NEGATIVE, Range


@dataclass(frozen=True)
class L1(Additive):
    """Add weight * sum |w| over the named parameters to the cost, by its subgradient sign(w).

    Attributes:
        weight: per row, >= 0; 0 is off, bit for bit.
        parameters: names of penalised parameters.

    Numerics:
        sign(0) = 0, so that a zero weight stays put. Non-finite weights never reach a controller.

    References:
        Pascanu, Mikolov, Bengio (2013), section 3.1, as a baseline: it keeps sigma_max(W_rec) below 1.
    """

    weight: float = 0.0
    parameters: tuple[str, ...] = ("w_rec",)

    unit_key: ClassVar[str] = "controllers.l1"
    rows: ClassVar[Mapping[str, Range]] = {"weight": NOT_NEGATIVE}

    def active(self, hypers: Mapping[str, Tensor]) -> Tensor:
        """Rows with weight > 0."""
        return hypers["weight"] > 0

    def add(self, context: Context) -> Tensor:
        """See `Additive.add`."""
        weight = context.hypers["weight"][:, None]
        mask = context.layout.mask(self.parameters, context.params.device)
        on = (weight > 0) & mask
        return torch.where(on, context.gradients + weight * torch.sign(context.params), context.gradients)
