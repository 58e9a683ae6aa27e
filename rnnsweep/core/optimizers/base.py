"""The contract of an optimiser: propose a step, change nothing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from rnnsweep.core.unit import Unit

if TYPE_CHECKING:
    from rnnsweep.core.parameters import ParameterLayout


@dataclass(frozen=True)
class Optimizer(Unit):
    """Base of optimisers; state lives in named slots [P, N] that start at zero.

    `propose` returns the step and the slots as they would be *if* the step is taken. Whoever refuses a row's step keeps
    its old slots, so that a refused mini-batch changes neither weights nor momentum (MATHS §5).
    """

    unit_key: ClassVar[str] = "optimizer"
    slots: ClassVar[tuple[str, ...]] = ()

    def placed(self, hypers: Mapping[str, Tensor], layout: ParameterLayout) -> Mapping[str, Tensor]:
        """Hyperparameters [P, 1] as `propose` and `decay` take them; a unit may add what depends on the layout."""
        del layout
        return hypers

    @abstractmethod
    def propose(
        self, gradients: Tensor, slots: Mapping[str, Tensor], hypers: Mapping[str, Tensor], taken: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The step to add to the parameters, [P, N], and the new slots.

        Args:
            gradients: [P, N].
            slots: state, each [P, N].
            hypers: this unit's per-row hyperparameters, each [P, 1].
            taken: steps taken so far per row, float [P, 1] (refused mini-batches do not count).
        """

    def decay(self, step: Tensor, params: Tensor, hypers: Mapping[str, Tensor]) -> Tensor:
        """The step with decoupled weight decay: step - lr weight_decay params, all parameters; rows with 0 unchanged.

        References:
            Loshchilov, Hutter (2019), algorithm 2, as `torch.optim.AdamW`.
        """
        weight = hypers["weight_decay"]
        return torch.where(weight > 0, step - hypers["lr"] * weight * params, step)
