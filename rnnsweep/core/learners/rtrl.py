"""Real-time recurrent learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.learners.influence import Whole, collected
from rnnsweep.core.learners.online import OnlineLearner, loop_sizes

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.recurrence.local import LocalSteps
    from rnnsweep.core.tasks.base import Task
    from rnnsweep.core.types import Direct


@dataclass(frozen=True)
class Rtrl(OnlineLearner):
    """The exact gradient, forward in time: how every weight moves every entry of the state is carried along.

        J_t = D_t J_{t-1} + I_t        D_t = ds_t/ds_{t-1}, I_t = ds_t/dtheta with s_{t-1} held
        dC/dtheta = sum_t (dC/ds_t without later steps) J_t

    It is the yardstick of the other forward rules, for small networks: J has S N entries per sequence (H^3 for a simple
    network, beside H T of backpropagation), and a step costs S^2 N operations (H^4, beside H^2). Weights change at the
    end of the sequence, so the gradient is that of `bptt`.

    Numerics:
        Equal to backpropagation up to rounding (to 1e-12 of its size in float64). Where J overflows so does the
        gradient, in its own row.

    References:
        Williams, Zipser (1989), *A learning algorithm for continually running fully recurrent neural networks*,
        eq. 12-14; there weights may change at every step, which leaves J approximate.
    """

    def entries(self, family: Family, task: Task) -> int:
        """J before and after a step, and what is added to it."""
        states, weights = loop_sizes(family, task)
        return 3 * states * weights

    def follow(
        self, steps: LocalSteps, direct: Direct, own: Mapping[str, Shaped[Tensor, "P ..."]]
    ) -> Float[Tensor, "P N"]:
        """See `OnlineLearner.follow`."""
        del own
        return collected(steps, direct, Whole(steps))
