"""L2 penalty."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.controllers.penalty import Penalty


@dataclass(frozen=True)
class L2(Penalty):
    """Add weight / 2 * sum w^2 over the named parameters to the cost (coupled: the gradient is clipped with it).

    Attributes:
        weight: per row, >= 0; 0 is off, bit for bit. The gradient is weight * w, as torch's `weight_decay`.
        parameters: names of penalised parameters.

    Numerics:
        One product and one sum per entry. Non-finite weights never reach a controller.

    References:
        Pascanu, Mikolov, Bengio (2013), section 3.1, as a baseline.
    """

    @staticmethod
    def slope(params: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """w."""
        return params
