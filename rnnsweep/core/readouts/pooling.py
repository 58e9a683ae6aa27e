"""Pooling of the states over time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rnnsweep.core.readout import Readout, Seen, Values
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import Capability, Direct
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Pooling(Readout):
    """The linear map is applied to the mean, each unit's maximum, or the last of the states of a sequence's own steps.

    With a target at every step, step t sees steps 1..t.

    Attributes:
        kind: ``mean``, ``max``, or ``last``, which is the read-out `linear`: something to compare the others with.

    Numerics:
        Sums run along time alone; of equal maxima one takes the whole gradient: with a target at the end the first one,
        with one at every step the last so far.

    References:
        Collobert et al. (2011), *Natural language processing (almost) from scratch*, section 3.3.2, for the maximum
        over time.
    """

    kind: str = "mean"

    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {"kind": ("mean", "max", "last")}

    @property
    def capabilities(self) -> frozenset[Capability]:  # pyright: ignore[reportIncompatibleVariableOverride] - of instances
        """Of the last state all, else those that need neither single steps nor a plain graph."""
        return Readout.capabilities if self.direct else frozenset({Capability.RECURRENT, Capability.TANGENT})

    @property
    def carries(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Only the last state is one step's."""
        return self.direct

    @property
    def direct(self) -> bool:
        """Of the last state."""
        return self.kind == "last"

    def see(
        self, values: Values, states: Float[Tensor, "P steps B H"], lengths: Int64[Tensor, "P ..."], per_step: bool
    ) -> Seen:
        """See `Readout.see`."""
        if self.direct:
            return super().see(values, states, lengths, per_step)
        h = states[:, 1:]
        own = own_steps(lengths, h.shape[1])[..., None]  # P T S 1
        pool = (_mean, _running_mean) if self.kind == "mean" else (_max, _running_max)
        return pool[per_step](h, own)


def _mean(h: Float[Tensor, "P T B H"], own: Bool[Tensor, "P T _ 1"]) -> Seen:
    count = own.sum(1, keepdim=True).to(h.dtype)  # P 1 S 1
    seen = torch.where(own, h, torch.zeros_like(h)).sum(1, keepdim=True) / count

    def pullback(direct: Direct) -> tuple[Direct, dict[str, Tensor]]:
        assert direct.last is not None
        each = (direct.last[:, None] / count).expand_as(h)
        return Direct(steps=torch.where(own, each, torch.zeros_like(each))), {}

    return Seen(seen, pullback)


def _running_mean(h: Float[Tensor, "P T B H"], own: Bool[Tensor, "P T _ 1"]) -> Seen:
    count = own.cumsum(1).clamp(min=1).to(h.dtype)  # P T S 1
    mean = torch.where(own, h, torch.zeros_like(h)).cumsum(1) / count

    def pullback(direct: Direct) -> tuple[Direct, dict[str, Tensor]]:
        assert direct.steps is not None
        later = (direct.steps / count).flip(1).cumsum(1).flip(1)
        return Direct(steps=torch.where(own, later, torch.zeros_like(later))), {}

    return Seen(_with_first(torch.where(own, mean, h)), pullback)


def _max(h: Float[Tensor, "P T B H"], own: Bool[Tensor, "P T _ 1"]) -> Seen:
    seen, place = torch.where(own, h, torch.full_like(h, -math.inf)).max(1, keepdim=True)

    def pullback(direct: Direct) -> tuple[Direct, dict[str, Tensor]]:
        assert direct.last is not None
        return Direct(steps=torch.zeros_like(h).scatter_(1, place, direct.last[:, None])), {}

    return Seen(seen, pullback)


def _running_max(h: Float[Tensor, "P T B H"], own: Bool[Tensor, "P T _ 1"]) -> Seen:
    largest, place = torch.where(own, h, torch.full_like(h, -math.inf)).cummax(1)

    def pullback(direct: Direct) -> tuple[Direct, dict[str, Tensor]]:
        assert direct.steps is not None
        steps, carried = torch.zeros_like(h), torch.zeros_like(h[:, 0])
        # a maximum collects from all steps that it is the maximum of: a run of equal places
        for t in range(h.shape[1] - 1, -1, -1):
            same = (
                place[:, t + 1] == place[:, t]
                if t + 1 < h.shape[1]
                else torch.zeros_like(place[:, t], dtype=torch.bool)
            )
            carried = direct.steps[:, t] + torch.where(same, carried, torch.zeros_like(carried))
            steps[:, t] = torch.where(place[:, t] == t, carried, torch.zeros_like(carried))
        return Direct(steps=torch.where(own, steps, torch.zeros_like(steps))), {}

    return Seen(_with_first(torch.where(own, largest, h)), pullback)


def _with_first(seen: Float[Tensor, "P T B H"]) -> Float[Tensor, "P T1 B H"]:
    """As `read_out` takes what is seen at every step: with a first state that nobody reads."""
    return torch.cat((torch.zeros_like(seen[:, :1]), seen), 1)
