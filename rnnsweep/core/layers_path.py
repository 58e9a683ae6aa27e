"""The layers below the last one as an input path: one step at a time. Shapes: see `core.types`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.dropping import expected_zone, mixed
from rnnsweep.core.families.base import Family, Values, path_of, width_of
from rnnsweep.core.families.input_path import InputPath
from rnnsweep.core.loops import Place
from rnnsweep.core.recurrence.cells import ProductCell
from rnnsweep.core.recurrence.layer_norm import summed
from rnnsweep.core.types import LoopWeights


class LayersPath(InputPath):
    """The layers below the last, step by step; the memory is their states, then what each layer's filter keeps."""

    def __init__(self, parts: Sequence[Family]) -> None:
        self._family, self._layers, self._filter = parts[0], len(parts), path_of(parts[0])
        cell = self._family.cell
        self._size = width_of(self._family) if cell is None else cell.state  # entries of one layer's state

    def _place(self, layer: int) -> Place:
        """Of constants, where every layer has its number."""
        return Place(layer, self._layers + 1)

    def memory(self, drive: int) -> int:
        """All states of the layers below, and of the filters all that they keep."""
        kept = 0 if self._filter is None else self._layers * self._filter.memory(drive)
        return (self._layers - 1) * self._size + kept

    def constants(self, values: Values, hypers: Values) -> dict[str, Float[Tensor, "P ..."]]:
        """Weights of their loops, and of the input paths between layers."""
        found: dict[str, Tensor] = {}
        for layer in range(1, self._layers + 1):
            own = Place(layer, self._layers).own(values)
            w = self._with_inputs(own, hypers)
            parts = {"w_in": w.w_in, "bias": w.bias} if layer > 1 else {}
            if layer < self._layers:
                leak = None if w.leak is None else w.leak[:, None]
                parts |= {"w_rec": w.w_rec, "act_bias": w.act_bias, "h0": w.h0, "leak": leak}
                parts |= {f"cell_{name}": value for name, value in w.cell.items()}
                parts["zone"] = expected_zone(self._family, hypers)
            if self._filter is not None:
                parts |= {f"path_{name}": value for name, value in self._filter.constants(own, hypers).items()}
            place = self._place(layer)
            found |= {place.name(name): value for name, value in parts.items() if value is not None}
        return found

    def affine(self, values: Values, hypers: Values, weights: LoopWeights) -> LoopWeights:
        """The loop's weights with the first layer's input path."""
        first = self._with_inputs(Place(1, self._layers).own(values), hypers)
        return replace(weights, w_in=first.w_in, bias=first.bias)

    def _with_inputs(self, own: Values, hypers: Values) -> LoopWeights:
        """A layer's weights with the matrix and the bias that act on what it sees."""
        weights = self._family.weights(own, hypers)
        return weights if self._filter is None else self._filter.affine(own, hypers, weights)

    def first(self, constants: Values) -> Float[Tensor, "P 1 M"] | None:
        """Their initial states, where they are not 0."""
        given = [constants.get(self._place(layer).name("h0")) for layer in range(1, self._layers)]
        if given[0] is None:
            return None
        assert self._filter is None  # no such family
        pads = (torch.nn.functional.pad(h0, (0, self._size - h0.shape[-1])) for h0 in given if h0 is not None)
        return torch.cat(list(pads), -1)

    def step(
        self, constants: Values, z: Float[Tensor, "P B D"], memory: Float[Tensor, "P B M"]
    ) -> tuple[Float[Tensor, "P B G"], Float[Tensor, "P B M"]]:
        """See `InputPath.step`."""
        cut = (self._layers - 1) * self._size
        # not list[Tensor](): torch.export cannot follow it
        states, kept = memory[..., :cut].split(self._size, -1), memory[..., cut:].chunk(self._layers, -1)
        after: list[Tensor] = []
        later: list[Tensor] = []
        for layer in range(1, self._layers + 1):
            own = self._place(layer).own(constants)
            if layer > 1:
                z = self._family.visible(after[-1])
                z = z if "w_in" not in own else _product(z, own["w_in"])
                z = z + own["bias"] if "bias" in own else z
            if self._filter is not None:
                filters = {name.removeprefix("path_"): part for name, part in own.items() if name.startswith("path_")}
                z, now = self._filter.step(filters, z, kept[layer - 1])
                later.append(now)
            if layer < self._layers:
                after.append(self._moved(own, states[layer - 1], z))
        return z, torch.cat((*after, *later), -1)

    def _moved(self, own: Values, state: Tensor, drive: Tensor) -> Tensor:
        """A layer's state after a step."""
        return mixed(own.get("zone"), state, self._made(own, state, drive))

    def _made(self, own: Values, state: Tensor, drive: Tensor) -> Tensor:
        """What a step makes."""
        cell = self._family.cell
        parts = {name.removeprefix("cell_"): value for name, value in own.items() if name.startswith("cell_")}
        if cell is not None and not isinstance(cell, ProductCell):
            return cell.moved(state, drive, own["w_rec"], parts)[0]
        width = own["w_rec"].shape[-2]
        a = _product(state[..., :width], own["w_rec"])
        if cell is not None:
            return cell.step(a, drive, state, parts)
        y = self._family.cell_activation.value(summed(a + drive, parts), own.get("act_bias"))
        return (1 - own["leak"]) * state + own["leak"] * y if "leak" in own else y


def _product(x: Tensor, matrix: Tensor) -> Tensor:
    """x M row by row; the plain product of a module that is exported: a pack's own one is padded."""
    return x @ matrix if torch.compiler.is_exporting() else numerics.matmul(x, matrix)
