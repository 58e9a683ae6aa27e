"""Layers of one family, one on the other: those below the last one are a filter before its loop.

Layers are counted from 1, at the inputs. A parameter of a layer below the last has its layer's number: ``w_rec_l1``;
those of the last layer, and the read-out's, are named as those of a single one.
Shapes: see `core.types`; L layers, K entries of a state that the layer above sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import numerics, rng
from rnnsweep.core.families.base import Family, Feed, OutputFeedback, Values, path_of, readout_parameters
from rnnsweep.core.families.filters import given_drives
from rnnsweep.core.families.input_path import InputPath
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.cells import ProductCell
from rnnsweep.core.types import Capability, Direct, LoopGradients, LoopWeights, ParameterSpec, Record, merged
from rnnsweep.errors import ConfigError

_READ = frozenset(spec.name for spec in readout_parameters(1, 1))


def layered(family: Family) -> Family:
    """The family with all its layers; the family itself where there is one.

    Raises:
        ConfigError: it filters whole sequences, is fed with its outputs, or keeps row state of its own.
    """
    if family.layers == 1:
        return family
    kind = type(family)
    reasons = {
        "filters whole sequences": kind.feed is not Family.feed and path_of(family) is None,
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
    """A layer below the last that has run.

    Attributes:
        values, weights: its own. inputs: what came in. record: of its loop.
        feed: of a family with a filter.
    """

    values: Values
    weights: LoopWeights
    inputs: Tensor
    record: Record
    feed: Feed | None


class Layered(Family):
    """Mixin before a family: what it says of one layer holds for each; controllers and diagnostics see the last one.

    Numerics:
        A layer above the first gets drives, one product over all steps, and hands back their gradients in the same way.

    Attributes:
        hands_back: whether the first one does so too, for an embedding before it (`families.embedded`).
    """

    hands_back: ClassVar[bool] = False

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
        x, done, one = inputs, list[_Below](), super()
        for layer in range(1, self.layers):
            own = _of(values, layer, self.layers)
            weights, filtered = one.weights(own, hypers), None
            if self._filtered:
                filtered = one.feed(own, hypers, x, lengths, engine)
                fed, loop = filtered.inputs, weights
            elif layer == 1 and not self.hands_back:  # its loop takes inputs as they are
                fed, loop = x, weights
            else:
                fed, loop = driven(x, weights, engine), given_drives(weights)
            record = engine.forward(fed, loop, self.cell_activation, lengths)
            done.append(_Below(own, weights, x, record, filtered))
            x = self.visible(record.h[:, 1:]).contiguous()
        top = _of(values, self.layers, self.layers)
        if self._filtered:
            last = one.feed(top, hypers, x, lengths, engine)
            return self._fed(last.inputs, lambda g: self._down(_back(last, g), last.pullback(g), done, hypers, engine))
        weights = one.weights(top, hypers)
        drives = driven(x, weights, engine)

        def down(gradient: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
            assert gradient is not None
            parts, back = into_inputs(gradient, x, weights, engine)
            own = one.pullback(top, hypers, parts) if weights.w_in is not None else {}
            return self._down(back, own, done, hypers, engine)

        return self._fed(drives, down)

    def _fed(self, drives: Tensor, down: Callable[[Tensor | None], tuple[dict[str, Tensor], Tensor]]) -> Feed:
        return Feed(drives, lambda gradient: down(gradient)[0], both=down if self.hands_back else None)

    def _down(
        self, back: Tensor, named: dict[str, Tensor], done: Sequence[_Below], hypers: Values, engine: Engine
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Gradients of all layers, from those of what the last one sees and of its own input path; and of the inputs.

        The latter only where the first layer hands back.
        """
        one = super()
        for layer in range(self.layers - 1, 0, -1):
            below, found = done[layer - 1], dict[str, Tensor]()
            loop, _ = engine.backward(below.record, Direct(steps=back), self.cell_activation, keep=False)
            if below.feed is not None:
                found = below.feed.pullback(loop.inputs)
                back = _back(below.feed, loop.inputs) if layer > 1 or self.hands_back else back
            elif layer > 1 or self.hands_back:
                assert loop.inputs is not None
                parts, back = into_inputs(loop.inputs, below.inputs, below.weights, engine)
                loop = replace(loop, w_in=parts.w_in, bias=parts.bias)
            found = merged(one.pullback(below.values, hypers, loop), found)
            named |= {_named(name, layer): value for name, value in found.items()}
        return named, back

    @property
    def input_path(self) -> InputPath:
        """The layers below, one step at a time."""
        return LayersPath(self, self._width, super().weights, super().input_path if self._filtered else None)

    @property
    def _filtered(self) -> bool:
        """Whether each layer has a filter before its loop."""
        return getattr(super().feed, "__func__", None) is not Family.feed

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """The last layer's."""
        return super().pullback(_of(values, self.layers, self.layers), hypers, gradients)

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The last layer's."""
        top, change = (_of(part, self.layers, self.layers) for part in (values, step))
        return super().recurrent_step(top, hypers, change)

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
    """The layers below the last, step by step; the memory is their states, then what each layer's filter keeps."""

    def __init__(
        self,
        family: Family,
        width: int,
        weights: Callable[[Values, Values], LoopWeights],
        filter_: InputPath | None,
    ) -> None:
        self._family, self._weights, self._layers, self._filter = family, weights, family.layers, filter_
        self._size = width if family.cell is None else family.cell.state  # entries of one layer's state

    def memory(self, drive: int) -> int:
        """All states of the layers below, and of the filters all that they keep."""
        kept = 0 if self._filter is None else self._layers * self._filter.memory(drive)
        return (self._layers - 1) * self._size + kept

    def constants(self, values: Values, hypers: Values) -> dict[str, Float[Tensor, "P ..."]]:
        """Weights of their loops, and of the input paths between layers."""
        found: dict[str, Tensor] = {}
        for layer in range(1, self._layers + 1):
            own = _of(values, layer, self._layers)
            w = self._with_inputs(own, hypers)
            parts = {"w_in": w.w_in, "bias": w.bias} if layer > 1 else {}
            if layer < self._layers:
                leak = None if w.leak is None else w.leak[:, None]
                parts |= {"w_rec": w.w_rec, "act_bias": w.act_bias, "h0": w.h0, "leak": leak}
                parts |= {f"cell_{name}": value for name, value in w.cell.items()}
            if self._filter is not None:
                parts |= {f"path_{name}": value for name, value in self._filter.constants(own, hypers).items()}
            found |= {_named(name, layer): value for name, value in parts.items() if value is not None}
        return found

    def affine(self, values: Values, hypers: Values, weights: LoopWeights) -> LoopWeights:
        """The loop's weights with the first layer's input path."""
        first = self._with_inputs(_of(values, 1, self._layers), hypers)
        return replace(weights, w_in=first.w_in, bias=first.bias)

    def _with_inputs(self, own: Values, hypers: Values) -> LoopWeights:
        """A layer's weights with the matrix and the bias that act on what it sees."""
        weights = self._weights(own, hypers)
        return weights if self._filter is None else self._filter.affine(own, hypers, weights)

    def first(self, constants: Values) -> Float[Tensor, "P 1 M"] | None:
        """Their initial states, where they are not 0."""
        given = [constants.get(_named("h0", layer)) for layer in range(1, self._layers)]
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
            own = _of(constants, layer, self._layers + 1)
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


def driven(x: Float[Tensor, "P T B K"], weights: LoopWeights, engine: Engine) -> Float[Tensor, "P T B D"]:
    """Drives of a layer that sees x; x itself where its loop takes inputs as they are."""
    if weights.w_in is None:
        return x
    drive = engine.matmul(x.flatten(1, 2), weights.w_in).unflatten(1, x.shape[1:3])
    return drive if weights.bias is None else drive + weights.bias[:, None, None]


def into_inputs(
    g: Float[Tensor, "P T B D"], x: Float[Tensor, "P T B K"], weights: LoopWeights, engine: Engine
) -> tuple[LoopGradients, Float[Tensor, "P T B K"]]:
    """Gradients of an input path from those of the drives: of its weights (that of W_rec is 0), and of x."""
    nothing = LoopGradients(torch.zeros_like(weights.w_rec))
    if weights.w_in is None:
        return nothing, g
    bias = None if weights.bias is None else numerics.row_sum(g.flatten(1, 2))
    back = engine.matmul(g.flatten(1, 2), weights.w_in.transpose(1, 2).contiguous()).unflatten(1, g.shape[1:3])
    return replace(nothing, w_in=engine.outer(x, g), bias=bias), back.contiguous()


def _back(feed: Feed, gradient: Tensor | None) -> Tensor:
    """Gradient of what a filter took in."""
    assert gradient is not None
    assert feed.back is not None  # filters that are known one step at a time have it
    return feed.back(gradient).contiguous()


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
    # torch.export follows this line by line, and knows no := within a comprehension
    mine = [(_plain(name, layer, layers), value) for name, value in values.items()]
    return {plain: value for plain, value in mine if plain is not None}
