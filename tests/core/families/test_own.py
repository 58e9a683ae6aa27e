"""Steps of users' own: torch's cells in a pack equal torch's whole layers, and a row is what it is alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.families.own import family_of
from rnnsweep.core.families.own_steps import PREFIX
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.recurrence.choose import engine_for
from rnnsweep.core.recurrence.own_cell import OwnCellEngine
from rnnsweep.core.recurrence.unrolled import Unrolled
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import train_rung
from tests.kit.gradients import assert_equals
from tests.kit.networks import Setup, assert_same_row, context_of
from tests.kit.own_cells import Mixed, branching, step

WHOLE = {"RNNCell": torch.nn.RNN, "LSTMCell": torch.nn.LSTM, "GRUCell": torch.nn.GRU}


def stepped(**changes):
    shapes = {"w": ["hidden", "hidden"], "v": ["inputs", "hidden"], "b": ["hidden"]}
    return family_of(step)(**{"hidden": 6, "shapes": shapes, **changes})


FAMILIES = {
    "rnn": lambda: family_of(torch.nn.RNNCell)(hidden=7),
    "lstm": lambda: family_of(torch.nn.LSTMCell)(hidden=7),
    "gru": lambda: family_of(torch.nn.GRUCell)(hidden=7),
    "mixed": lambda: family_of(Mixed)(hidden=7),
    "function": stepped,
    "branching": lambda: family_of(branching)(hidden=6, shapes={"w": ["hidden", "hidden"]}),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("roles", [{}, {"weight_hh": "recurrent", "weight_ih": "input"}])
def test_a_cell_of_torchs_in_a_pack_equals_the_whole_layer_of_torchs(name, roles):
    family = family_of(getattr(torch.nn, name))(hidden=7, roles=roles)

    def states(live, inputs, own):
        layer = WHOLE[name](inputs.shape[-1], 7)
        named = {key.removeprefix(PREFIX): live[key] for key in live if key.startswith(PREFIX)}
        # With a role a weight is kept as W[from, to].
        named = {f"{key}_l0": value.T if key in roles else value for key, value in named.items()}
        return torch.func.functional_call(layer.double(), named, (inputs,))[0]

    assert_equals(family, states)


def test_a_function_in_a_pack_equals_its_written_out_network():
    def states(live, inputs, own):
        h, out = inputs.new_zeros(inputs.shape[1], 6), []
        for u in inputs:
            a = u @ live["cell_v"] + h @ live["cell_w"] + live["cell_b"]
            h = h + own["rate"] * (torch.tanh(a) - h)
            out.append(h)
        return torch.stack(out)

    assert_equals(stepped(), states, hypers=[{"rate": 0.2}, {"rate": 0.9}])


@pytest.mark.parametrize(("name", "dtype"), [*((name, torch.float32) for name in FAMILIES), ("mixed", torch.float64)])
def test_a_row_is_to_the_bit_what_it_is_alone(name, dtype):
    setup = Setup(family=FAMILIES[name](), task=TemporalOrder(length=(10, 14)), dtype=dtype)
    alone = []
    for replica in range(7):
        pack = setup.pack([replica])
        train_rung(pack, 2, 2)
        alone.append(pack.row(0))
    for width in (2, 3, 7):
        pack = setup.pack(list(range(width)))
        train_rung(pack, 2, 2)
        for place in range(width):
            assert_same_row(pack.row(place), alone[place])


@pytest.mark.parametrize("gradient", ["immediate", "full"])
def test_controllers_mix_no_rows_either(gradient):
    controllers = {"omega": Omega(weight=0.5, gradient=gradient), "sampling": Sampling(q_min=-1.0, q_max=1.0)}
    setup = Setup(FAMILIES["mixed"](), TemporalOrder(length=(10, 14)), controllers=controllers, dtype=torch.float32)
    alone = []
    for replica in range(3):
        pack = setup.pack([replica])
        train_rung(pack, 3, 3)
        alone.append(pack.row(0))
    together = setup.pack([0, 1, 2])
    train_rung(together, 3, 3)
    for place in range(3):
        assert_same_row(together.row(place), alone[place])


def test_every_derivative_reaches_a_row_in_memory_of_its_own():
    """Products round by where their operands begin: 64 bytes is the widest vector."""
    starts = []

    def watched(u, h, w):
        new = torch.tanh(h @ w)
        if new.requires_grad:
            new.register_hook(lambda g: starts.append(g.data_ptr() % 64))
        return new

    cell = family_of(watched)(hidden=5, shapes={"w": ["hidden", "hidden"]}).cell
    state, line = (torch.rand(shape, requires_grad=True) for shape in ((3, 2, 5), (3, 1, 25)))
    starts.clear()
    new, _ = cell.moved(state, torch.rand(3, 2, 6), line, {})
    (back,) = torch.autograd.grad(new, [state], torch.rand(3, 2, 5), create_graph=True)
    torch.autograd.grad(back, [line], torch.rand(3, 2, 5))
    assert len(starts) >= 3 and not any(starts)


def test_a_poisoned_row_changes_no_other():
    setup = Setup(family=FAMILIES["mixed"](), dtype=torch.float32)
    healthy, sick = setup.pack([0, 1, 2]), setup.pack([0, 1, 2])
    sick.params[1] = torch.nan
    for pack in (healthy, sick):
        train_rung(pack, 3, 3)
    for place in (0, 2):
        assert_same_row(healthy.row(place), sick.row(place))


def test_it_runs_row_by_row_whatever_engine_is_asked_for():
    family = FAMILIES["gru"]()
    engine, note = engine_for(family.cell, "auto", family.cell_activation, torch.float32, torch.device("cpu"))
    assert isinstance(engine, OwnCellEngine)
    assert note == "cpu engine not used: OwnCell has no fused loop"


def test_first_values_are_the_modules_own_and_follow_the_rows_key():
    family = FAMILIES["lstm"]()
    specs = family.parameters(3, 2)
    keys = torch.tensor([5, -6])
    drawn = family.initial({}, specs, keys)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    again = family.initial({}, specs, keys[1:])
    assert torch.equal(before, torch.get_rng_state()), "the user's generator stays"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(-6)
        plain = torch.nn.LSTMCell(3, 7)
    for name, value in plain.named_parameters():
        assert torch.equal(drawn[PREFIX + name][1], value.detach().double())
        assert torch.equal(again[PREFIX + name][0], value.detach().double())
    assert not torch.equal(drawn["cell_weight_hh"][0], drawn["cell_weight_hh"][1])


def test_a_role_leaves_a_parameter_to_the_init():
    family = family_of(torch.nn.GRUCell)(hidden=7, roles={"weight_hh": "recurrent"})
    specs = {spec.name: spec for spec in family.parameters(3, 2)}
    assert specs["cell_weight_hh"].role == "recurrent"
    assert specs["cell_weight_hh"].shape == (7, 21), "[from, to], gates side by side"
    assert "cell_weight_hh" not in family.initial({}, tuple(specs.values()), torch.tensor([1]))


def test_the_trained_module_is_the_users_own():
    family = FAMILIES["mixed"]()
    pack = Setup(family=family).pack([0])
    train_rung(pack, 2, 2)
    module = family.trained(pack.program.task.n_inputs, pack.row(0).params)
    assert type(module) is Mixed
    plain = Mixed(pack.program.task.n_inputs, 7).double()
    plain.load_state_dict(module.state_dict())
    _, context = context_of(pack)
    record = context.trace.record
    state = (torch.zeros(5, 7).double(), torch.zeros(5, 7).double())
    for t in range(record.inputs.shape[1]):
        state = plain(record.inputs[0, t], state)
    torch.testing.assert_close(torch.cat(state, -1), record.h[0, -1], rtol=1e-12, atol=1e-12)


def test_truncated_gradients_end_at_the_horizon():
    """Through the last steps only: an error at the end equals that of a sequence as long as the horizon."""
    setup = Setup(family=stepped(), task=TemporalOrder(length=12), learner=Bptt(horizon=12), controllers={})
    whole = context_of(setup.pack([0, 1]))[1].gradients
    setup.learner = Bptt(horizon=4)
    cut = context_of(setup.pack([0, 1]))[1].gradients
    assert not torch.equal(whole, cut)
    setup.learner = Bptt()
    assert torch.equal(whole, context_of(setup.pack([0, 1]))[1].gradients)


def test_a_row_goes_on_from_its_snapshot_to_the_bit():
    setup = Setup(family=FAMILIES["mixed"](), dtype=torch.float32)
    whole, first = setup.pack([0, 1]), setup.pack([0, 1])
    for _ in range(2):
        train_rung(whole, 2, 2)
    train_rung(first, 2, 2)
    second = setup.pack([3])
    second.join([(setup.member(place), first.row(place)) for place in (0, 1)])
    train_rung(second, 2, 2)
    for place in (0, 1):
        assert_same_row(second.row(1 + place), whole.row(place))


def test_a_carried_state_is_gone_on_from():
    family = FAMILIES["lstm"]()
    _, context = context_of(Setup(family=family, task=TemporalOrder(length=12)).pack([0, 1]))
    record, full = context.trace.record, torch.tensor([12, 12])
    engine, weights = context.engine, context.trace.record.weights
    half = engine.forward(record.inputs[:, :6], weights, context.activation, full // 2)
    rest = engine.forward(record.inputs[:, 6:], replace(weights, h0=half.h[:, -1]), context.activation, full // 2)
    assert torch.equal(rest.h[:, -1], record.h[:, -1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forced_states_run_through_the_same_step(dtype):
    """The graph of all rows (`Unrolled`) has the states of the engine, bit for bit."""
    family = FAMILIES["mixed"]()
    setup = Setup(family=family, task=TemporalOrder(length=(10, 14)), dtype=dtype)
    _, context = context_of(setup.pack([0, 1, 2]))
    record = context.trace.record
    loop = Unrolled(record.weights, record.inputs, context.activation, family.cell, record.lengths)
    state = loop.start()
    for t in range(loop.steps):
        state, _ = loop.step(t, state)
        assert torch.equal(state, record.h[:, t + 1])
    ours, _ = context.engine.backward(record, context.trace.direct, context.activation)
    assert context.trace.direct.last is not None
    theirs = loop.gradients([state], [context.trace.direct.last])
    torch.testing.assert_close(ours.w_rec, theirs.w_rec, rtol=1e-4, atol=1e-6)
