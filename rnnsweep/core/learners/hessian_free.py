"""Hessian-free optimisation with structural damping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.learners.base import Learner, LoopProgram
from rnnsweep.core.learners.conjugate import Solved, solve
from rnnsweep.core.learners.gauss_newton import PLAIN, Linearised, linearise
from rnnsweep.core.learners.online import check_feed
from rnnsweep.core.loops import BackwardPass, Learned
from rnnsweep.core.types import Batch, Capability, Wanted
from rnnsweep.errors import ConfigError
from rnnsweep.unit import NOT_NEGATIVE, POSITIVE, SHARE, Range

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.tasks.base import Task

_SHRINK = 0.8  # of the step length, per try
_SEARCHES = 60
_SUFFICIENT = 1e-2  # Armijo's: the share of the slope's promise that the loss must keep


@dataclass(frozen=True)
class HessianFree(Learner):
    """Newton-like steps: (G + lambda I + lambda mu S) step = -gradient, by conjugate gradients on one mini-batch.

    G is the Gauss-Newton matrix; S, structural damping, that of the squared change of all hidden states (half of it,
    summed over time, mean over the batch). Then: the best iterate, going back from the last while the loss falls;
    lambda by Levenberg and Marquardt: ratio of true to predicted fall < 1/4: x 3/2, > 3/4: x 2/3; a line search .8^i.
    The optimiser is not asked. Wants large mini-batches, few updates and sparse initial weights (``init=smart_tanh``).

    Attributes:
        damping: lambda_0 = damping * outputs, per row, > 0.
        structural: mu = structural * outputs, per row, >= 0; 0 is plain Hessian-free.
        warm: share of the last solution that the next one starts from, per row, 0..1.
        iterations: of conjugate gradients, at most.
        progress: relative fall per iteration below which they end.

    Raises:
        ConfigError: the family is not the plain simple network.

    Numerics:
        Every row has its own lambda, its own end of iterations and line search; results do not depend on neighbours.
        Where no step length lowers the loss the step is 0 (and lambda grows). The prediction is the damped quadratic's.

    References:
        Martens, Sutskever (2011); Martens (2010): no preconditioner here.
    """

    damping: float = 0.01
    structural: float = 0.0003
    warm: float = 0.95
    iterations: int = 300
    progress: float = 5e-4

    asks_host: ClassVar[bool] = True  # searches end when they have converged
    proposes: ClassVar[bool] = True
    linear: ClassVar[bool] = True
    rows: ClassVar[Mapping[str, Range]] = {"damping": POSITIVE, "structural": NOT_NEGATIVE, "warm": SHARE}
    fixed: ClassVar[Mapping[str, Range]] = {"iterations": Range(1, 10**6, integer=True), "progress": NOT_NEGATIVE}

    @property
    def requires(self) -> frozenset[Capability]:
        """A loop of simple cells."""
        return frozenset({Capability.SIMPLE})

    def check_with(self, family: Family, task: Task) -> None:
        """The loop must use its parameters as they are, and be the only one."""
        check_feed(self, family)
        names = {spec.name for spec in family.parameters(task.n_inputs, task.n_outputs)}
        if not names <= PLAIN or not {"w_rec", "w_in", "b"} <= names:
            problem = "linearises the simple network's own parameters, which the family {} does not use as they are"
            raise ConfigError(
                problem.format(family.unit_name),
                key="learner",
                value=self.unit_name,
                allowed="a family of plain parameters, such as srn",
            )

    def slot_shapes(self, program: LoopProgram) -> dict[str, tuple[int, ...]]:
        """lambda (0: not yet set) and the last solution."""
        return {"level": (), "direction": (program.layout.size,)}

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
        assert own is not None
        outputs = program.task.n_outputs
        here = linearise(program, params, family_hypers, batch)
        gradient, trace = here.gradient(keep=want.trace)
        # Slots start at 0, which is no lambda: the first update sets it.
        level = torch.where(own["level"] > 0, own["level"], own["damping"] * outputs)
        # lambda mu: it rises and falls with lambda.
        structural = level * own["structural"] * outputs

        def product(vector: Tensor) -> Tensor:
            return here.product(vector, structural) + level[:, None] * vector

        solution = solve(product, -gradient, own["warm"][:, None] * own["direction"], self.iterations, self.progress)
        chosen, predicted, loss = backtrack(here, solution)
        # Both falls are negative; 0 / 0 is NaN, which `adapted` takes for bad.
        ratio = (loss - here.out.loss) / predicted
        step = line_search(here, gradient, chosen, loss)
        # The last iterate, not the chosen one: the next system starts from what solved this one best.
        slots = {"level": adapted(level, ratio), "direction": solution.x}
        return Learned(here.out.loss, gradient, (BackwardPass(here.run.top.loop, trace),), step, slots)


def backtrack(here: Linearised, found: Solved) -> tuple[Float[Tensor, "P N"], Float[Tensor, " P"], Float[Tensor, " P"]]:
    """Each row's iterate before which the loss stops falling, its quadratic and its loss; from the last one back."""
    chosen, predicted = found.kept[-1], found.values[-1]
    loss = here.loss(here.params + chosen)
    going = torch.ones_like(loss, dtype=torch.bool)
    for earlier, value in zip(reversed(found.kept[:-1]), reversed(found.values[:-1]), strict=True):
        if not bool(going.any()):
            break
        before = here.loss(here.params + earlier)
        # From a loss of NaN any earlier iterate is a way out; into one there is no way.
        going = going & ((before <= loss) | loss.isnan())
        # Rows that have stopped keep theirs while others go on.
        chosen = torch.where(going[:, None], earlier, chosen)
        predicted, loss = torch.where(going, value, predicted), torch.where(going, before, loss)
    return chosen, predicted, loss


def adapted(level: Float[Tensor, " P"], ratio: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
    """lambda by Levenberg and Marquardt, [P]; a ratio that is not a number counts as bad."""
    level = torch.where(~(ratio >= 0.25), level * 1.5, level)
    return torch.where(ratio > 0.75, level * (2 / 3), level)


def line_search(
    here: Linearised, gradient: Float[Tensor, "P N"], direction: Float[Tensor, "P N"], loss: Float[Tensor, " P"]
) -> Float[Tensor, "P N"]:
    """direction * .8^i with the smallest i <= 60 that lowers the loss enough, else 0; `loss` is that at i = 0."""
    slope = (gradient * direction).sum(1)  # negative for a descent
    rate = torch.ones_like(slope)
    # `~(<=)`: a loss of NaN is not low enough.
    searching = ~(loss <= here.out.loss + _SUFFICIENT * slope)
    for _ in range(_SEARCHES):
        if not bool(searching.any()):
            break
        rate = torch.where(searching, rate * _SHRINK, rate)
        loss = here.loss(here.params + rate[:, None] * direction)
        searching = searching & ~(loss <= here.out.loss + _SUFFICIENT * rate * slope)
    return torch.where(searching[:, None], torch.zeros_like(direction), rate[:, None] * direction)
