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
from rnnsweep.core.layered import layered
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.recurrence.unrolled import Unrolled
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import train_rung
from rnnsweep.core.types import Batch, Wanted
from tests.kit.networks import Setup, context_of
from tests.kit.ragged import Ragged

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


CELLS = {"srn": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}


def stepped(name: str, values: dict[str, torch.Tensor], batch: Batch, horizon: int, layers: int) -> torch.Tensor:
    """Loss of torch's cells on each other, each sequence alone, all states detached where a chunk begins."""
    hidden, inputs = values["w_out"].shape[0], batch.inputs.shape[-1]
    cells = []
    for layer in range(1, layers + 1):
        end = "" if layer == layers else f"_l{layer}"
        cell = CELLS[name](inputs if layer == 1 else hidden, hidden, dtype=torch.float64)
        inner = torch.zeros_like(values["b" + end])
        if name == "gru":
            inner = torch.cat((inner[: 2 * hidden], values["b_n" + end]))
        own = {"weight_hh": values["w_rec" + end].T, "weight_ih": values["w_in" + end].T, "bias_ih": values["b" + end]}
        cells.append((cell, {**own, "bias_hh": inner}))
    T, costs, every = batch.inputs.shape[1], [], batch.targets.ndim == 3
    for b, length in enumerate(batch.lengths[0].tolist()):
        states = [torch.zeros(hidden, dtype=torch.float64)] * layers
        memories = list(states)
        for t in range(T - length, T):
            if (T - t) % horizon == 0 and (every or T - t == horizon):
                states, memories = [h.detach() for h in states], [c.detach() for c in memories]
            seen = batch.inputs[0, t, b]
            for layer, (cell, own) in enumerate(cells):
                past = (states[layer], memories[layer]) if name == "lstm" else states[layer]
                found = torch.func.functional_call(cell, own, (seen, past))
                states[layer], memories[layer] = found if name == "lstm" else (found, memories[layer])
                seen = states[layer]
            if every or t == T - 1:
                y = seen @ values["w_out"] + values["b_out"]
                costs.append(
                    torch.nn.functional.cross_entropy(y, batch.targets[0, t, b] if every else batch.targets[0, b])
                )
    return torch.stack(costs).mean()


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("every", [False, True], ids=["last", "every"])
@pytest.mark.parametrize(("horizon", "layers"), [(1, 2), (3, 3), (4, 2), (6, 3)])
@pytest.mark.parametrize("name", list(CELLS))
def test_layers_are_cut_at_the_same_steps_as_torchs_cells(name, horizon, layers, every, engine):
    family = layered({"srn": Srn, "lstm": Lstm, "gru": Gru}[name](4, layers=layers))
    task, learner = Ragged(every=every), Bptt(horizon=horizon)
    setup = Setup(family=family, task=task, learner=learner, engine=engine, sigma=0.8, controllers={})
    pack = setup.pack([0])
    _, context = context_of(pack)
    values = {key: value[0].clone().requires_grad_() for key, value in context.values.items()}
    loss = stepped(name, values, context.batch, horizon, layers)
    gradients = torch.autograd.grad(loss, list(values.values()), allow_unused=True)
    found = context.layout.view(context.gradients)
    for key, true in zip(values, gradients, strict=True):
        want = torch.zeros_like(values[key]) if true is None else true
        torch.testing.assert_close(found[key][0], want, rtol=1e-12, atol=1e-14, msg=key)
    assert float(found["w_in_l1"].abs().max()) > 1e-6
    whole = Bptt().learn(pack.program, context.params, {}, context.batch, Wanted())
    assert not torch.allclose(whole.gradients, context.gradients), "nothing was cut"


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
