"""The contract of a learning rule: from a mini-batch to gradients."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from rnnsweep.core.types import Batch, Trace
from rnnsweep.core.unit import Unit

if TYPE_CHECKING:
    from rnnsweep.core.program import Program


@dataclass
class Learned:
    """What a learning rule returns for one mini-batch.

    Attributes:
        loss: [P]. gradients: [P, N], flat. trace: where it was asked for and the rule has one.
        step: [P, N], where the rule proposes the step itself (closed forms, second order): the optimiser is not asked.
        slots: the rule's row state as it will be where the row takes its step.
    """

    loss: Tensor
    gradients: Tensor
    trace: Trace | None
    step: Tensor | None = None
    slots: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Learner(Unit):
    """Base of learning rules."""

    unit_key: ClassVar[str] = "learner"

    def slot_shapes(self, program: Program) -> dict[str, tuple[int, ...]]:
        """Row state of this rule: name -> shape without the leading P; starts at zero, is checkpointed."""
        del program
        return {}

    @abstractmethod
    def learn(
        self,
        program: Program,
        params: Tensor,
        family_hypers: Mapping[str, Tensor],
        batch: Batch,
        *,
        keep: bool,
        own: Mapping[str, Tensor] | None = None,
    ) -> Learned:
        """Gradients of the mini-batch's mean loss.

        Args:
            program: what the rows share.
            params: [P, N].
            family_hypers: the family's per-row hyperparameters and row state.
            batch: one mini-batch per row.
            keep: asks for the trace.
            own: this rule's per-row hyperparameters [P] and row state.
        """
