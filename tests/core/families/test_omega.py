"""Omega for cells of their own, by autograd on its definition; sampling behind maps and filters."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.families.cornn import CoRnn
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lem import Lem
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.momentum_scornn import MomentumScornn
from rnnsweep.core.families.momentum_srn import MomentumSrn
from rnnsweep.core.families.scornn import Scornn
from rnnsweep.core.families.slstm import Slstm
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.readout import loss
from rnnsweep.core.recurrence.reference import slope_at
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import train_rung
from tests.kit.networks import Setup, context_of

FUSED = [(family, engine) for family in (Lstm(hidden=5), Gru(hidden=5)) for engine in ("reference", "cpu")]

STEPPED = (CoRnn(hidden=5, dt=0.5), Lem(hidden=5), Slstm(hidden=5))


@pytest.mark.parametrize(("family", "engine"), [*FUSED, *((family, "reference") for family in STEPPED)], ids=str)
def test_value_and_gradient_are_those_of_the_definition(family, engine):
    setup = Setup(family=family, task=TemporalOrder(length=(10, 14)), engine=engine, controllers={}, sigma=0.6)
    pack = setup.pack([0, 1])
    _, context = context_of(pack)
    values, hypers, batch, cell = context.values, context.family_hypers, context.batch, family.cell
    weights = family.weights(values, hypers)
    own = {name: value[:, None] if value.ndim == 2 else value for name, value in weights.cell.items()}
    w_rec, R, T = weights.w_rec.clone().requires_grad_(), cell.recurrent, batch.inputs.shape[1]
    drive = batch.inputs @ weights.w_in[:, None] + weights.bias[:, None, None]
    s = torch.zeros(2, batch.inputs.shape[2], cell.state, dtype=torch.float64, requires_grad=True)
    states, pres = [s], []
    for t in range(T):
        pres.append(states[-1][..., :R] @ w_rec)
        new = cell.step(pres[-1], drive[:, t], states[-1], own)
        states.append(torch.where((t >= T - batch.lengths)[:, None, None], new, states[-1]))
    cost = loss(context.task, values, torch.stack(states[1:], 1)[..., :5], batch).sum()
    g = torch.autograd.grad(cost, states, retain_graph=True)
    delta = torch.autograd.grad(cost, pres, retain_graph=True)
    total, count = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for t in range(T):
        own_step = (t >= T - batch.lengths).double()[:, None]
        back = torch.autograd.grad(states[t + 1], states[t], g[t + 1], retain_graph=True)[0]
        rest = back.clone()
        rest[..., :R] -= delta[t] @ weights.w_rec.transpose(1, 2)
        x = torch.cat((rest[..., :R] + delta[t] @ w_rec.transpose(1, 2), rest[..., R:]), -1)
        ratio = (x**2).sum(-1) / (g[t + 1] ** 2).sum(-1)
        total = total + (((ratio - 1) ** 2) * own_step).mean(1)
        count = count + own_step.mean(1)
    value = total / count
    (want,) = torch.autograd.grad(value.sum(), w_rec)
    unit = Omega()
    context.hypers = {"weight": torch.full((2,), 1.0, dtype=torch.float64)}
    torch.testing.assert_close(unit.norms(context.passes[-1]).value, value.detach(), rtol=1e-10, atol=1e-12)
    before = context.layout.view(context.gradients.clone())
    after = context.layout.view(unit.add(context))
    torch.testing.assert_close(after["w_rec"] - before["w_rec"], want, rtol=1e-9, atol=1e-11)
    assert all(torch.equal(after[name], before[name]) for name in before if name != "w_rec")


@pytest.mark.parametrize(
    "family", [Scornn(hidden=8), MomentumSrn(hidden=8), MomentumScornn(hidden=8)], ids=lambda f: type(f).__name__
)
def test_sampling_sees_the_change_of_the_loops_own_matrix(family):
    """dS by the plain recursion, with the difference of the mapped matrices before and after the candidate step."""
    rate = 1e-7
    unit = Sampling(q_min=-50.0, q_max=50.0)
    pack = Setup(family=family, controllers={"sampling": unit}, optimizer=Sgd(), sigma=0.4).pack(
        [0], optimizer__lr=rate
    )
    _, context = context_of(pack)
    values, trace = context.values, context.trace
    moved = context.layout.view(context.params - rate * context.gradients)
    w, new = (family.weights(v, context.family_hypers).w_rec[0] for v in (values, moved))
    delta, ddelta = trace.delta[0, -1], torch.zeros_like(trace.delta[0, -1])
    for t in range(trace.delta.shape[1] - 2, -1, -1):
        slope = slope_at(trace.record, context.activation, t)[0]
        delta, ddelta = slope * (delta @ w.T), slope * (ddelta @ w.T + delta @ (new - w).T)
    found = train_rung(pack, 1, 1)[0]
    assert found["sampling/admitted"] == 1
    assert 10 ** found["sampling/ds_log10"] == pytest.approx(abs(float((delta * ddelta).sum())), rel=1e-5)
