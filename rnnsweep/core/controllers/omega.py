"""Omega, the vanishing-gradient regulariser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from rnnsweep.core.controllers.base import Additive, Context
from rnnsweep.core.controllers.omega_full import full_gradient
from rnnsweep.core.controllers.schedules import Schedule, schedule
from rnnsweep.core.recurrence.reference import slope_at
from rnnsweep.core.types import Capability, LoopGradients, OmegaForm, OmegaTerm, Trace
from rnnsweep.unit import NOT_NEGATIVE, Metric, Range


@dataclass(frozen=True)
class Omega(Additive):
    """Ask each step of backpropagation to keep the norm of the error that it hands back.

    With v_t = delta_t and x_t = v_t W_rec^T (+ (1 - leak) g_t), per sample:

        r_t = |x_t|^2 / |g_t|^2        Omega = sum_t mean_B (r_t - 1)^2 / sum_t mean_B active_t

    Attributes:
        weight: alpha, per row, >= 0; 0 is off, bit for bit.
        form: ``ratio_sq`` squares the norms inside the bracket (the authors' code); ``ratio`` does not (their eq. 9).
        state: ``post``: norms of dC/dh; ``pre``: norms of dC/da, t = 2..T (eq. 10).
        reduce: ``active_mean`` divides by the active share; ``sum`` does not.
        gradient: ``immediate``: h, g, delta are constants, only the trailing W_rec is differentiated; ``full``: through
            the whole graph, slow. The immediate gradient is *not* an approximation of the full one.
        bound: samples with a squared norm below it count as inactive.
        schedule: how alpha falls over training, see `Schedule`.

    Numerics:
        Nothing active: Omega and its gradient are 0, never NaN. A row's steps before its own start never count. Rows
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
    schedule: Schedule = field(default_factory=Schedule)

    metrics: ClassVar[Mapping[str, Metric]] = {
        "omega/value": Metric("mean of the regulariser Omega", "Ω", drawn=True),
        "omega/active": Metric("mean share of (step, sample) pairs that Omega counts", "Ω active (share of steps)"),
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
        object.__setattr__(self, "schedule", schedule(self.schedule, "controllers.omega.schedule"))

    @property
    def requires(self) -> frozenset[Capability]:
        """A recurrent matrix; f' or the whole graph of a simple loop for the variants that use them."""
        simple = self.state == "pre" or self.gradient == "full"
        return frozenset({Capability.RECURRENT, Capability.SIMPLE} if simple else {Capability.RECURRENT})

    def active(self, hypers: Mapping[str, Tensor]) -> Tensor:
        """Rows with weight > 0."""
        return hypers["weight"] > 0

    @property
    def omega_form(self) -> OmegaForm | None:
        """See `Controller.omega_form`."""
        if self.state == "pre" or self.gradient == "full":
            return None
        return OmegaForm(self.form == "ratio_sq", self.reduce == "active_mean", self.bound)

    def add(self, context: Context) -> Tensor:
        """See `Additive.add`."""
        weight = self.schedule.at(context.hypers["weight"], context.step)
        if self.gradient == "full":
            norms = self.norms(context)
            value, share, named = norms.value, norms.share, full_gradient(self, context)
        else:
            term = self._from_trace(context) if context.omega is None or self.omega_form is None else context.omega
            value, share = term.value, term.share
            named = context.family.pullback(context.values, context.family_hypers, LoopGradients(term.w_rec))
        context.tally.mean("omega/value", value)
        context.tally.mean("omega/active", share)
        total = context.gradients.clone()
        views = context.layout.view(total)
        for name, extra in named.items():
            shape = (-1, *(1 for _ in extra.shape[1:]))
            moved = torch.addcmul(views[name], weight.reshape(shape), extra)
            views[name].copy_(torch.where((weight > 0).reshape(shape), moved, views[name]))
        return total

    def _from_trace(self, context: Context) -> OmegaTerm:
        """Value, share and immediate gradient where no loop took them along."""
        assert context.trace is not None
        norms = self.norms(context)
        read = norms.left[..., : context.trace.record.weights.w_rec.shape[1]]
        return OmegaTerm(norms.value, norms.share, context.engine.outer(read, context.trace.delta, norms.coefficient))

    def norms(self, context: Context) -> OmegaNorms:
        """Value, active share and the coefficients of the immediate gradient."""
        trace = context.trace
        assert trace is not None
        left, num, den = self._pair(context, trace)
        T, B = num.shape[1:]
        lengths = trace.record.lengths
        first = (T - lengths + (1 if self.state == "pre" else 0))[:, None]
        own = (torch.arange(T, device=num.device)[None, :] >= first)[:, :, None]
        active = (den >= self.bound) & own
        safe = torch.where(active, den, torch.ones_like(den))
        ratio = torch.where(active, num, torch.ones_like(num)) / safe
        term, factor = self._form(ratio)
        count = active.to(num.dtype).flatten(1).sum(1) / B
        share = count / lengths.to(num.dtype)
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
        slope = torch.where(root > 0, 2 * (1 - 1 / positive), torch.zeros_like(root))
        return (root - 1) * (root - 1), slope

    def _pair(self, context: Context, trace: Trace) -> tuple[Tensor, Tensor, Tensor]:
        """The vectors whose outer product with delta is the gradient, squared norms of x_t, squared norms below."""
        engine = context.engine
        if self.state == "pre":
            return self._pre_pair(context, trace)
        num = engine.square_norms(trace.x)
        if trace.direct.steps is not None:
            return trace.x, num, engine.square_norms(trace.totals())
        assert trace.direct.last is not None
        den = torch.empty_like(num)
        den[:, :-1] = num[:, 1:]
        den[:, -1:] = engine.square_norms(trace.direct.last[:, None])
        return trace.x, num, den

    def _pre_pair(self, context: Context, trace: Trace) -> tuple[Tensor, Tensor, Tensor]:
        activation, leak = context.activation, trace.record.weights.leak
        scale = 1.0 if leak is None else leak[:, None, None]
        left, back = torch.zeros_like(trace.x), torch.zeros_like(trace.x)
        for t in range(1, trace.x.shape[1]):
            slope = slope_at(trace.record, activation, t - 1)
            back[:, t] = activation.pullback(slope, scale * trace.x[:, t])
            left[:, t] = scale * activation.pushforward(slope, back[:, t])
        return left, context.engine.square_norms(back), context.engine.square_norms(trace.delta)


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
