"""Backpropagation through time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.learners import truncation
from rnnsweep.core.learners.base import Learner, LoopProgram
from rnnsweep.core.loops import BackwardPass, Learned, LoopRun, loops_of, run
from rnnsweep.core.readout import read_out
from rnnsweep.core.recurrence.base import TermEngine, TermResult
from rnnsweep.core.types import Batch, Direct, LoopGradients, Trace, Wanted, merged
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Range

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.tasks.base import Task


@dataclass(frozen=True)
class Bptt(Learner):
    """Exact gradients over the whole sequence, or over chunks of it.

    Attributes:
        horizon: steps that errors travel back (`truncation.backward` says exactly which); whole, >= 1; null: all.

    Numerics:
        Everything is row by row; a non-finite row stays alone. Same dtype as the parameters.

    References:
        Werbos (1990); truncated: Williams, Peng (1990); the recursion is in docs/maths.md#gradient-record.
    """

    horizon: int | None = None

    carries: ClassVar[bool] = True
    regularised: ClassVar[bool] = True
    fixed: ClassVar[Mapping[str, Range]] = {"horizon": Range(1, integer=True, optional=True)}

    @property
    def takes_terms(self) -> bool:
        """Where errors travel back all the way."""
        return self.horizon is None

    def cuts(self, task: Task) -> bool:
        """Where the horizon is shorter than the longest sequence."""
        return self.horizon is not None and self.horizon < task.max_length

    def check_with(self, family: Family, task: Task) -> None:
        """See `Learner.check_with`: between loops, only what has no memory of its own is cut with them."""
        if family.bidirectional and self.cuts(task):
            problem = "cuts sequences that the network reads from both ends"
            raise ConfigError(problem, key="learner.horizon", value=self.horizon, allowed="null, or one direction")
        if len(family.parts) > 1 and self.cuts(task) and any(part.feeds for part in family.parts):
            problem = (
                f"cuts loops, and the filters of the family {family.unit_name} carry errors of one layer past cuts"
            )
            raise ConfigError(problem, key="learner.horizon", value=self.horizon, allowed="null, or family.layers=1")

    def learn(
        self,
        program: LoopProgram,
        params: Float[Tensor, "P N"],
        family_hypers: Mapping[str, Float[Tensor, " P"]],
        batch: Batch,
        want: Wanted,
        own: Mapping[str, Shaped[Tensor, "P ..."]] | None = None,
    ) -> Learned:
        """See `Learner.learn`."""
        del own
        values = program.layout.view(params)
        # A carried state is a constant: no gradient goes into the mini-batch before.
        looks = want.trace or want.term_rows is not None or batch.state is not None or self.horizon is not None
        last = program.readout.reads_last(program.task) and not looks
        found = run(loops_of(program.wires, values, family_hypers), batch, last=last)
        seen = found.see(program.readout, values, per_step=program.task.per_step)  # P T+1 B H
        out = read_out(program.task, values, seen.states, batch, program.engine)
        assert out.direct is not None
        direct, named = seen.pullback(out.direct)
        passes: list[BackwardPass] = []

        def through(loop: LoopRun, errors: Direct) -> LoopGradients:
            gradients, trace, term = self._back(program, loop, errors, want)
            passes.insert(0, BackwardPass(loop.loop, trace, term))
            return gradients

        # Added up where names meet: a read-out that is fed back has two gradients.
        named = merged(named, found.backward(direct, through, whole=want.trace), out.gradients)
        # P B S, invisible entries included: the next mini-batch goes on from all of it.
        state = None if batch.state is None else found.last
        # 0 in padding, and at parameters without a gradient.
        gradients = program.layout.gathered(named, params)
        return Learned(out.loss, gradients, tuple(passes), state=state)

    def _back(
        self, program: LoopProgram, loop: LoopRun, direct: Direct, want: Wanted
    ) -> tuple[LoopGradients, Trace | None, TermResult | None]:
        """Backwards through one loop: gradients, trace and term."""
        engine, activation = loop.loop.engine, loop.loop.activation
        # One loop for the gradient and the controllers' term: no trace has to be kept for it.
        asked = want.term_rows is not None and loop.loop.place.layer in program.term_layers
        if asked and isinstance(engine, TermEngine):
            assert program.backward_term is not None
            assert want.term_rows is not None
            term, rows = program.backward_term, want.term_rows
            return engine.backward_with(loop.record, direct, activation, term, rows, keep=want.trace)
        if self.horizon is None:
            return *loop.backward(direct, keep=want.trace), None
        one, keep = not program.task.per_step, want.trace
        return *truncation.backward(loop, direct, self.horizon, keep=keep, one=one), None
