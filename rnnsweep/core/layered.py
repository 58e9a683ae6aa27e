"""Several loops in layers and both directions, of one family or, in `core.stack`, of several.

Those below the last one are a filter before its loop.

Layers are counted from 1, at the inputs. A parameter of a layer below the last has its layer's number: ``w_rec_l1``;
those of the last layer, and the read-out's, are named as those of a single one. Those of a loop that reads sequences
from their end end in ``_reverse``. Shapes: see `core.types`; L layers, K entries of a state that the layer above sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import Any, cast

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.families.base import Family, Feed, OutputFeedback, Values, path_of, readout_parameters
from rnnsweep.core.families.input_path import InputPath
from rnnsweep.core.layers_path import LayersPath
from rnnsweep.core.loop_place import LoopPlace
from rnnsweep.core.loops import enter, loops_of, run
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.types import Batch, Capability, Direct, LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.core.wires import places_of, wire
from rnnsweep.errors import ConfigError

_READ = frozenset(spec.name for spec in readout_parameters(1, 1))


def layered(family: Family) -> Family:
    """The family with all its loops; the family itself where there is one.

    Raises:
        ConfigError: it filters whole sequences, is fed with its outputs, or keeps row state of its own; or the layers'
            widths do not fit.
    """
    if isinstance(family, Layered):
        return family
    widths = _widths_of(family)
    if family.layers == 1 and not family.bidirectional:
        return family if widths is None else _of_width(family, widths[0])
    kind = type(family)
    reason = unstackable(family)
    if reason and family.layers > 1 and not family.bidirectional:
        problem = f"cannot be stacked: the family {family.unit_name} {reason}"
        raise ConfigError(problem, key="family.layers", value=family.layers, allowed="1")
    if reason:
        problem = f"cannot read sequences both ways: the family {family.unit_name} {reason}"
        raise ConfigError(problem, key="family.bidirectional", value=True, allowed="false")
    values = {item.name: getattr(family, item.name) for item in fields(family) if item.init}
    if widths is not None:  # whoever asks for *the* width means that of the last layer
        values |= {"widths": widths, "hidden": widths[-1]}
    return _layered_class(kind)(**values)


def unstackable(family: Family) -> str:
    """Why a family cannot have other loops beside its own; empty where it can."""
    reasons = {
        "filters whole sequences": family.feeds and path_of(family) is None,
        # what comes in at the first layer would be what the last one gave a step before: no loop runs before the next
        "is fed with its own outputs": isinstance(family, OutputFeedback),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _widths_of(family: Family) -> tuple[int, ...] | None:
    """A width for each layer, where they are given one by one.

    Raises:
        ConfigError: they are no widths of as many layers that the family takes.
    """
    given: Any = family.widths  # as a config has it
    if given is None:
        return None
    parts = given.split("/") if isinstance(given, str) else given if isinstance(given, tuple) else ()
    words = [str(part) for part in cast("Sequence[Any]", parts)]
    if len(words) != family.layers or not all(word.isdecimal() for word in words):
        allowed = f"null, or family.layers whole numbers, {family.layers}, as [64, 32] or 64/32"
        value = [*cast("Sequence[Any]", given)] if isinstance(given, tuple) else given
        raise ConfigError("is no width for each layer", key="family.widths", value=value, allowed=allowed)
    widths = tuple(int(word) for word in words)
    for width in widths:
        _of_width(family, width)
    if family.residual and len(set(widths)) > 1:
        problem = "adds what a layer sees to what it shows, which are of different widths"
        raise ConfigError(problem, key="family.residual", value=True, allowed="false, or equal family.widths")
    return widths


def _of_width(family: Family, width: int) -> Family:
    """One layer of the family alone."""
    alone = {"layers": 1, "residual": False, "bidirectional": False, "widths": None}
    try:
        return replace(family, hidden=width, **alone)
    except ConfigError as error:
        raise ConfigError(error.problem, key="family.widths", value=width, allowed=error.allowed) from error


@lru_cache
def _layered_class(kind: type[Family]) -> type[Family]:
    # its loops' errors are not one graph: the layers below run in engines
    known = {
        "capabilities": kind.capabilities - {Capability.GRAPH},
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
    }
    return dataclass(frozen=True)(type(kind.__name__, (Layered, kind), known))


class Layered(Family):
    """Mixin before a family: what it says of one layer holds for each; controllers and diagnostics see the last one.

    Numerics:
        A layer above the first gets drives, one product over all steps, and hands back their gradients in the same way.
    """

    @cached_property
    def parts(self) -> tuple[Family, ...]:
        """One family, as often as there are loops."""
        kind = next(kind for kind in type(self).__mro__[1:] if issubclass(kind, Family) and kind is not Layered)
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.init}
        one = kind(**{**values, "layers": 1, "residual": False, "bidirectional": False, "widths": None})
        widths = _widths_of(self) or (self.hidden,) * self.layers
        each = [one if width == self.hidden else _of_width(one, width) for width in widths]
        return tuple(each[place.layer - 1] for place in places_of(self))

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """Those of the layers below, with their layer's number; then the last one's, and the read-out's."""
        found: list[ParameterSpec] = []
        read: list[ParameterSpec] = []
        given: dict[int, int] = {1: n_inputs}  # entries that each layer sees
        for place, part in zip(places_of(self), self.parts, strict=True):
            specs = part.parameters(given[place.layer], n_outputs)
            width = next(spec.shape[0] for spec in specs if spec.name == "w_out")
            given[place.layer + 1] = width * self._ways
            if place.main:  # as the family has them, the read-out's where they are
                own, read = [*specs], [spec for spec in specs if spec.name in _READ]
            else:
                own = [spec for spec in specs if spec.name not in _READ]
            found += [replace(spec, name=place.name(spec.name), into=place.name(spec.into)) for spec in own]
        if self._ways == 1:
            return tuple(found)
        wide = {"w_out": (given[self.layers + 1], n_outputs)}
        loops = [spec for spec in found if spec not in read]
        return (*loops, *(replace(spec, shape=wide.get(spec.name, spec.shape)) for spec in read))

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The last layer's loop, that which reads forward; its input path is a part of `feed`."""
        return self.parts[-1].weights(self._place.own(values), self._last_hypers(hypers)).without_inputs()

    def feed(
        self,
        values: Values,
        hypers: Values,
        inputs: Float[Tensor, "P T B I"],
        lengths: Int64[Tensor, "P ..."],
        engine: Engine,
    ) -> Feed:
        """Run the layers below; drives of the last one."""
        return self.fed(values, hypers, inputs, lengths, engine, back=False)

    def fed(
        self,
        values: Values,
        hypers: Values,
        inputs: Float[Tensor, "P T B I"],
        lengths: Int64[Tensor, "P ..."],
        engine: Engine,
        *,
        back: bool,
    ) -> Feed:
        """`feed`, with the gradient of the inputs where it will be asked for (`Feed.both`)."""
        # an engine is made for one kind of loop; for another one its plain form will do
        main, kinds = self.parts[-1].loop_kind, [(part.cell, part.loop_kind) for part in self.parts]
        plain = [ReferenceEngine() if cell is None else cell.engine() for cell, _ in kinds]
        engines = [engine if kind == main else other for other, (_, kind) in zip(plain, kinds, strict=True)]
        loops = loops_of(wire(self, engines), values, hypers)
        last = next(loop for loop in loops if loop.place.main)
        lower = [loop for loop in loops if loop.place.layer < self.layers]
        below = run(lower, Batch.of(inputs, lengths), back=back) if lower else None
        seen = inputs if below is None else below.states[:, 1:].contiguous()
        entry = enter(last, Batch.of(seen, lengths), product=True)
        nothing = LoopGradients(torch.zeros_like(last.weights.w_rec))

        def walk(gradient: Tensor | None) -> tuple[dict[str, Tensor], Tensor | None]:
            # the loop's own parameters are not the input path's: their part is 0 here
            named, into = entry.backward(replace(nothing, inputs=gradient), further=True)
            if below is not None:
                direct = Direct(steps=into)
                found, into = below.walk_back(direct, lambda loop, e: loop.backward(e, keep=False)[0], further=back)
                named = named | found
            return named, into

        def both(gradient: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
            named, into = walk(gradient)
            assert into is not None
            return named, into

        return Feed(entry.fed, lambda gradient: walk(gradient)[0], both=both if back else None)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """The last layer's."""
        return self.parts[-1].pullback(self._place.own(values), self._last_hypers(hypers), gradients)

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The last layer's."""
        own = self._place.own(values)
        return self.parts[-1].recurrent_step(own, self._last_hypers(hypers), self._place.own(step))

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Layer by layer; each below the last has numbers of its own."""
        named: dict[str, Tensor] = {}
        for place, part in zip(places_of(self), self.parts, strict=True):
            own = [replace(s, name=name) for s in specs if (name := place.plain(s.name)) is not None]
            # streams go by parameters' names, which are the same in all loops
            purpose = "reverse" if place.reverse else "layer"
            each = keys if place.main else torch.tensor([rng.key(int(k), place.layer, purpose) for k in keys])
            named |= place.named(part.initial(place.own(drawn), own, each))
        return named

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override] - a family's are known without its layers
        """Those of every loop, named as its parameters are."""
        pairs = zip(places_of(self), self.parts, strict=True)
        return tuple(place.name(slot) for place, part in pairs for slot in part.slots)

    def part_hypers(self, place: LoopPlace, hypers: Values) -> Values:
        """The same in all loops, but for row state."""
        slots = self._part(place).slots
        return {**hypers, **{slot: hypers[place.name(slot)] for slot in slots}} if slots else hypers

    def advance(self, values: Values, hypers: Values) -> dict[str, Float[Tensor, " P"]]:
        """Layer by layer."""
        named: dict[str, Tensor] = {}
        for place, part in zip(places_of(self), self.parts, strict=True):
            named |= place.named(part.advance(place.own(values), self.part_hypers(place, hypers)))
        return named

    @property
    def input_path(self) -> InputPath | None:
        """The layers below, one step at a time; none where a layer sees what comes later."""
        return None if self.bidirectional else LayersPath(self)

    def _last_hypers(self, hypers: Values) -> Values:
        return self.part_hypers(self._place, hypers)

    def _part(self, place: LoopPlace) -> Family:
        return self.parts[places_of(self).index(place)]

    @property
    def _ways(self) -> int:
        """Loops of each layer."""
        return 2 if self.bidirectional else 1

    @property
    def _place(self) -> LoopPlace:
        """The last layer's."""
        return next(place for place in places_of(self) if place.main)
