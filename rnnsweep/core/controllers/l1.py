"""L1 penalty."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.controllers.penalty import Penalty


@dataclass(frozen=True)
class L1(Penalty):
    """Add weight * sum |w| over the named parameters to the cost, by its subgradient sign(w).

    Attributes:
        weight: per row, >= 0; 0 is off, bit for bit.
        parameters: names of penalised parameters.

    Numerics:
        sign(0) = 0, so that a zero weight stays put. Non-finite weights never reach a controller.

    References:
        Pascanu, Mikolov, Bengio (2013), section 3.1, as a baseline: it keeps sigma_max(W_rec) below 1.
    """

    @staticmethod
    def slope(params: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """sign(w)."""
        return torch.sign(params)
