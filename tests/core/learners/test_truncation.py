"""Truncated backpropagation against autograd with states detached at the cuts."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core import readout
from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.scurnn import Scurnn
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.recurrence.unrolled import Unrolled
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import train_rung
from tests.kit.networks import Setup, context_of

TASKS = [TemporalOrder(length=(10, 16)), Copying(length=4)]
SIMPLE = [(family, engine) for family in (Srn(6), Srn(6, leak=0.6)) for engine in ("reference", "cpu")]
GATED = [(family, engine) for family in (Lstm(hidden=4), Gru(hidden=4)) for engine in ("reference", "cpu")]
LOOPS = [*SIMPLE, *GATED, (Scurnn(hidden=4), "reference")]


def detached_gradients(context, cuts: list[int]) -> dict[str, torch.Tensor]:
    """Gradients with the state detached before each step index in `cuts`."""
    family, batch = context.family, context.batch
    values = {name: value.detach().clone() for name, value in context.values.items()}
    values["w_out"].requires_grad_()
    feed = family.feed(values, context.family_hypers, batch.inputs, batch.lengths, context.engine)
    weights = family.weights(values, context.family_hypers)
    loop = Unrolled(weights, feed.inputs, context.activation, family.cell, batch.lengths)
    state, states = loop.start(), []
    for t in range(loop.steps):
        state = state.detach() if t in cuts else state
        state, _ = loop.step(t, state)
        states.append(state)
    visible = family.visible(torch.stack(states, 1))
    direct = torch.autograd.grad(readout.loss(context.task, values, visible, batch).sum(), visible, retain_graph=True)
    found = loop.gradients([visible], direct)
    return {**family.pullback(values, context.family_hypers, found), **feed.pullback(found.inputs)}


@pytest.mark.parametrize("horizon", [1, 3, 7])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
@pytest.mark.parametrize(("family", "engine"), LOOPS, ids=str)
def test_gradients_stop_at_the_cuts(family, task, horizon, engine):
    setup = Setup(family=family, task=task, learner=Bptt(horizon=horizon), engine=engine, batch=3, controllers={})
    _, context = context_of(setup.pack([0, 1]))
    T = task.max_length
    cuts = [T - horizon] if not task.per_step else list(range(T - horizon, 0, -horizon))
    want = detached_gradients(context, cuts)
    found = context.layout.view(context.gradients)
    for name, value in want.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-13, msg=name)
    assert float(found["w_rec" if "w_rec" in found else "w_in"].abs().max()) > 0


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_a_horizon_of_the_whole_sequence_is_plain_backpropagation(task):
    contexts = [
        context_of(Setup(task=task, learner=learner).pack([0, 1]))[1]
        for learner in (Bptt(), Bptt(horizon=task.max_length))
    ]
    assert torch.equal(contexts[0].gradients, contexts[1].gradients)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_the_trace_fits_the_truncated_errors(task):
    """delta is dC/da within the chunk; totals are what they say, so that controllers can read them."""
    _, context = context_of(Setup(task=task, learner=Bptt(horizon=4)).pack([0, 1]))
    trace = context.trace
    assert trace is not None
    slope = context.activation.slope_from_output(trace.record.h[:, 1:])
    T, lengths = trace.delta.shape[1], trace.record.lengths
    own = (torch.arange(T)[None, :] >= (T - lengths)[:, None])[..., None, None]
    torch.testing.assert_close(trace.delta, torch.where(own, slope * trace.totals(), 0.0), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_controllers_work_on_it(task, engine):
    controllers = {"omega": Omega(), "sampling": Sampling()}
    setup = Setup(task=task, learner=Bptt(horizon=5), controllers=controllers, engine=engine)
    pack = setup.pack([0, 1], 100, controllers__omega__weight=1.0, controllers__sampling__q_max=0.5)
    for metrics in train_rung(pack, 4, 1):
        assert {"omega/value", "sampling/q", "state/saturation", "train/loss"} <= metrics.keys()


def truncated_omega(context, row: int, horizon: int, state: str) -> tuple[float, float, torch.Tensor]:
    """Value, active share and immediate gradient of one row's Omega, its own steps run alone with autograd.

    Errors stop where the state is detached, and that is no step: there is no state before it that gets an error.
    """
    batch, values = context.batch, {name: value[row] for name, value in context.values.items()}
    T, own = batch.inputs.shape[1], int(batch.lengths[row])
    h = torch.zeros(batch.inputs.shape[2], len(values["w_rec"]), dtype=torch.float64, requires_grad=True)
    received, states = [], []
    for t in range(T - own, T):
        h = h.detach().requires_grad_() if t > T - own and (T - t) % horizon == 0 else h
        received.append(h)
        h = torch.tanh(h @ values["w_rec"] + batch.inputs[row, t] @ values["w_in"] + values["b"])
        states.append(h)
    outputs = torch.stack(states) @ values["w_out"] + values["b_out"]
    picked = torch.log_softmax(outputs, -1).gather(-1, batch.targets[row, T - own :, :, None])
    g = torch.autograd.grad(-picked.mean(), states, retain_graph=True)
    w = values["w_rec"].detach().clone().requires_grad_()
    total, count, B = torch.zeros(()).double(), 0.0, batch.inputs.shape[2]
    for t in range(1 if state == "pre" else 0, own):
        if t > 0 and received[t] is not states[t - 1]:
            continue
        delta = g[t] * (1 - states[t] ** 2)
        x, below = delta @ w.T, g[t]
        if state == "pre":
            x, below = x * (1 - states[t - 1] ** 2), delta
        ratio = x.square().sum(1) / below.square().sum(1)
        total = total + ((ratio - 1) ** 2).sum() / B
        count += 1
    total = total / count
    steps = count + (1 if state == "pre" else 0)
    return total.item(), count / steps, torch.autograd.grad(total, w)[0]


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("state", ["post", "pre"])
@pytest.mark.parametrize("horizon", [2, 4, 7])
def test_a_cut_is_no_step_of_omega(horizon, state, engine):
    """Also for a row that begins at a cut, whose h_0 receives what its first step hands back."""
    omega = Omega(1.0, state=state)
    task = Copying(length=(2, 6))
    setup = Setup(family=Srn(5), task=task, learner=Bptt(horizon=horizon), engine=engine, controllers={"omega": omega})
    pack = setup.pack(list(range(6)))
    _, context = context_of(pack, "controllers.omega")
    if horizon < 7:
        assert bool((context.batch.lengths % horizon == 0).any()), "no row begins at a cut"
    before = context.gradients.clone()
    context.tally.begin(torch.ones(6, dtype=torch.bool))
    added = pack.program.layout.view(omega.add(context) - before)["w_rec"]
    norms = omega.norms(context.passes[-1])
    for row in range(6):
        value, share, gradient = truncated_omega(context, row, horizon, state)
        assert float(norms.value[row]) == pytest.approx(value, rel=1e-10)
        assert float(norms.share[row]) == pytest.approx(share, rel=1e-12)
        torch.testing.assert_close(added[row], gradient, rtol=1e-9, atol=1e-12)
