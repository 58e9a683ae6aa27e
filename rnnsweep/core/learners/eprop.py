"""Eligibility propagation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnsweep.core.learners.online import check_feed
from rnnsweep.core.learners.rflo import Rflo
from rnnsweep.core.types import Capability
from rnnsweep.errors import ConfigError

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.tasks.base import Task


@dataclass(frozen=True)
class Eprop(Rflo):
    """Eligibility traces of each unit's own memory times learning signals that the read-out's errors send to it.

        E_t = L_t E_{t-1} + I_t        L_t = ds_t/ds_{t-1} with the recurrent product a_t = s_{t-1} W_rec held
        dW = sum_t [eps_t B]_visible E_t

    I_t = ds_t/dtheta with s_{t-1} held, eps_t = dC/dy_t. L is what a unit does to its own memory: the forget gate's
    product in an LSTM, 1 - leak in a leaky network, the oscillator in coRNN. Of simple cells this is `rflo` with the
    same B, to the bit; what is new are cells with a memory of their own. The sum is computed backwards, by a loop
    without W_rec, which is the same number; weights change at the end of the sequence.

    Attributes:
        feedback: as of `rflo`.
        align: ``symmetric``: B = W_out^T, the paper's first choice; ``random``: as of `rflo`.

    Raises:
        ConfigError: as every rule that needs single steps (`OnlineLearner`); units of the cell see each other without
            W_rec (`sbo`).

    References:
        Bellec et al. (2020), *A solution to the learning dilemma for recurrent networks of spiking neurons*, eq. 1-4
        and 14; LSTM: their supplement. Ours differs: cells with numbers for spikes, so no pseudo-derivatives; a
        read-out without memory, so traces are not filtered once more; B is fixed.
    """

    align: str = "symmetric"

    @property
    def requires(self) -> frozenset[Capability]:
        """Steps that can be followed one by one."""
        return frozenset({Capability.LOCAL})

    def check_with(self, family: Family, task: Task) -> None:
        """See `Raises`."""
        del task
        check_feed(self, family)
        if family.cell is not None and not family.cell.apart:
            problem = f"has no traces for the family {family.unit_name}, whose units see each other without w_rec"
            raise ConfigError(problem, key="learner", value=self.unit_name, allowed="learner=bptt, or another family")
