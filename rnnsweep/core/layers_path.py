"""The layers below the last one as an input path: one step at a time. Shapes: see `core.types`."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.families.base import Family, Values
from rnnsweep.core.families.input_path import InputPath
from rnnsweep.core.layer_step import LayerStep
from rnnsweep.core.loop_place import LoopPlace
from rnnsweep.core.types import LoopWeights
from rnnsweep.core.wires import places_of


class LayersPath(InputPath):
    """The layers below the last, step by step; the memory is their states, then what each layer's filter keeps."""

    def __init__(self, family: Family) -> None:
        """Of a family with its layers, which all read forward."""
        self._family, self._places, self._adds = family, places_of(family), family.residual
        self._steps = [LayerStep(part) for part in family.parts]
        self._sizes = [step.size for step in self._steps[:-1]]
        self._kept = [step.memory for step in self._steps]

    def _own(self, layer: int) -> LoopPlace:
        """Of constants, where every layer has its number."""
        return LoopPlace(layer, len(self._places) + 1)

    def memory(self, drive: int) -> int:
        """All states of the layers below, and of the filters all that they keep."""
        del drive
        return sum(self._sizes) + sum(self._kept)

    def constants(self, values: Values, hypers: Values) -> dict[str, Float[Tensor, "P ..."]]:
        """Weights of their loops, and of the input paths between layers."""
        found: dict[str, Tensor] = {}
        for place, step in zip(self._places, self._steps, strict=True):
            its = self._family.part_hypers(place, hypers)
            parts = step.constants(place.own(values), its, loop=not place.main)
            if place.layer == 1:  # the network's own input path: see `affine`
                parts = {name: value for name, value in parts.items() if name not in ("w_in", "bias")}
            found |= self._own(place.layer).named(parts)
        return found

    def affine(self, values: Values, hypers: Values, weights: LoopWeights) -> LoopWeights:
        """The loop's weights with the first layer's input path."""
        its = self._family.part_hypers(self._places[0], hypers)
        first = self._steps[0].with_inputs(self._places[0].own(values), its)
        return replace(weights, w_in=first.w_in, bias=first.bias)

    def first(self, constants: Values) -> Float[Tensor, "P 1 M"] | None:
        """Their initial states, where they are not all 0."""
        given = [step.first(self._own(layer).own(constants)) for layer, step in enumerate(self._steps[:-1], 1)]
        like = next((state for state in given if state is not None), None)
        if like is None:
            return None
        sizes = zip(given, self._sizes, strict=True)
        parts = [like.new_zeros(*like.shape[:-1], size) if state is None else state for state, size in sizes]
        return torch.cat((*parts, like.new_zeros(*like.shape[:-1], sum(self._kept))), -1)

    def step(
        self, constants: Values, z: Float[Tensor, "P B D"], memory: Float[Tensor, "P B M"]
    ) -> tuple[Float[Tensor, "P B G"], Float[Tensor, "P B M"]]:
        """See `InputPath.step`."""
        # not list[Tensor](): torch.export cannot follow it
        parts = memory.split([*self._sizes, *self._kept], -1)
        states, kept = parts[: len(self._sizes)], parts[len(self._sizes) :]
        after: list[Tensor] = []
        later: list[Tensor] = []
        shown: list[Tensor] = []
        for layer, step in enumerate(self._steps, 1):
            own = self._own(layer).own(constants)
            if layer > 1:
                z = step.affine(own, shown[-1])
            z, now = step.filtered(own, z, kept[layer - 1])
            later.append(now)
            if layer < len(self._steps):
                state = step.moved(own, states[layer - 1], z)
                after.append(state)
                h = step.family.visible(state)
                shown.append(h + shown[-1] if self._adds and layer > 1 else h)
        return z, torch.cat((*after, *later), -1)

    def shown(self, visible: Float[Tensor, "... H"], memory: Float[Tensor, "... M"]) -> Float[Tensor, "... H"]:
        """With what the layers below show, where each layer adds what it sees."""
        if not self._adds:
            return visible
        states = memory[..., : sum(self._sizes)].split(self._sizes, -1)
        below = [step.family.visible(state) for step, state in zip(self._steps[:-1], states, strict=True)]
        return visible + sum(below[1:], below[0])
