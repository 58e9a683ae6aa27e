"""The contract of a learning rule: from a mini-batch to gradients."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
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
        loss: [P]. gradients: [P, N], flat. trace: where it was asked for.
    """

    loss: Tensor
    gradients: Tensor
    trace: Trace | None


@dataclass(frozen=True)
class Learner(Unit):
    """Base of learning rules."""

    unit_key: ClassVar[str] = "learner"

    @abstractmethod
    def learn(
        self, program: Program, params: Tensor, family_hypers: Mapping[str, Tensor], batch: Batch, *, keep: bool
    ) -> Learned:
        """Gradients of the mini-batch's mean loss; `keep` asks for the trace."""
