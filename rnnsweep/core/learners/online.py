"""The contract of rules that go forward in time: nothing of a sequence's past is kept but what they carry."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.families.base import Family
from rnnsweep.core.learners.base import Learner, LoopProgram
from rnnsweep.core.loops import BackwardPass, Learned, loops_of, run
from rnnsweep.core.readout import read_out
from rnnsweep.core.recurrence.cells import whole_direct
from rnnsweep.core.recurrence.local import LocalSteps
from rnnsweep.core.types import Batch, Capability, Wanted, merged
from rnnsweep.errors import ConfigError

if TYPE_CHECKING:
    from rnnsweep.core.tasks.base import Task
    from rnnsweep.core.types import Direct


@dataclass(frozen=True)
class OnlineLearner(Learner):
    """Base of rules that carry derivatives of the state forward beside it.

    Weights change at the end of the sequence, as with every rule here, so they are constant within it: what is carried
    starts anew with every sequence, and nothing goes over to the next mini-batch but the state of a task that carries
    it. The loop runs on the engine; derivatives are taken at the states that it recorded. The read-out is exact.

    Raises:
        ConfigError: the family feeds its loop through a filter of its own, whose weights act before the loop; it or the
            read-out has no derivatives of single steps.
    """

    carries: ClassVar[bool] = True

    @property
    def requires(self) -> frozenset[Capability]:
        """Steps that can be followed one by one."""
        return frozenset({Capability.LOCAL})

    def check_with(self, family: Family, task: Task) -> None:
        """See `Raises`."""
        del task
        check_feed(self, family)

    @abstractmethod
    def follow(
        self, steps: LocalSteps, direct: Direct, own: Mapping[str, Shaped[Tensor, "P ..."]]
    ) -> Float[Tensor, "P N"]:
        """The gradient of the loop's weights, sources side by side.

        Args:
            steps: derivatives of single steps.
            direct: dC/ds_t without later steps, of whole states.
            own: see `Learner.learn`.
        """

    def learn(
        self,
        program: LoopProgram,
        params: Float[Tensor, "P N"],
        family_hypers: Mapping[str, Float[Tensor, " P"]],
        batch: Batch,
        want: Wanted,
        own: Mapping[str, Shaped[Tensor, "P ..."]] | None = None,
    ) -> Learned:
        """See `Learner.learn`; the trace is that of backpropagation."""
        values = program.layout.view(params)
        found = run(loops_of(program.wires, values, family_hypers), batch)
        only, record = found.top.loop, found.top.record  # `check_with` has seen to it
        seen = found.see(program.readout, values, per_step=program.task.per_step)
        out = read_out(program.task, values, seen.states, batch, program.engine)
        assert out.direct is not None
        direct, named = seen.pullback(out.direct)
        trained_start = any(spec.role == "state" for spec in program.layout.specs)
        steps = LocalSteps(record, only.activation, only.family.cell, trained_start=trained_start)
        loop = steps.gradients(self.follow(steps, whole_direct(direct, steps.size), own or {}))
        state = None if batch.state is None else record.at(record.inputs.shape[1]).clone()
        # Last: an engine may reuse the record's memory.
        trace = found.top.backward(direct, keep=True)[1] if want.trace else None
        named = merged(named, only.pullback(loop), out.gradients)
        gradients = program.layout.gathered(named, params)
        return Learned(out.loss, gradients, (BackwardPass(only, trace),), state=state)


def check_feed(learner: Learner, family: Family) -> None:
    """Raise `ConfigError` where weights act before the loop."""
    if not family.feeds:
        return
    what, allowed = "filters its inputs before it", "another family"
    if family.layers > 1:
        what, allowed = "has other layers before it", "family.layers=1"
    if family.bidirectional:
        what, allowed = "reads sequences from both ends", "family.bidirectional=false"
    if family.looks_up:
        what, allowed = "looks its inputs up before it", "embedding=none"
    problem = f"follows one loop's own weights, and the family {family.unit_name} {what}"
    raise ConfigError(problem, key="learner", value=learner.unit_name, allowed=f"learner=bptt, or {allowed}")


def loop_sizes(family: Family, task: Task) -> tuple[int, int]:
    """(S, N): entries of the state and weights of the loop, a cell's own vectors and matrices left out."""
    cell, inputs = family.cell, task.n_inputs
    if cell is None:
        return family.hidden, family.hidden * (family.hidden + inputs + 1)
    return cell.state, cell.recurrent * cell.product + cell.drive * (inputs + 1)
