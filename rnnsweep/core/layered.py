"""Layers of one family, one on the other: those below the last one are a filter before its loop.

Layers are counted from 1, at the inputs. A parameter of a layer below the last has its layer's number: ``w_rec_l1``;
those of the last layer, and the read-out's, are named as those of a single one.
Shapes: see `core.types`; L layers, K entries of a state that the layer above sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.families.base import Family, Feed, OutputFeedback, Values, path_of, readout_parameters, width_of
from rnnsweep.core.layers_path import LayersPath
from rnnsweep.core.loops import Place, enter, loops_of, run
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.types import Batch, Capability, Direct, LoopGradients, LoopWeights, ParameterSpec
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
        "filters whole sequences": family.feeds and path_of(family) is None,
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


class Layered(Family):
    """Mixin before a family: what it says of one layer holds for each; controllers and diagnostics see the last one.

    Numerics:
        A layer above the first gets drives, one product over all steps, and hands back their gradients in the same way.
    """

    @cached_property
    def parts(self) -> tuple[Family, ...]:
        """One family, as often as there are layers."""
        kind = next(kind for kind in type(self).__mro__[1:] if issubclass(kind, Family) and kind is not Layered)
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.init}
        return (kind(**{**values, "layers": 1}),) * self.layers

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """Those of the layers below, with their layer's number; then the last one's, and the read-out's."""
        below: list[ParameterSpec] = []
        given = n_inputs
        for layer, part in enumerate(self.parts[:-1], 1):
            place = Place(layer, self.layers)
            below += [
                replace(spec, name=place.name(spec.name), into=place.name(spec.into))
                for spec in part.parameters(given, n_outputs)
                if spec.name not in _READ
            ]
            given = width_of(part)
        return (*below, *self.parts[-1].parameters(given, n_outputs))

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The last layer's loop; its input path is a part of `feed`."""
        return self.parts[-1].weights(self._place.own(values), hypers).without_inputs()

    def feed(
        self,
        values: Values,
        hypers: Values,
        inputs: Float[Tensor, "P T B I"],
        lengths: Int64[Tensor, "P ..."],
        engine: Engine,
    ) -> Feed:
        """Run the layers below; drives of the last one."""
        *lower, last = loops_of(self, values, hypers, (engine,) * self.layers)
        below = run(lower, Batch.of(inputs, lengths))
        entry = enter(last, Batch.of(below.states[:, 1:].contiguous(), lengths), product=True)
        nothing = LoopGradients(torch.zeros_like(last.weights.w_rec))

        def pullback(gradient: Tensor | None) -> dict[str, Tensor]:
            # the loop's own parameters are not the input path's: their part is 0 here
            named, back = entry.backward(replace(nothing, inputs=gradient), further=True)
            return named | below.backward(Direct(steps=back), lambda loop, errors: loop.backward(errors, keep=False)[0])

        return Feed(entry.fed, pullback)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """The last layer's."""
        return self.parts[-1].pullback(self._place.own(values), hypers, gradients)

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The last layer's."""
        return self.parts[-1].recurrent_step(self._place.own(values), hypers, self._place.own(step))

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Layer by layer; each below the last has numbers of its own."""
        named: dict[str, Tensor] = {}
        for layer, part in enumerate(self.parts, 1):
            place = Place(layer, self.layers)
            own = [replace(s, name=name) for s in specs if (name := place.plain(s.name)) is not None]
            # streams go by parameters' names, which are the same in all layers
            below = layer < self.layers
            each = torch.tensor([rng.key(int(k), layer, "layer") for k in keys]) if below else keys
            named |= place.named(part.initial(place.own(drawn), own, each))
        return named

    @property
    def input_path(self) -> LayersPath:
        """The layers below, one step at a time."""
        return LayersPath(self.parts)

    @property
    def _place(self) -> Place:
        """The last layer's."""
        return Place(self.layers, self.layers)
