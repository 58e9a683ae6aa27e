"""The contract of a learning rule: from a mini-batch to gradients."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.loops import Learned
from rnnsweep.core.recurrence.base import BackwardTerm
from rnnsweep.core.types import Batch, Capability, Wanted
from rnnsweep.core.wires import Wire
from rnnsweep.unit import Unit

if TYPE_CHECKING:
    from rnnsweep.core.activations import Activation
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.readout import Readout
    from rnnsweep.core.recurrence.base import Engine
    from rnnsweep.core.tasks.base import Task
    from rnnsweep.core.types import ParameterLayout


@runtime_checkable
class LoopProgram(Protocol):
    """What a learning rule may read of the tensor program that its rows share; `core.program.Program` is one."""

    @property
    def family(self) -> Family:
        """The rows' model."""
        ...

    @property
    def task(self) -> Task:
        """What they are trained on."""
        ...

    @property
    def readout(self) -> Readout:
        """What the linear map to the outputs is applied to."""
        ...

    @property
    def engine(self) -> Engine:
        """What runs the time loop."""
        ...

    @property
    def wires(self) -> tuple[Wire, ...]:
        """The network's loops; `engine` is the last one's."""
        ...

    @property
    def activation(self) -> Activation:
        """The loop's f."""
        ...

    @property
    def layout(self) -> ParameterLayout:
        """Where parameters lie in a row's slab."""
        ...

    @property
    def term_layers(self) -> frozenset[int]:
        """The layers whose loops are to take it along, counted from 1."""
        ...

    @property
    def backward_term(self) -> BackwardTerm | None:
        """The term that the backward loop is to take along, if any."""
        ...


@dataclass(frozen=True)
class Learner(Unit):
    """Base of learning rules.

    Attributes:
        traces: whether it leaves the gradient record that some controllers need.
        proposes: whether it proposes the step itself; controllers that add to the gradient are refused then.
        per_step_keys: keys that are about tasks with a target at every step.
        carries: whether a state may go over from one mini-batch to the next.
        linear: whether it takes the linear map of the states for the whole read-out; other read-outs are refused then.
        regularised: whether it goes through masks of dropout, zoneout, weight drop and layer norm.
    """

    unit_group: ClassVar[str] = "learner"
    # False until a rule says so: it must hand the last state back (`Learned.state`).
    carries: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    regularised: ClassVar[bool] = False
    traces: ClassVar[bool] = True
    proposes: ClassVar[bool] = False
    per_step_keys: ClassVar[tuple[str, ...]] = ()

    @property
    def takes_terms(self) -> bool:
        """Whether its backward loop takes a term along where the engine can."""
        return False

    @property
    def requires(self) -> frozenset[Capability]:
        """What of the family's loop this rule needs; another family is refused when the config is checked."""
        return frozenset()

    def cuts(self, task: Task) -> bool:
        """Whether errors of this task stop before they have travelled back all the way."""
        del task
        return False

    def check_with(self, family: Family, task: Task) -> None:
        """Raise `ConfigError` where the rule is not defined for this family or task."""
        del family, task

    def same_as(self, family: Family, task: Task) -> str | None:
        """One line that says which simpler rule does the same beside these units; None: there is none."""
        del family, task
        return None

    def entries(self, family: Family, task: Task) -> int:
        """What it holds beside the loop's record, in entries per sequence of the mini-batch."""
        del family, task
        return 0

    def slot_shapes(self, program: LoopProgram) -> dict[str, tuple[int, ...]]:
        """Row state of this rule: name -> shape without the leading P; starts at zero, is checkpointed."""
        del program
        return {}

    @abstractmethod
    def learn(
        self,
        program: LoopProgram,
        params: Float[Tensor, "P N"],
        family_hypers: Mapping[str, Float[Tensor, " P"]],
        batch: Batch,
        want: Wanted,
        own: Mapping[str, Shaped[Tensor, "P ..."]] | None = None,
    ) -> Learned:
        """Gradients of the mini-batch's mean loss.

        Args:
            program: what the rows share.
            params: [P, N].
            family_hypers: the family's per-row hyperparameters and row state.
            batch: one mini-batch per row.
            want: what else than gradients.
            own: this rule's per-row hyperparameters [P] and row state, and the rows' ``step`` (updates so far) and
                ``key`` (stream key of purpose ``learner``), int64 [P].
        """
