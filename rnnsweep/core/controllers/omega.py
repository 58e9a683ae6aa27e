"""Omega, the vanishing-gradient regulariser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnsweep.core import readout
from rnnsweep.core.controllers.base import Additive, Context
from rnnsweep.core.controllers.layers import LAST, PATH, Layers, as_layers, check_layers, chosen, numbers_of
from rnnsweep.core.controllers.schedules import Schedule, schedule
from rnnsweep.core.numerics import matmul
from rnnsweep.core.recurrence.base import NormRatio, StepEngine, TermResult
from rnnsweep.core.recurrence.reference import slope_at
from rnnsweep.core.sequence_lengths import own_at, own_steps, per_sequence
from rnnsweep.core.types import Capability, LoopGradients, Trace, merged
from rnnsweep.errors import ConfigError
from rnnsweep.unit import NOT_NEGATIVE, Metric, Range

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.learners.base import Learner
    from rnnsweep.core.loops import BackwardPass
    from rnnsweep.core.recurrence.cells import Cell
    from rnnsweep.core.tasks.base import Task
    from rnnsweep.core.types import LoopWeights, ParameterSpec


@dataclass(frozen=True)
class Omega(Additive):
    """Ask each step of backpropagation to keep the norm of the error that it hands back.

    With v_t = delta_t and x_t = v_t W_rec^T (+ (1 - leak) g_t), per sample:

        r_t = |x_t|^2 / |g_t|^2        Omega = sum_t mean_B (r_t - 1)^2 / sum_t mean_B active_t

    In a network with layers this is said of each layer's loop, whose g_t has what comes from the layer above in it.
    The *path* takes the network for one loop whose state is that of all layers: |x_t|^2 and |g_t|^2 are sums over the
    layers, g_t is what x_{t+1} and the read-out give, and errors that go down within a step are part of x_t.

    Attributes:
        weight: alpha, per row, >= 0; 0 is off, bit for bit.
        form: ``ratio_sq`` squares the norms inside the bracket (the authors' code); ``ratio`` does not (their eq. 9).
        state: ``post``: norms of dC/dh; ``pre``: norms of dC/da, t = 2..T (eq. 10).
        reduce: ``active_mean`` divides by the active share; ``sum`` does not.
        gradient: ``immediate``: h, g, delta are constants, only the trailing W_rec is differentiated; ``full``: through
            the whole graph, slow. The immediate gradient is *not* an approximation of the full one.
        bound: samples with a squared norm below it count as inactive.
        layers: ``last``, ``all`` (Omega is the sum over them), ``path``, or numbers, counted from 1 at the inputs.
        schedule: how alpha falls over training, see `Schedule`.

    Numerics:
        Nothing active: Omega and its gradient are 0, never NaN. A row's steps before its own start never count, nor do
        those that a truncated learning rule cuts off from the step before. Rows
        with weight 0 skip the addition: 0 * inf must not reach them. Norms that overflow make the row's gradient
        non-finite, which the clipping policy then handles.

    References:
        Pascanu, Mikolov, Bengio (2013), eq. 9, 10; defaults from their code (docs/maths.md#omega).
    """

    weight: float = 0.0
    form: str = "ratio_sq"
    state: str = "post"
    reduce: str = "active_mean"
    gradient: str = "immediate"
    bound: float = 1e-20
    layers: Layers = LAST
    schedule: Schedule = field(default_factory=Schedule)

    metrics: ClassVar[Mapping[str, Metric]] = {
        "omega/value": Metric("mean of the regulariser Omega", "Ω", drawn=True, by_layer=True),
        "omega/active": Metric(
            "mean share of (step, sample) pairs that Omega counts", "Ω active (share of steps)", by_layer=True
        ),
    }
    needs_trace: ClassVar[bool] = True
    rows: ClassVar[Mapping[str, Range]] = {"weight": NOT_NEGATIVE}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "form": ("ratio_sq", "ratio"),
        "state": ("post", "pre"),
        "reduce": ("active_mean", "sum"),
        "gradient": ("immediate", "full"),
        "bound": Range(0, open_low=True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        # A config brings a block; the unit is frozen, so it is turned into a schedule here, once.
        object.__setattr__(self, "schedule", schedule(self.schedule, "controllers.omega.schedule"))
        object.__setattr__(self, "layers", as_layers(self.layers))

    def check_with(self, family: Family, task: Task, specs: Sequence[ParameterSpec]) -> None:
        """See `Controller.check_with`."""
        del task, specs
        check_layers(self.layers, f"{self.unit_key}.layers", family)
        if self.layers == PATH and self.state == "pre":
            problem = "the path through all layers is one of states"
            raise ConfigError(problem, key=f"{self.unit_key}.state", value=self.state, allowed="post")

    @property
    def whole_graph(self) -> bool:
        """The full gradient goes through it."""
        return self.gradient == "full"

    @property
    def requires(self) -> frozenset[Capability]:
        """A recurrent matrix; f' of a simple loop, or the whole graph, for the variants that use them."""
        further = {Capability.SIMPLE} if self.state == "pre" else set[Capability]()
        further |= {Capability.GRAPH} if self.gradient == "full" else set()
        return frozenset({Capability.RECURRENT, *further})

    def idle_beside(self, family: Family, learner: Learner, specs: Sequence[ParameterSpec]) -> str | None:
        """On orthogonal families the immediate gradient is 0: |delta W^T| = |delta| whatever the parameters."""
        del learner, specs
        if family.orthogonal and self.state == "post" and self.gradient == "immediate":
            return (
                "an orthogonal matrix keeps every error's norm, so the immediate gradient is 0 with "
                f"family={family.unit_name}"
            )
        return None

    def unread(self) -> Mapping[str, str]:
        """Of the schedule, what its kind or unit does not read."""
        if self.schedule.kind == "constant":
            return dict.fromkeys(("schedule.unit", "schedule.epoch"), "its schedule.kind is constant")
        return {"schedule.epoch": "its schedule.unit is update"} if self.schedule.unit == "update" else {}

    def active(self, hypers: Mapping[str, Float[Tensor, " P"]]) -> Bool[Tensor, " P"]:
        """Rows with weight > 0."""
        return hypers["weight"] > 0

    @property
    def backward_term(self) -> NormRatio | None:
        """See `Controller.backward_term`; norms of dC/da, and the full gradient, need more than one step at a time."""
        if self.state == "pre" or self.gradient == "full" or self.layers == PATH:
            return None
        return NormRatio(self.form == "ratio_sq", self.reduce == "active_mean", self.bound)

    def term_layers(self, count: int) -> frozenset[int]:
        """The chosen ones."""
        return numbers_of(self.layers, count)

    def add(self, context: Context) -> Float[Tensor, "P N"]:
        """See `Additive.add`."""
        weight = self.schedule.at(context.hypers["weight"], context.step)
        if self.gradient == "full":
            # Value and share from the record; only the gradient needs the graph.
            norms = self.norms(context.passes[-1])
            value, share, named = norms.value, norms.share, full_gradient(self, context)
        else:
            value, share, named = self._by_loop(context)
        context.tally.mean("omega/value", value)
        context.tally.mean("omega/active", share)
        # A copy: the views below are written to.
        total = context.gradients.clone()
        views = context.layout.view(total)
        for name, extra in named.items():
            shape = (-1, *(1 for _ in extra.shape[1:]))
            # Then selected: rows that are off must come back bit for bit, and 0 * inf must not reach them.
            moved = torch.addcmul(views[name], weight.reshape(shape), extra)
            views[name].copy_(torch.where((weight > 0).reshape(shape), moved, views[name]))
        return total

    def _by_loop(self, context: Context) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Value, active share and immediate gradient of the chosen loops."""
        passes = chosen(self.layers, context.passes)
        if self.layers == PATH:
            terms = self._path(passes)
        else:
            # what the loop took along, where it could
            terms = [
                self._from_trace(one) if one.term is None or self.backward_term is None else one.term for one in passes
            ]
        # Through the family's map: w_rec need not be a parameter.
        named = merged(*(one.loop.pullback(LoopGradients(t.w_rec)) for one, t in zip(passes, terms, strict=True)))
        if len(context.passes) > 1 and self.layers != PATH:
            for one, term in zip(passes, terms, strict=True):
                context.tally.mean(f"omega/value.{one.loop.place.label}", term.value)
                context.tally.mean(f"omega/active.{one.loop.place.label}", term.share)
        if self.layers == PATH or len(terms) == 1:
            return terms[-1].value, terms[-1].share, named
        return sum_of([t.value for t in terms]), sum_of([t.share for t in terms]) / len(terms), named

    def _from_trace(self, one: BackwardPass) -> TermResult:
        """Value, share and immediate gradient where no loop took them along."""
        return self._gradient(one, self.norms(one))

    def _path(self, passes: Sequence[BackwardPass]) -> list[TermResult]:
        """The same of all loops as one; the value and the share are those of the path."""
        pairs = [self._pair(one, handed_down=index < len(passes) - 1) for index, one in enumerate(passes)]
        num, den = sum_of([num for _, num, _ in pairs]), sum_of([den for _, _, den in pairs])
        return [
            self._gradient(one, self._norms(one, left, num, den))
            for one, (left, _, _) in zip(passes, pairs, strict=True)
        ]

    def _gradient(self, one: BackwardPass, norms: OmegaNorms) -> TermResult:
        """The immediate gradient for the loop's matrix."""
        engine, trace = one.loop.engine, one.trace
        assert trace is not None
        if isinstance(engine, StepEngine):
            return TermResult(norms.value, norms.share, engine.immediate(trace, norms.coefficient))
        # Of a cell's state the matrix reads the leading entries only; x covers all of it.
        read = norms.left[..., : trace.record.weights.w_rec.shape[1]]
        return TermResult(norms.value, norms.share, engine.outer(read, trace.delta, norms.coefficient))

    def norms(self, one: BackwardPass) -> OmegaNorms:
        """Value, active share and the coefficients of the immediate gradient."""
        return self._norms(one, *self._pair(one))

    def _norms(self, one: BackwardPass, left: Tensor, num: Tensor, den: Tensor) -> OmegaNorms:
        trace = one.trace
        assert trace is not None
        T, B = num.shape[1:]
        lengths = per_sequence(trace.record.lengths)
        # Steps before a sequence's own start hand the error on unchanged: ratio 1 would dilute the mean.
        own = own_steps(lengths - (1 if self.state == "pre" else 0), T)  # P T S
        steps = lengths  # P S
        if trace.cut is not None:
            # A cut is no step: nobody receives the error there, and 0 in its place would count as vanished.
            steps = lengths - (own & trace.cut).sum(1)
            own = own & ~trace.cut
        active = (den >= self.bound) & own
        # Inactive samples are 1 / 1, so that nothing that follows is NaN because of them.
        safe = torch.where(active, den, torch.ones_like(den))
        ratio = torch.where(active, num, torch.ones_like(num)) / safe
        term, factor = self._form(ratio)
        count = active.to(num.dtype).flatten(1).sum(1) / B
        share = count / steps.to(num.dtype).mean(1)
        # Nothing active: the divisor is 1 and the value 0, not 0 / 0.
        counted = (count > 0) & (self.reduce == "active_mean")
        divisor = torch.where(counted, count, torch.ones_like(count))
        coefficient = torch.where(active, factor / safe, torch.zeros_like(num)) / (B * divisor)[:, None, None]
        value = torch.where(active, term, torch.zeros_like(term)).flatten(1).sum(1) / B / divisor
        return OmegaNorms(value, share, coefficient, left)

    def _form(self, ratio: Tensor) -> tuple[Tensor, Tensor]:
        """The bracket's value and 2 * d value / d ratio."""
        if self.form == "ratio_sq":
            return (ratio - 1) * (ratio - 1), 4 * (ratio - 1)
        root = ratio.sqrt()
        positive = torch.where(root > 0, root, torch.ones_like(root))
        # At x = 0 the norm has no slope; 0 is taken.
        slope = torch.where(root > 0, 2 * (1 - 1 / positive), torch.zeros_like(root))
        return (root - 1) * (root - 1), slope

    def _pair(self, one: BackwardPass, *, handed_down: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """The vectors whose outer product with delta is the gradient, squared norms of x_t, squared norms below.

        Args:
            one: whose. handed_down: leave out of g_t what the layer above gives.
        """
        trace, engine = one.trace, one.loop.engine
        assert trace is not None
        if self.state == "pre":
            return self._pre_pair(one, trace)
        num = engine.square_norms(trace.x)
        if trace.direct.steps is not None and not handed_down:
            return trace.x, num, engine.square_norms(trace.totals())
        den = torch.zeros_like(num)
        # In a last-step loss g_t is x_{t+1}: its norm is there already, one step further.
        den[:, :-1] = num[:, 1:]
        if not handed_down:
            assert trace.direct.last is not None
            den[:, -1:] = engine.square_norms(trace.direct.last[:, None])
        return trace.x, num, den

    def _pre_pair(self, one: BackwardPass, trace: Trace) -> tuple[Tensor, Tensor, Tensor]:
        activation, leak = one.loop.activation, trace.record.weights.leak
        scale = 1.0 if leak is None else leak[:, None, None]
        left, back = torch.zeros_like(trace.x), torch.zeros_like(trace.x)
        # From the second step: there is no a_0 for the first to hand its error to.
        for t in range(1, trace.x.shape[1]):
            slope = slope_at(trace.record, activation, t - 1)
            back[:, t] = activation.pullback(slope, scale * trace.x[:, t])
            # The norm is taken after f', so its slope by x goes through f' once more.
            left[:, t] = scale * activation.pushforward(slope, back[:, t])
        return left, one.loop.engine.square_norms(back), one.loop.engine.square_norms(trace.delta)


def sum_of(parts: Sequence[Float[Tensor, "P ..."]]) -> Float[Tensor, "P ..."]:
    """Their sum, in order."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


@dataclass
class OmegaNorms:
    """Omega of one mini-batch.

    Attributes:
        value, share: [P].
        coefficient: [P, T, B], weights of the outer products left_t (x) delta_t in the immediate gradient.
        left: [P, T, B, H].
    """

    value: Tensor
    share: Tensor
    coefficient: Tensor
    left: Tensor


def full_gradient(omega: Omega, context: Context) -> dict[str, Float[Tensor, "P ..."]]:
    """dOmega/dparameter for all parameters, [P, *shape], by autograd through the whole graph; slow, for studies.

    States and errors are differentiated too.

    Args:
        omega: form, state, reduce and bound are read.
        context: the update; its batch is run again with autograd on.

    Numerics:
        Rows are independent (a sum over rows is differentiated). Inactive samples contribute exact zeros.

    References:
        Pascanu, Mikolov, Bengio (2013), eq. 9, without dropping terms.
    """
    with torch.enable_grad():
        # Leaves of their own: nothing is recorded for the pack's parameters.
        values = {name: value.detach().clone().requires_grad_() for name, value in context.values.items()}
        total = omega_of(omega, context, values).sum()
        names = list(values)
        parts = torch.autograd.grad(total, [values[name] for name in names], allow_unused=True)
    # allow_unused: not every parameter need reach Omega.
    zero = {name: torch.zeros_like(values[name]) for name in names}
    return {name: zero[name] if part is None else part for name, part in zip(names, parts, strict=True)}


def omega_of(omega: Omega, context: Context, values: dict[str, Float[Tensor, "P ..."]]) -> Float[Tensor, " P"]:
    """Omega [P] as a differentiable function of the raw parameters."""
    weights = context.batch.with_initial_state(context.family.weights(values, context.family_hypers))
    lengths = context.batch.lengths
    inputs = context.family.feed(values, context.family_hypers, context.batch.inputs, lengths, context.engine).inputs
    P, T, B, _ = inputs.shape
    if context.family.cell is not None:
        return _reduce(omega, context, _cell_errors(context, values, weights, inputs, context.family.cell))
    leak = torch.ones(P, dtype=inputs.dtype, device=inputs.device) if weights.leak is None else weights.leak
    leak3 = leak[:, None, None]
    h = inputs.new_zeros(P, B, weights.w_rec.shape[-1])
    if weights.h0 is not None:
        h = h + (weights.h0 if weights.h0.ndim == 3 else weights.h0[:, None])
    act_bias = None if weights.act_bias is None else weights.act_bias[:, None]
    states: list[Tensor] = []
    pres: list[Tensor] = []
    for t in range(T):
        # Right-aligned: before its own start a sequence keeps its state.
        own = own_at(lengths, t, T)[..., None]
        drive = inputs[:, t] if weights.w_in is None else matmul(inputs[:, t], weights.w_in)
        a = matmul(h, weights.w_rec) + drive
        a = a if weights.bias is None else a + weights.bias[:, None]
        h = torch.where(own, (1 - leak3) * h + leak3 * context.activation.value(a, act_bias), h)
        states.append(h)
        pres.append(a)
    loss = readout.loss(context.task, values, torch.stack(states, 1), context.batch).sum()
    # create_graph: Omega is made of errors, so these are differentiated too.
    g = torch.autograd.grad(loss, states, create_graph=True, retain_graph=True)
    delta = torch.autograd.grad(loss, pres, create_graph=True)
    return _reduce(
        omega, context, _errors(omega, context, _Graph(list(g), list(delta), pres, weights.w_rec, leak3, act_bias))
    )


_Pair = tuple[Float[Tensor, "P B S"], Float[Tensor, "P B S"]]


@dataclass
class _Graph:
    """One mini-batch run step by step, with the graph that its errors were formed in.

    Attributes:
        g, delta, pres: dC/dh_t, dC/da_t and a_t of every step, [P, B, H].
        w_rec: [P, H, H]. leak: [P, 1, 1]. act_bias: [P, 1, H], or None.
    """

    g: list[Tensor]
    delta: list[Tensor]
    pres: list[Tensor]
    w_rec: Tensor
    leak: Tensor
    act_bias: Tensor | None


def _errors(omega: Omega, context: Context, graph: _Graph) -> list[_Pair]:
    """x_t and g_t of all steps, or both taken back to a."""
    g, delta, leak, pairs = graph.g, graph.delta, graph.leak, list[_Pair]()
    for t in range(1 if omega.state == "pre" else 0, len(g)):
        x = matmul(delta[t], graph.w_rec.transpose(1, 2)) + (1 - leak) * g[t]
        below = g[t]
        if omega.state == "pre":
            x = context.activation.pullback(context.activation.slope(graph.pres[t - 1], graph.act_bias), leak * x)
            # Both norms are then of dC/da.
            below = delta[t]
        pairs.append((x, below))
    return pairs


def _cell_errors(
    context: Context, values: dict[str, Tensor], weights: LoopWeights, inputs: Tensor, cell: Cell
) -> list[_Pair]:
    """x_t and g_t of all steps of a cell of its own, without a product to look at: J_t^T g_t by autograd."""
    P, T, B, _ = inputs.shape
    state = inputs.new_zeros(P, B, cell.state) if weights.h0 is None else weights.h0
    before, after = list[Tensor](), list[Tensor]()
    for t in range(T):
        own = own_at(context.batch.lengths, t, T)[..., None]
        # A copy, and required to have a gradient: the first state is a constant, what is handed back to it is not.
        before.append(state.clone() if state.requires_grad else state.clone().requires_grad_())
        new, _ = cell.moved(before[-1], inputs[:, t], weights.w_rec, weights.cell)
        state = torch.where(own, new, before[-1])
        after.append(state)
    visible = context.family.visible(torch.stack(after, 1))
    loss = readout.loss(context.task, values, visible, context.batch).sum()
    g = torch.autograd.grad(loss, after, create_graph=True, retain_graph=True)
    x = [
        torch.autograd.grad(new, old, error, create_graph=True)[0]
        for new, old, error in zip(after, before, g, strict=True)
    ]
    return list(zip(x, g, strict=True))


def _reduce(omega: Omega, context: Context, pairs: list[_Pair]) -> Tensor:
    """Omega of the errors that steps hand back, and of those that they get; the last steps' come last."""
    T, lengths = context.batch.inputs.shape[1], context.batch.lengths
    value: Tensor = pairs[0][0].new_zeros(len(lengths))
    count: Tensor = torch.zeros_like(value)
    for t, (x, below) in enumerate(pairs, T - len(pairs)):
        own = own_at(lengths - (1 if omega.state == "pre" else 0), t, T)
        num, den = (x * x).sum(-1), (below * below).sum(-1)
        active = (den >= omega.bound) & own
        ratio = torch.where(active, num, torch.ones_like(num)) / torch.where(active, den, torch.ones_like(den))
        bracket = ratio - 1 if omega.form == "ratio_sq" else ratio.sqrt() - 1
        value = value + torch.where(active, bracket * bracket, torch.zeros_like(bracket)).mean(1)
        count = count + active.to(value.dtype).mean(1)
    return value / torch.where(count > 0, count, torch.ones_like(count)) if omega.reduce == "active_mean" else value
