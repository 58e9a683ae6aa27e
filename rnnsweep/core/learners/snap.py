"""Sparse n-step approximation of real-time recurrent learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.learners.influence import Whole, collected
from rnnsweep.core.learners.narrow import Narrow, plan_of
from rnnsweep.core.learners.online import OnlineLearner, loop_sizes
from rnnsweep.core.recurrence.local import LocalSteps
from rnnsweep.core.recurrence.reach import Reach, reach_of
from rnnsweep.core.types import Record
from rnnsweep.unit import Range

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.tasks.base import Task
    from rnnsweep.core.types import Direct


_SMALL = 64
"""Units from which on a loop's structure shows: a matrix of thousands would take minutes to follow."""


@dataclass(frozen=True)
class Snap(OnlineLearner):
    """`rtrl` that keeps of J only where a weight's influence arrives within n steps; the rest is set to 0 every step.

        J_t = mask (D_t J_{t-1} + I_t)        mask = pattern of J_n

    Order 1 keeps the entries of the unit that a weight leads into: of a simple network J then is one number per weight,
    carried on by the diagonal of D (of LSTM and coRNN two: both states of the unit), at the cost of backpropagation.
    Order 2 keeps what that unit reaches in one more step. In a dense network that is everything, so order 2 is `rtrl`
    (a config is warned), unless entries of the recurrent matrix are 0: the pattern is taken from the matrix as it is at
    each update, which an init with few connections thins out at first and `l1_proximal` for good.

    Attributes:
        order: n >= 1.

    Numerics:
        Order 1 equals the masked recursion up to rounding. Orders above cost as much as `rtrl`, whatever the pattern:
        nothing is gained but the approximation itself.

    References:
        Menick, Elsen, Evci, Osindero, Simonyan, Graves (2021), *A practical sparse approximation for real time
        recurrent learning*, section 3. There weights are sparse by a fixed mask and absent ones are not trained.
    """

    order: int = 1

    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {"order": Range(1, 64, integer=True)}

    def same_as(self, family: Family, task: Task) -> str | None:
        """`rtrl`, where a matrix of this family's form leaves nothing to set to 0."""
        steps = _example(family, task)
        reach, w_rec = reach_of(steps), steps.record.weights.w_rec
        # One line for all that lead into a column: they reach the same.
        first = reach.of_sources([replace(source, lines=1) for source in steps.sources])
        if not bool((reached(first, reach, w_rec, self.order) == reached(first, reach, w_rec, self.order + 1)).all()):
            return None
        return (
            f"learner.order={self.order} keeps all influences in family={family.unit_name}: it does what learner=rtrl "
            "does, unless entries of the recurrent matrix are 0"
        )

    def entries(self, family: Family, task: Task) -> int:
        """As `rtrl`; of order 1 some numbers per weight."""
        states, weights = loop_sizes(family, task)
        return 3 * weights * (2 if self.order == 1 else states)

    def follow(
        self, steps: LocalSteps, direct: Direct, own: Mapping[str, Shaped[Tensor, "P ..."]]
    ) -> Float[Tensor, "P N"]:
        """See `OnlineLearner.follow`."""
        del own
        reach = reach_of(steps)
        plan = plan_of(reach, steps.sources) if self.order == 1 else None
        if plan is not None:
            return collected(steps, direct, Narrow(steps, plan))
        first = reach.of_sources(steps.sources)
        return collected(steps, direct, Whole(steps, reached(first, reach, steps.record.weights.w_rec, self.order)))


def reached(
    first: Bool[Tensor, "S N"], reach: Reach, w_rec: Float[Tensor, "P R A"], order: int
) -> Bool[Tensor, "P S N"]:
    """Pattern of J after `order` steps: of I, and of D times the pattern before."""
    mask = first[None].expand(len(w_rec), -1, -1)
    ways = reach.of_states(w_rec).to(w_rec.dtype)
    for _ in range(order - 1):
        # Counts of ways: sums of ones, exact in any order.
        mask = first[None] | (numerics.matmul(ways, mask.to(w_rec.dtype)) > 0)
    return mask


def _example(family: Family, task: Task) -> LocalSteps:
    """One step of a row of this family with weights in general position; of a smaller one where it is large."""
    family = replace(family, hidden=min(family.hidden, _SMALL))
    generator = torch.Generator().manual_seed(0)
    specs = family.parameters(task.n_inputs, task.n_outputs)
    values = {s.name: torch.randn(1, *s.shape, generator=generator, dtype=torch.float64) for s in specs}
    hypers = {name: torch.tensor([value], dtype=torch.float64) for name, value in family.row_values().items()}
    hypers |= {name: torch.zeros(1, dtype=torch.float64) for name in family.slots}
    size = family.hidden if family.cell is None else family.cell.state
    weights = family.weights(values, hypers)
    inputs, states = torch.zeros(1, 1, 1, task.n_inputs).double(), torch.zeros(1, 2, 1, size).double()
    record = Record(inputs, states, torch.ones_like(states[:, 1:]), weights, torch.ones(1, dtype=torch.int64))
    return LocalSteps(record, family.cell_activation, family.cell, trained_start=False)
