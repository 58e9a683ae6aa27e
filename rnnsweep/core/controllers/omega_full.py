"""Omega's full gradient: through the whole graph, by autograd; slow, for studies and as a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rnnsweep.core import readout

if TYPE_CHECKING:
    from rnnsweep.core.controllers.base import Context
    from rnnsweep.core.controllers.omega import Omega


def full_gradient(omega: Omega, context: Context) -> dict[str, Tensor]:
    """dOmega/dparameter for all parameters, [P, *shape], with states and errors differentiated too.

    Args:
        omega: form, state, reduce and bound are read.
        context: the update; its batch is run again with autograd on.

    Numerics:
        Rows are independent (a sum over rows is differentiated). Inactive samples contribute exact zeros.

    References:
        Pascanu, Mikolov, Bengio (2013), eq. 9, without dropping terms.
    """
    with torch.enable_grad():
        values = {name: value.detach().clone().requires_grad_() for name, value in context.values.items()}
        total = omega_of(omega, context, values).sum()
        names = list(values)
        found = torch.autograd.grad(total, [values[name] for name in names], allow_unused=True)
    zero = {name: torch.zeros_like(values[name]) for name in names}
    return {name: zero[name] if part is None else part for name, part in zip(names, found, strict=True)}


def omega_of(omega: Omega, context: Context, values: dict[str, Tensor]) -> Tensor:
    """Omega [P] as a differentiable function of the raw parameters."""
    weights = context.batch.begun(context.family.weights(values, context.family_hypers))
    lengths = context.batch.lengths
    inputs = context.family.feed(values, context.family_hypers, context.batch.inputs, lengths).inputs
    P, T, B, _ = inputs.shape
    leak = torch.ones(P, dtype=inputs.dtype) if weights.leak is None else weights.leak
    leak3 = leak[:, None, None]
    h = inputs.new_zeros(P, B, weights.w_rec.shape[-1])
    if weights.h0 is not None:
        h = h + (weights.h0 if weights.h0.ndim == 3 else weights.h0[:, None])
    act_bias = None if weights.act_bias is None else weights.act_bias[:, None]
    states: list[Tensor] = []
    pres: list[Tensor] = []
    for t in range(T):
        own = (t >= T - lengths)[:, None, None]
        a = h @ weights.w_rec + (inputs[:, t] if weights.w_in is None else inputs[:, t] @ weights.w_in)
        a = a if weights.bias is None else a + weights.bias[:, None]
        h = torch.where(own, (1 - leak3) * h + leak3 * context.activation.value(a, act_bias), h)
        states.append(h)
        pres.append(a)
    loss = readout.loss(context.task, values, torch.stack(states, 1), context.batch).sum()
    g = torch.autograd.grad(loss, states, create_graph=True, retain_graph=True)
    delta = torch.autograd.grad(loss, pres, create_graph=True)
    return _reduce(omega, context, (list(g), list(delta), pres, weights.w_rec, leak3, act_bias))


def _reduce(omega: Omega, context: Context, parts: tuple) -> Tensor:
    g, delta, pres, w_rec, leak3, act_bias = parts
    T, lengths = len(g), context.batch.lengths
    value: Tensor = torch.zeros_like(leak3[:, 0, 0])
    count: Tensor = torch.zeros_like(value)
    for t in range(1 if omega.state == "pre" else 0, T):
        own = (t >= T - lengths + (1 if omega.state == "pre" else 0))[:, None]
        x = delta[t] @ w_rec.transpose(1, 2) + (1 - leak3) * g[t]
        below = g[t]
        if omega.state == "pre":
            x = context.activation.pullback(context.activation.slope(pres[t - 1], act_bias), leak3 * x)
            below = delta[t]
        num, den = (x * x).sum(-1), (below * below).sum(-1)
        active = (den >= omega.bound) & own
        ratio = torch.where(active, num, torch.ones_like(num)) / torch.where(active, den, torch.ones_like(den))
        bracket = ratio - 1 if omega.form == "ratio_sq" else ratio.sqrt() - 1
        value = value + torch.where(active, bracket * bracket, torch.zeros_like(bracket)).mean(1)
        count = count + active.to(value.dtype).mean(1)
    return value / torch.where(count > 0, count, torch.ones_like(count)) if omega.reduce == "active_mean" else value
