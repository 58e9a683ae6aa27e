"""A network that reads sequences from both ends, with constant weights. Shapes: see `core.types`; no rows, T leads."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.families.base import Family, Values
from rnnsweep.core.layer_step import LayerStep
from rnnsweep.core.sequence_lengths import reversed_steps
from rnnsweep.core.wires import places_of

Step = Callable[[Float[Tensor, "B S"], Float[Tensor, "B D"]], Float[Tensor, "B S"]]
Walk = Callable[[Step, Float[Tensor, "B S"], Float[Tensor, "T B D"]], Float[Tensor, "T B S"]]
"""(step, first state [B, S], drives [T, B, D]) -> the states after each step [T, B, S]."""


class BothWays:
    """All layers over whole sequences, each by two loops of the family; stateless itself."""

    def __init__(self, family: Family) -> None:
        self._loops = [(place, LayerStep(part)) for place, part in zip(places_of(family), family.parts, strict=True)]
        self._family, self._adds = family, family.residual

    def constants(self, values: Values, hypers: Values) -> dict[str, Float[Tensor, "P ..."]]:
        """Weights of all loops, by number and name."""
        found: dict[str, Tensor] = {}
        for number, (place, step) in enumerate(self._loops):
            parts = step.constants(place.own(values), self._family.part_hypers(place, hypers))
            found |= {f"{number}_{name}": value for name, value in parts.items()}
        return found

    def shown(
        self, constants: Values, inputs: Float[Tensor, "T B I"], lengths: Int64[Tensor, " B"] | None, walk: Walk
    ) -> Float[Tensor, "T B K"]:
        """What the last layer shows at every step.

        Args:
            constants: of a pack of one, vectors as [1, 1, K]. inputs: of all steps.
            lengths: of each sequence, which ends at T; None: all have T steps.
            walk: runs a loop over all steps.
        """
        every: Tensor | None = None
        for number in range(0, len(self._loops), 2):
            x = inputs if every is None else every
            h = torch.cat([self._loop(number + way, constants, x, lengths, walk) for way in (0, 1)], -1)
            every = h + every if self._adds and every is not None else h
        assert every is not None
        return every

    def _loop(self, number: int, constants: Values, x: Tensor, lengths: Tensor | None, walk: Walk) -> Tensor:
        place, step = self._loops[number]
        start = f"{number}_"
        own = {name.removeprefix(start): part for name, part in constants.items() if name.startswith(start)}
        x = _reversed(x, lengths) if place.reverse else x
        drives = step.affine(own, x.flatten(0, 1)[None])[0].unflatten(0, x.shape[:2])

        def moved(whole: Tensor, drive: Tensor) -> Tensor:
            drive, kept = step.filtered(own, drive[None], whole[None, :, step.size :])
            return torch.cat((step.moved(own, whole[None, :, : step.size], drive)[0], kept[0]), -1)

        begin, first = x.new_zeros(x.shape[1], step.size + step.memory), step.first(own)
        if first is not None:
            begin = begin + torch.nn.functional.pad(first[0], (0, step.memory))
        h = step.family.visible(walk(moved, begin, drives)[..., : step.size])
        return _reversed(h, lengths) if place.reverse else h


def _reversed(x: Tensor, lengths: Tensor | None) -> Tensor:
    return x.flip(0) if lengths is None else reversed_steps(x[None], lengths[None])[0]
