"""What the L1 and the L2 penalty share: a weight per row, and the parameters that are penalised."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnsweep.core.controllers.base import Additive, Context, check_parameters
from rnnsweep.unit import NOT_NEGATIVE, Range

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.tasks.base import Task
    from rnnsweep.core.types import ParameterSpec


@dataclass(frozen=True)
class Penalty(Additive):
    """Base of penalties whose gradient is weight * `slope` of each parameter by itself.

    Attributes:
        weight: per row, >= 0; 0 is off, bit for bit.
        parameters: names of penalised parameters.
    """

    weight: float = 0.0
    parameters: tuple[str, ...] = ("w_rec",)

    rows: ClassVar[Mapping[str, Range]] = {"weight": NOT_NEGATIVE}

    @staticmethod
    @abstractmethod
    def slope(params: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Derivative of the penalty of weight 1, in the shape of the parameters."""

    def check_with(self, family: Family, task: Task, specs: Sequence[ParameterSpec]) -> None:
        """The named parameters must exist."""
        del family, task
        check_parameters(self, self.parameters, specs)

    def active(self, hypers: Mapping[str, Float[Tensor, " P"]]) -> Bool[Tensor, " P"]:
        """Rows with weight > 0."""
        return hypers["weight"] > 0

    def add(self, context: Context) -> Float[Tensor, "P N"]:
        """See `Additive.add`."""
        weight = context.hypers["weight"][:, None]
        mask = context.layout.mask(self.parameters, context.params.device)
        on = (weight > 0) & mask
        # Selected: rows with weight 0 come back to the bit.
        return torch.where(on, context.gradients + weight * self.slope(context.params), context.gradients)
