"""A network's time loops, their run over a mini-batch, and the way back through all. Shapes: see `core.types`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.activations import Activation
from rnnsweep.core.dropping import Dropping, dropping
from rnnsweep.core.families.base import Family, Feed, Values
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.types import Batch, Direct, LoopGradients, LoopWeights, Record, TermResult, Trace, merged


@dataclass(frozen=True)
class Place:
    """Where a loop stands in its network, and what its parameters are called there.

    Attributes:
        layer: counted from 1, at the inputs. layers: how many there are.
    """

    layer: int = 1
    layers: int = 1

    def own(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The loop's part of what is named as in the network, by the names that it has within the loop."""
        # torch.export follows this line by line, and knows no := within a comprehension
        mine = [(self.plain(name), value) for name, value in values.items()]
        return {plain: value for plain, value in mine if plain is not None}

    def named(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """What is named as within the loop, by the names that it has in the network."""
        return {self.name(name): value for name, value in parts.items()}

    def name(self, plain: str) -> str:
        """A parameter's name in the network; in the last layer it is what it would be without the others."""
        return plain if self.layer == self.layers else f"{plain}_l{self.layer}"

    def plain(self, name: str) -> str | None:
        """A parameter's name within the loop; None of another loop's."""
        ends = {number: f"_l{number}" for number in range(1, self.layers)}
        mine = next((number for number, end in ends.items() if name.endswith(end)), self.layers)
        return name.removesuffix(ends.get(self.layer, "")) if mine == self.layer else None


@dataclass(frozen=True)
class Loop:
    """One time loop of a network, with numbers.

    Attributes:
        place: which one it is.
        family: of this loop alone. values, hypers: its own, by their names within it.
        engine: what runs it. weights: with its input path.
    """

    place: Place
    family: Family
    values: Values
    hypers: Values
    engine: Engine
    weights: LoopWeights

    @property
    def activation(self) -> Activation:
        """f."""
        return self.family.cell_activation

    def pullback(self, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Gradients of the network's parameters from those of the loop's weights."""
        return self.place.named(self.family.pullback(self.values, self.hypers, gradients))

    def recurrent_step(self, step: Values) -> Float[Tensor, "P R A"]:
        """First-order change of the loop's recurrent matrix for a candidate step of the network's parameters."""
        return self.family.recurrent_step(self.values, self.hypers, self.place.own(step))


@dataclass(frozen=True)
class Entry:
    """What stands before a loop, run over a mini-batch: nothing, a product over all steps, or the family's filter.

    Attributes:
        inputs: [P, T, B, K], as the layer sees them.
        fed: what the loop is fed with. weights: that it runs with.
        feed: of a filter. product: whether the input path is a product of its own.
        dropping: masks of this run, if any; `inputs` and `weights` are behind them.
    """

    loop: Loop
    inputs: Tensor
    fed: Tensor
    weights: LoopWeights
    feed: Feed | None
    product: bool
    dropping: Dropping | None

    def backward(
        self, gradients: LoopGradients, *, further: bool
    ) -> tuple[dict[str, Float[Tensor, "P ..."]], Float[Tensor, "P T B K"] | None]:
        """Gradients by the network's names, and of `inputs` where they have one and it is wanted (`further`)."""
        found, back = dict[str, Tensor](), None
        gradients = gradients if self.dropping is None else self.dropping.unweighed(gradients)
        if self.feed is not None:
            found = self.loop.place.named(self.feed.pullback(gradients.inputs))
            if further:
                assert gradients.inputs is not None
                assert self.feed.back is not None  # filters that are known one step at a time have it
                back = self.feed.back(gradients.inputs).contiguous()
        elif self.product:
            assert gradients.inputs is not None
            path, back = _into_inputs(gradients.inputs, self.inputs, self.loop.weights, self.loop.engine)
            gradients = replace(gradients, w_in=path.w_in, bias=path.bias)
        back = back if back is None or self.dropping is None else self.dropping.entered(back)
        return merged(self.loop.pullback(gradients), found), back


@dataclass(frozen=True)
class LoopRun:
    """A loop that has run.

    Attributes:
        entry: what stood before it. record: of its run.
    """

    entry: Entry
    record: Record

    @property
    def loop(self) -> Loop:
        """The loop."""
        return self.entry.loop

    @property
    def states(self) -> Float[Tensor, "P T1 B H"]:
        """What is seen of it, h_0 first."""
        states, masks = self.loop.family.visible(self.record.h), self.entry.dropping
        return states if masks is None else masks.shown(states)

    def backward(self, direct: Direct, *, keep: bool) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`."""
        return self.loop.engine.backward(self.record, direct, self.loop.activation, keep=keep)


@dataclass(frozen=True)
class BackwardPass:
    """What is left of a loop's way back.

    Attributes:
        loop: whose it was.
        trace: the gradient record, where it was asked for and the rule has one.
        term: where one was asked for and the loop took it along.
    """

    loop: Loop
    trace: Trace | None = None
    term: TermResult | None = None


Through = Callable[[LoopRun, Direct], LoopGradients]
"""How errors go back through one loop; a learning rule keeps of it what it needs."""


@dataclass(frozen=True)
class Run:
    """A network's run over a mini-batch.

    Attributes:
        loops: at the inputs first.
    """

    loops: tuple[LoopRun, ...]

    @property
    def top(self) -> LoopRun:
        """The last layer's."""
        return self.loops[-1]

    @property
    def states(self) -> Float[Tensor, "P T1 B H"]:
        """What the read-out sees, h_0 first."""
        return self.top.states

    @property
    def last(self) -> Float[Tensor, "P B S"]:
        """The last layer's whole state after the last step."""
        return self.top.record.h[:, -1]

    def backward(self, direct: Direct, through: Through) -> dict[str, Float[Tensor, "P ..."]]:
        """Gradients of all parameters before the read-out.

        Args:
            direct: dC/d of `states`, without later steps.
            through: called for each loop, the last one first.
        """
        named: dict[str, Tensor] = {}
        masks = self.top.entry.dropping
        direct = direct if masks is None else masks.hidden(direct)
        for index in range(len(self.loops) - 1, -1, -1):
            loop = self.loops[index]
            found, back = loop.entry.backward(through(loop, direct), further=index > 0)
            named |= found
            if back is not None:
                direct = Direct(steps=back)
        return named


def loops_of(family: Family, values: Values, hypers: Values, engines: Sequence[Engine]) -> tuple[Loop, ...]:
    """The loops of a network.

    Args:
        family: with all its layers. values, hypers: its own.
        engines: of each layer's loop.
    """
    parts, loops = family.parts, list[Loop]()
    for number, (part, engine) in enumerate(zip(parts, engines, strict=True), 1):
        place = Place(number, len(parts))
        own = place.own(values)
        loops.append(Loop(place, part, own, hypers, engine, part.weights(own, hypers)))
    return tuple(loops)


def run(loops: Sequence[Loop], batch: Batch) -> Run:
    """Run loops, one on the other, over a mini-batch; a state that sequences go on from is that of the only loop."""
    done: list[LoopRun] = []
    for loop in loops:
        seen = replace(batch, inputs=done[-1].states[:, 1:].contiguous()) if done else batch
        entry = enter(loop, seen, product=bool(done))
        record = loop.engine.forward(entry.fed, entry.weights, loop.activation, batch.lengths)
        done.append(LoopRun(entry, record))
    return Run(tuple(done))


def enter(loop: Loop, batch: Batch, *, product: bool) -> Entry:
    """Run what stands before a loop.

    Args:
        loop: see above.
        batch: inputs are what the layer sees.
        product: whether an input path without a filter is a product before the loop; a loop that takes inputs as they
            are has no gradient for them.
    """
    weights, inputs, masks = batch.with_initial_state(loop.weights), batch.inputs, None
    if loop.family.random:
        ends = loop.place.layer == 1, loop.place.layer == loop.place.layers
        draws = None if batch.masks is None else batch.masks.of_layer(loop.place.layer)
        masks = dropping(loop.family, loop.hypers, draws, loop.weights, inputs, ends=ends)
        weights, inputs = masks.weighed(weights), masks.entered(inputs)
    feed, fed = None, inputs
    if loop.family.feeds:
        feed = loop.family.feed(loop.values, loop.hypers, inputs, batch.lengths, loop.engine)
        fed = feed.inputs
    elif product:
        fed, weights = _driven(inputs, weights, loop.engine), weights.without_inputs()
    return Entry(loop, inputs, fed, weights, feed, product and feed is None, masks)


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
