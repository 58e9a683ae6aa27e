"""Layers of one family, one on the other: those below the last one are a filter before its loop.

Layers are counted from 1, at the inputs. A parameter of a layer below the last has its layer's number: ``w_rec_l1``;
those of the last layer, and the read-out's, are named as those of a single one.
Shapes: see `core.types`; L layers, K entries of a state that the layer above sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import numerics, rng
from rnnsweep.core.families.base import Family, Feed, OutputFeedback, Values, readout_parameters
from rnnsweep.core.families.filters import given_drives
from rnnsweep.core.families.input_path import InputPath
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.cells import ProductCell
from rnnsweep.core.types import Capability, Direct, LoopGradients, LoopWeights, ParameterSpec, Record
from rnnsweep.errors import ConfigError

_READ = frozenset(spec.name for spec in readout_parameters(1, 1))


def layered(family: Family) -> Family:
    """The family with all its layers; the family itself where there is one.

    Raises:
        ConfigError: it cannot be stacked: it filters its inputs, is fed with outputs, or keeps row state of its own.
    """
    if family.layers == 1:
        return family
    kind = type(family)
    reasons = {
        "filters its inputs before the loop": kind.feed is not Family.feed,
        "is fed with its own outputs": isinstance(family, OutputFeedback),
        "keeps state of its own from update to update": bool(family.slots),
    }
    for reason, holds in reasons.items():
        if holds:
            problem = f"cannot be stacked: the family {family.unit_name} {reason}"
            raise ConfigError(problem, key="family.layers", value=family.layers, allowed="1")
    values = {item.name: getattr(family, item.name) for item in fields(family) if item.init}
    return _layered_class(kind)(**values)


@lru_cache
def _layered_class(kind: type[Family]) -> type[Family]:
    # its loops' errors are not one graph: the layers below run in engines
    known = {
        "capabilities": kind.capabilities - {Capability.GRAPH},
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
    }
    return dataclass(frozen=True)(type(kind.__name__, (Layered, kind), known))


@dataclass
class _Below:
    """A layer that has run: its own values and weights, what it was fed, and its record."""

    values: Values
    weights: LoopWeights
    inputs: Tensor
    record: Record


class Layered(Family):
    """Mixin before a family: what it says of one layer holds for each; controllers and diagnostics see the last one.

    Numerics:
        A layer above the first gets drives, one product over all steps, and hands back their gradients in the same way.
    """

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """Those of the layers below, with their layer's number; then the last one's, and the read-out's."""
        below: list[ParameterSpec] = []
        for layer in range(1, self.layers):
            given = n_inputs if layer == 1 else self._width
            parts = super().parameters(given, n_outputs)
            below += [
                replace(part, name=_named(part.name, layer), into=_named(part.into, layer))
                for part in parts
                if part.name not in _READ
            ]
        return (*below, *super().parameters(self._width, n_outputs))

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The last layer's loop; its input path is a part of `feed`."""
        return given_drives(super().weights(_of(values, self.layers, self.layers), hypers))

    def feed(
        self,
        values: Values,
        hypers: Values,
        inputs: Float[Tensor, "P T B I"],
        lengths: Int64[Tensor, "P ..."],
        engine: Engine,
    ) -> Feed:
        """Run the layers below; drives of the last one."""
        x, done = inputs, list[_Below]()
        for layer in range(1, self.layers):
            own = _of(values, layer, self.layers)
            weights = super().weights(own, hypers)
            # the first one's loop takes inputs as they are
            fed, loop = (x, weights) if layer == 1 else (_driven(x, weights, engine), given_drives(weights))
            record = engine.forward(fed, loop, self.cell_activation, lengths)
            done.append(_Below(own, weights, x, record))
            x = self.visible(record.h[:, 1:]).contiguous()
        top = _of(values, self.layers, self.layers)
        last = super().weights(top, hypers)
        one = super().pullback

        def pullback(gradient: Tensor | None) -> dict[str, Tensor]:
            assert gradient is not None
            parts, back = _into_inputs(gradient, x, last, engine)
            named = one(top, hypers, parts) if last.w_in is not None else {}
            for layer in range(self.layers - 1, 0, -1):
                below = done[layer - 1]
                loop, _ = engine.backward(below.record, Direct(steps=back), self.cell_activation, keep=False)
                if layer > 1:
                    assert loop.inputs is not None
                    parts, back = _into_inputs(loop.inputs, below.inputs, below.weights, engine)
                    loop = replace(loop, w_in=parts.w_in, bias=parts.bias)
                found = one(below.values, hypers, loop)
                named |= {_named(name, layer): value for name, value in found.items()}
            return named

        return Feed(_driven(x, last, engine), pullback)

    @property
    def input_path(self) -> InputPath:
        """The layers below, one step at a time."""
        return LayersPath(self, self._width, super().weights)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """The last layer's."""
        return super().pullback(_of(values, self.layers, self.layers), hypers, gradients)

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The last layer's."""
        top = (_of(part, self.layers, self.layers) for part in (values, step))
        first, change = top
        return super().recurrent_step(first, hypers, change)

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Layer by layer; each below the last has numbers of its own."""
        named: dict[str, Tensor] = {}
        for layer in range(1, self.layers + 1):
            below = layer < self.layers
            own = [replace(s, name=name) for s in specs if (name := _plain(s.name, layer, self.layers)) is not None]
            # streams go by parameters' names, which are the same in all layers
            each = torch.tensor([rng.key(int(k), layer, "layer") for k in keys]) if below else keys
            found = super().initial(_of(drawn, layer, self.layers), own, each)
            named |= {_named(name, layer) if below else name: value for name, value in found.items()}
        return named

    @property
    def _width(self) -> int:
        """K."""
        return next(spec.shape[0] for spec in super().parameters(1, 1) if spec.name == "w_out")


class LayersPath(InputPath):
    """The layers below the last, one step at a time; the memory is their states side by side."""

    def __init__(self, family: Family, width: int, weights: Callable[[Values, Values], LoopWeights]) -> None:
        self._family, self._weights, self._layers = family, weights, family.layers
        self._size = width if family.cell is None else family.cell.state  # entries of one layer's state

    def memory(self, drive: int) -> int:
        """All states of the layers below."""
        del drive
        return (self._layers - 1) * self._size

    def constants(self, values: Values, hypers: Values) -> dict[str, Float[Tensor, "P ..."]]:
        """Weights of their loops, and of the input paths between layers."""
        found: dict[str, Tensor] = {}
        for layer in range(1, self._layers + 1):
            w = self._weights(_of(values, layer, self._layers), hypers)
            parts = {"w_in": w.w_in, "bias": w.bias} if layer > 1 else {}
            if layer < self._layers:
                leak = None if w.leak is None else w.leak[:, None]
                parts |= {"w_rec": w.w_rec, "act_bias": w.act_bias, "h0": w.h0, "leak": leak}
                parts |= {f"cell_{name}": value for name, value in w.cell.items()}
            found |= {_named(name, layer): value for name, value in parts.items() if value is not None}
        return found

    def affine(self, values: Values, hypers: Values, weights: LoopWeights) -> LoopWeights:
        """The loop's weights with the first layer's input path."""
        first = self._weights(_of(values, 1, self._layers), hypers)
        return replace(weights, w_in=first.w_in, bias=first.bias)

    def first(self, constants: Values) -> Float[Tensor, "P 1 M"] | None:
        """Their initial states, where they are not 0."""
        given = [constants.get(_named("h0", layer)) for layer in range(1, self._layers)]
        if given[0] is None:
            return None
        pads = (torch.nn.functional.pad(h0, (0, self._size - h0.shape[-1])) for h0 in given if h0 is not None)
        return torch.cat(list(pads), -1)

    def step(
        self, constants: Values, z: Float[Tensor, "P B D"], memory: Float[Tensor, "P B M"]
    ) -> tuple[Float[Tensor, "P B G"], Float[Tensor, "P B M"]]:
        """See `InputPath.step`."""
        after = list[Tensor]()
        for layer, state in enumerate(memory.split(self._size, -1), 1):
            after.append(self._moved(_of(constants, layer, self._layers + 1), state, z))
            above = _of(constants, layer + 1, self._layers + 1)
            z = self._family.visible(after[-1])
            z = z if "w_in" not in above else _product(z, above["w_in"])
            z = z + above["bias"] if "bias" in above else z
        return z, torch.cat(after, -1)

    def _moved(self, own: Values, state: Tensor, drive: Tensor) -> Tensor:
        """A layer's state after a step."""
        cell = self._family.cell
        parts = {name.removeprefix("cell_"): value for name, value in own.items() if name.startswith("cell_")}
        if cell is not None and not isinstance(cell, ProductCell):
            return cell.moved(state, drive, own["w_rec"], parts)[0]
        width = own["w_rec"].shape[-2]
        a = _product(state[..., :width], own["w_rec"])
        if cell is not None:
            return cell.step(a, drive, state, parts)
        y = self._family.cell_activation.value(a + drive, own.get("act_bias"))
        return (1 - own["leak"]) * state + own["leak"] * y if "leak" in own else y


def _product(x: Tensor, matrix: Tensor) -> Tensor:
    """x M row by row; the plain product of a module that is exported: a pack's own one is padded."""
    return x @ matrix if torch.compiler.is_exporting() else numerics.matmul(x, matrix)


def _driven(x: Float[Tensor, "P T B K"], weights: LoopWeights, engine: Engine) -> Float[Tensor, "P T B D"]:
    """Drives of a layer that sees x; x itself where its loop takes inputs as they are."""
    if weights.w_in is None:
        return x
    drive = engine.matmul(x.flatten(1, 2), weights.w_in).unflatten(1, x.shape[1:3])
    return drive if weights.bias is None else drive + weights.bias[:, None, None]


def _into_inputs(
    g: Float[Tensor, "P T B D"], x: Float[Tensor, "P T B K"], weights: LoopWeights, engine: Engine
) -> tuple[LoopGradients, Float[Tensor, "P T B K"]]:
    """Gradients of an input path from those of the drives: of its weights (that of W_rec is 0), and of x."""
    nothing = LoopGradients(torch.zeros_like(weights.w_rec))
    if weights.w_in is None:
        return nothing, g
    bias = None if weights.bias is None else numerics.row_sum(g.flatten(1, 2))
    back = engine.matmul(g.flatten(1, 2), weights.w_in.transpose(1, 2).contiguous()).unflatten(1, g.shape[1:3])
    return replace(nothing, w_in=engine.outer(x, g), bias=bias), back.contiguous()


def _named(name: str, layer: int) -> str:
    return f"{name}_l{layer}"


def _plain(name: str, layer: int, layers: int) -> str | None:
    """A parameter's name within its layer; None of another one's."""
    ends = {number: f"_l{number}" for number in range(1, layers)}
    mine = next((number for number, end in ends.items() if name.endswith(end)), layers)
    if mine != layer:
        return None
    return name.removesuffix(ends.get(layer, ""))


def _of(values: Mapping[str, Any], layer: int, layers: int) -> dict[str, Any]:
    """A layer's part of named values, by the names that they have within it."""
    return {plain: value for name, value in values.items() if (plain := _plain(name, layer, layers)) is not None}
