"""L1 penalty by its proximal step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnsweep.core.controllers.base import Context, Proximal, check_parameters
from rnnsweep.unit import NOT_NEGATIVE, Range

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.tasks.base import Task
    from rnnsweep.core.types import ParameterSpec


@dataclass(frozen=True)
class L1Proximal(Proximal):
    """After each step, w <- sign(w) max(|w| - lr weight, 0) on the named parameters: exact zeros appear.

    Attributes:
        weight: of sum |w| in the cost, per row, >= 0; 0 is off, bit for bit.
        parameters: names of penalised parameters.

    Numerics:
        The threshold is lr * weight, whatever the optimiser does to its gradients. Non-finite parameters end the row.

    References:
        Beck, Teboulle (2009), eq. 1.5 (ISTA).
    """

    weight: float = 0.0
    parameters: tuple[str, ...] = ("w_rec",)

    rows: ClassVar[Mapping[str, Range]] = {"weight": NOT_NEGATIVE}

    def check_with(self, family: Family, task: Task, specs: Sequence[ParameterSpec]) -> None:
        """The named parameters must exist."""
        del family, task
        check_parameters(self, self.parameters, specs)

    def active(self, hypers: Mapping[str, Float[Tensor, " P"]]) -> Bool[Tensor, " P"]:
        """Rows with weight > 0."""
        return hypers["weight"] > 0

    def after(self, context: Context, moved: Float[Tensor, "P N"], rate: Float[Tensor, "P 1"]) -> Float[Tensor, "P N"]:
        """See `Proximal.after`."""
        weight = context.hypers["weight"][:, None]
        on = (weight > 0) & context.layout.mask(self.parameters, moved.device)  # P N
        shrunk = torch.sign(moved) * (moved.abs() - rate * weight).clamp_min(0)
        # Selected: sign(w) |w| is not w to the bit where w is -0.0.
        return torch.where(on, shrunk, moved)
