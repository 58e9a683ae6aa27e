"""The contract of a read-out: from the states to what the linear map ``w_out`` is applied to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnnsweep.core.parameters import ParameterSpec
from rnnsweep.core.types import Capability, Direct
from rnnsweep.unit import Unit

Values = Mapping[str, Tensor]


@dataclass(frozen=True)
class Seen:
    """What the linear map sees.

    Attributes:
        states: as `readout.read_out` takes them: [P, T + 1, B, H], of which it reads the last or all but the first.
        pullback: from the direct part of what is seen to that of the states, and gradients of the read-out's own
            parameters.
    """

    states: Tensor
    pullback: Callable[[Direct], tuple[Direct, dict[str, Tensor]]] = lambda direct: (direct, {})


@dataclass(frozen=True)
class Readout(Unit):
    """Base of read-outs; the states themselves, unless a subclass looks further.

    Attributes:
        capabilities: what controllers may rely on.
    """

    unit_group: ClassVar[str] = "readout"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)

    def parameters(self, width: int) -> tuple[ParameterSpec, ...]:
        """Parameters besides ``w_out`` and ``b_out``, for states of this width."""
        del width
        return ()

    def see(self, values: Values, states: Tensor, lengths: Tensor, per_step: bool) -> Seen:
        """What the linear map sees of the visible states [P, T + 1, B, H]."""
        del values, lengths, per_step
        return Seen(states)
