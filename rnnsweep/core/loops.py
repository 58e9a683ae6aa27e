"""A network's time loops, their run over a mini-batch, and the way back through all. Shapes: see `core.types`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TypeVar

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from rnnsweep.core.activations import Activation
from rnnsweep.core.dropping import Dropping, dropping
from rnnsweep.core.embedding import TABLE, collected, look_up
from rnnsweep.core.families.base import Family, Feed, Values
from rnnsweep.core.loop_place import LoopPlace
from rnnsweep.core.readout import Readout, Seen
from rnnsweep.core.recurrence.base import Engine, TermResult, driven, into_inputs
from rnnsweep.core.sequence_lengths import ends_of, reversed_steps
from rnnsweep.core.types import Batch, Direct, LoopGradients, LoopWeights, Record, Trace, merged
from rnnsweep.core.wires import Wire


@dataclass(frozen=True)
class Loop:
    """One time loop of a network, with numbers.

    Attributes:
        wire: which one it is, and how it runs.
        values, hypers: its family's own, by their names within it.
        weights: with its input path.
        table: of a first layer that is behind an embedding: what codes are looked up in.
    """

    wire: Wire
    values: Values
    hypers: Values
    weights: LoopWeights
    table: Float[Tensor, "P V E"] | None = None

    @property
    def place(self) -> LoopPlace:
        """Which one it is."""
        return self.wire.place

    @property
    def family(self) -> Family:
        """Of this loop alone."""
        return self.wire.family

    @property
    def engine(self) -> Engine:
        """What runs it."""
        return self.wire.engine

    @property
    def activation(self) -> Activation:
        """f."""
        return self.wire.activation

    def pullback(self, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Gradients of the network's parameters from those of the loop's weights."""
        return self.named(self.family.pullback(self.values, self.hypers, gradients))

    def named(self, parts: Values) -> dict[str, Float[Tensor, "P ..."]]:
        """What is named as within the loop, by the names that it has in the network."""
        return dict(parts) if self.wire.only else self.place.named(parts)

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
            own, back = (
                self.feed.backward(gradients.inputs) if further else (self.feed.pullback(gradients.inputs), None)
            )
            found = self.loop.named(own)
        elif self.product:
            assert gradients.inputs is not None
            path, back = into_inputs(gradients.inputs, self.inputs, self.loop.weights, self.loop.engine)
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
        """What is seen of it, h_0 first, then in the order of its inputs' time."""
        h, masks = self.record.h, self.entry.dropping
        states = h if self.loop.wire.whole else self.loop.family.visible(h)
        states = states if masks is None else masks.shown(states)
        if not self.loop.place.reverse:
            return states
        return torch.cat((states[:, :1], reversed_steps(states[:, 1:], self.record.lengths)), 1)

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


def top_of(passes: Sequence[BackwardPass]) -> BackwardPass | None:
    """The last layer's, from the loop that reads forward; None where there is none."""
    return next((one for one in passes if one.loop.wire.main), None)


@dataclass
class Learned:
    """What a learning rule returns for one mini-batch.

    Attributes:
        loss: of each row. gradients: flat.
        passes: what is left of each loop's way back, at the inputs first; none where the rule has no such way.
        step: where the rule proposes the step itself (closed forms, second order): the optimiser is not asked.
        slots: the rule's row state as it will be where the row takes its step.
        state: after the mini-batch, where the task carries it over.
    """

    loss: Float[Tensor, " P"]
    gradients: Float[Tensor, "P N"]
    passes: tuple[BackwardPass, ...] = ()
    step: Float[Tensor, "P N"] | None = None
    slots: Mapping[str, Shaped[Tensor, "P ..."]] = field(default_factory=dict[str, Tensor])
    state: Float[Tensor, "P B S"] | None = None

    @property
    def trace(self) -> Trace | None:
        """The last layer's gradient record, where there is one."""
        top = top_of(self.passes)
        return None if top is None else top.trace


@dataclass(frozen=True)
class Run:
    """A network's run over a mini-batch.

    Attributes:
        loops: at the inputs first, of a layer the one that reads forward first.
        states: what the last layer shows at every step, h_0 first; perhaps of the last one alone, see `run`.
        codes: what was looked up, behind an embedding.
    """

    loops: tuple[LoopRun, ...]
    states: Float[Tensor, "P T1 B H"]
    codes: Int64[Tensor, "P T B"] | None = None

    @property
    def top(self) -> LoopRun:
        """The last layer's, that which reads forward."""
        return next(loop for loop in self.loops if loop.loop.wire.main)

    @property
    def last(self) -> Float[Tensor, "P B S"]:
        """Its whole state after the last step."""
        record = self.top.record
        return record.at(record.inputs.shape[1])

    def see(self, readout: Readout, values: Values, *, per_step: bool) -> Seen:
        """What the linear map sees.

        One that reads the end sees each direction at its own end, as torch's h_n, unless it looks back over all steps.
        """
        states = self.states
        if self._both and not per_step and readout.carries:
            states = ends_of(states[:, 1:], self._lengths)[:, None]
        return readout.see(values, states, self._lengths, per_step)

    def at_top(self, direct: Direct) -> Direct:
        """The part of errors of what is seen that is `top`'s."""
        return self._each(direct)[0]

    def backward(self, direct: Direct, through: Through, *, whole: bool = True) -> dict[str, Float[Tensor, "P ..."]]:
        """Gradients of all parameters before the read-out.

        Args:
            direct: dC/d of what is seen, without later steps.
            through: called for each loop, the last one first.
            whole: whether errors are to go back through loops below which nothing is trained, too.
        """
        table = self.loops[0].loop.table
        named, back = self.walk_back(direct, through, further=table is not None, whole=whole)
        if table is not None:
            assert back is not None
            assert self.codes is not None
            named[TABLE] = collected(back, self.codes, table.shape[1])
        return named

    def walk_back(
        self, direct: Direct, through: Through, *, further: bool, whole: bool = True
    ) -> tuple[dict[str, Float[Tensor, "P ..."]], Float[Tensor, "P T B I"] | None]:
        """Gradients of the loops' parameters, and of what the first layer sees where it is wanted (`further`)."""
        named: dict[str, Tensor] = {}
        back: Tensor | None = None
        layers = _by_layer(self.loops)
        if not (whole or further):  # below the first layer with something to learn nobody waits for errors
            layers = layers[next((i for i, layer in enumerate(layers) if layer[0].loop.wire.learns), len(layers)) :]
        for layer in reversed(layers):
            below: list[Tensor] = []
            first = layer is layers[0]
            for loop, errors in reversed([*zip(layer, self._each(direct), strict=True)]):
                masks = loop.entry.dropping
                errors = errors if masks is None else masks.hidden(errors)
                found, into = loop.entry.backward(through(loop, errors), further=further or not first)
                named |= found
                if into is not None:
                    below.append(reversed_steps(into, self._lengths) if loop.loop.place.reverse else into)
            if below:
                parts = [*below, self._steps(direct)] if layer[0].loop.wire.adds else below
                back = sum(parts[1:], parts[0])
                direct = Direct(steps=back)
        return named, back

    @property
    def _both(self) -> bool:
        return self.loops[0].loop.place.reverse is not None

    @property
    def _lengths(self) -> Tensor:
        return self.loops[0].record.lengths

    def _each(self, direct: Direct) -> tuple[Direct, ...]:
        """Errors of a layer's loops, each in the order of its own time."""
        if not self._both:
            return (direct,)
        if direct.last is not None:  # both ends are the last steps of their loops
            ahead, reverse = direct.last.chunk(2, -1)
            return Direct(last=ahead.contiguous()), Direct(last=reverse.contiguous())
        assert direct.steps is not None
        ahead, reverse = direct.steps.chunk(2, -1)
        return Direct(steps=ahead.contiguous()), Direct(steps=reversed_steps(reverse, self._lengths).contiguous())

    def _steps(self, direct: Direct) -> Float[Tensor, "P T B H"]:
        """Errors of what a layer shows, at every step."""
        if direct.steps is not None:
            return direct.steps
        assert direct.last is not None
        P, T = self.states.shape[0], self.states.shape[1] - 1
        steps = direct.last.new_zeros(P, T, *direct.last.shape[1:])
        steps[:, -1] = direct.last
        if not self._both:
            return steps
        ahead, reverse = steps.chunk(2, -1)
        return torch.cat((ahead, reversed_steps(reverse, self._lengths)), -1)


def loops_of(wires: Sequence[Wire], values: Values, hypers: Values) -> tuple[Loop, ...]:
    """The loops of a network with its values and hypers."""
    loops = list[Loop]()
    for one in wires:
        own = values if one.only else one.place.own(values)
        its = hypers if one.hypers_of is None else one.hypers_of(one.place, hypers)
        loops.append(Loop(one, own, its, one.family.weights(own, its), values[TABLE] if one.looks_up else None))
    return tuple(loops)


def run(loops: Sequence[Loop], batch: Batch, *, back: bool = False, last: bool = False) -> Run:
    """Run loops, one on the other, over a mini-batch; a state that sequences go on from is that of the only loop.

    Args:
        loops: of a network, or of its layers below. batch: codes for inputs behind an embedding.
        back: whether the gradient of what the first layer sees will be asked for.
        last: whether nobody will look at more than `states[:, -1]`: an engine may then show no other.
    """
    done: list[LoopRun] = []
    states: Tensor | None = None
    table, codes = loops[0].table, None
    if table is not None:
        codes = batch.inputs
        batch, back = replace(batch, inputs=look_up(table, codes)), True
    for layer in _by_layer(loops):
        seen = batch if states is None else replace(batch, inputs=states[:, 1:].contiguous())
        ran = [_run(loop, seen, product=back or states is not None, last=last) for loop in layer]
        done += ran
        shown = ran[0].states if len(ran) == 1 else torch.cat([one.states for one in ran], -1)
        states = shown + states if layer[0].wire.adds and states is not None else shown
    assert states is not None
    return Run(tuple(done), states, codes)


def _run(loop: Loop, batch: Batch, *, product: bool, last: bool) -> LoopRun:
    """One loop, in the order of its own time."""
    if loop.place.reverse:
        batch = replace(batch, inputs=reversed_steps(batch.inputs, batch.lengths).contiguous())
    entry = enter(loop, batch, product=product)
    alone = loop.wire.last_step if last else None
    forward = loop.engine.forward if alone is None else alone.forward_last
    return LoopRun(entry, forward(entry.fed, entry.weights, loop.activation, batch.lengths))


AnyLoop = TypeVar("AnyLoop", Loop, LoopRun)


def _by_layer(loops: Sequence[AnyLoop]) -> list[list[AnyLoop]]:
    """Loops of one layer together."""

    def layer(one: Loop | LoopRun) -> int:
        return (one.loop if isinstance(one, LoopRun) else one).place.layer

    return [[*group] for _, group in groupby(loops, layer)]


def enter(loop: Loop, batch: Batch, *, product: bool) -> Entry:
    """Run what stands before a loop.

    Args:
        loop: see above.
        batch: inputs are what the layer sees.
        product: whether an input path without a filter is a product before the loop; a loop that takes inputs as they
            are has no gradient for them.
    """
    weights, inputs, masks = batch.with_initial_state(loop.weights), batch.inputs, None
    if loop.wire.random:
        ends = loop.place.layer == 1, loop.place.layer == loop.place.layers
        draws = None if batch.masks is None else batch.masks.of_layer(loop.place.label)
        masks = dropping(loop.family, loop.hypers, draws, loop.weights, inputs, ends=ends)
        weights, inputs = masks.weighed(weights), masks.entered(inputs)
    feed, fed = None, inputs
    if loop.wire.filtered:
        feed = loop.family.feed(loop.values, loop.hypers, inputs, batch.lengths, loop.engine)
        fed = feed.inputs
    elif product:
        fed, weights = driven(inputs, weights, loop.engine), weights.without_inputs()
    return Entry(loop, inputs, fed, weights, feed, product and feed is None, masks)
