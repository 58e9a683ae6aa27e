"""The momentum family against autograd networks that carry v and m step by step, and its identities."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.families.adam_lstm import AdamLstm
from rnnsweep.core.families.filters import restarting
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.momentum_lstm import MomentumLstm
from rnnsweep.core.families.momentum_scornn import MomentumScornn
from rnnsweep.core.families.momentum_srn import MomentumSrn
from rnnsweep.core.families.nesterov_lstm import NesterovLstm
from rnnsweep.core.families.nesterov_lstm_diff import NesterovLstmDiff
from rnnsweep.core.families.rmsprop_lstm import RmspropLstm
from rnnsweep.core.families.scornn import Scornn
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.training import train_rung
from tests.kit.gradients import Parts, assert_equals
from tests.kit.networks import Setup


def drives(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
    """The paper's recursions, one step after the other."""
    v, m, found = torch.zeros(()), torch.zeros(()), []
    for t, u in enumerate(inputs):
        z = u @ parts["w_in"] + parts.get("b", 0.0)
        k = t % int(own["restart"]) + 1 if "restart" in own else 0
        mu = (k - 1) / (k + 2) if k else own.get("mu", 0.0)
        v = mu * v + own["s"] * z
        if "beta" in own:
            m = own["beta"] * m + (1 - own["beta"]) * z**2
        found.append(v / (m + 1e-16).sqrt() if "beta" in own else v)
    return torch.stack(found)


def lstm(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
    H = len(parts["w_rec"])
    h = c = torch.zeros(inputs.shape[1], H, dtype=torch.float64)
    found = []
    for d in drives(parts, inputs, own):
        i, f, g, o = (d + h @ parts["w_rec"] + parts["b_rec"]).split(H, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        found.append(h)
    return torch.stack(found)


def srn(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
    h, found = torch.zeros(inputs.shape[1], len(parts["w_rec"]), dtype=torch.float64), []
    for d in drives(parts, inputs, own):
        h = torch.tanh(d + h @ parts["w_rec"])
        found.append(h)
    return torch.stack(found)


def scornn(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
    upper = parts["a_skew"].triu(1)
    a, eye = upper - upper.T, torch.eye(len(upper), dtype=torch.float64)
    negative = round(own["negatives"] * len(upper))
    w = torch.inverse(eye + a) @ (eye - a)
    w = torch.cat((w[:, : len(w) - negative], -w[:, len(w) - negative :]), 1)
    h, found = torch.zeros(inputs.shape[1], len(upper), dtype=torch.float64), []
    for d in drives(parts, inputs, own):
        z = d + h @ w
        h = torch.sign(z) * torch.relu(z.abs() + parts["act_bias"])
        found.append(h)
    return torch.stack(found)


CASES = [
    (MomentumSrn(hidden=7), srn, [{"mu": 0.6, "s": 0.6}, {"mu": 0.9, "s": 0.2}]),
    (MomentumLstm(hidden=6), lstm, [{"mu": 0.6, "s": 0.6}, {"mu": 0.0, "s": 1.0}]),
    (AdamLstm(hidden=6), lstm, [{"mu": 0.6, "s": 0.6, "beta": 0.1}, {"mu": 0.3, "s": 0.1, "beta": 0.99}]),
    (RmspropLstm(hidden=6), lstm, [{"s": 0.6, "beta": 0.9}, {"s": 0.3, "beta": 0.5}]),
    (NesterovLstm(hidden=6), lstm, [{"s": 1.0, "restart": 2}, {"s": 0.9, "restart": 40}]),
    (MomentumScornn(hidden=6), scornn, [{"mu": 0.6, "s": 0.6}, {"mu": 0.9, "s": 1.0, "negatives": 0.2}]),
]


@pytest.mark.parametrize(("family", "states", "hypers"), CASES, ids=lambda x: type(x).__name__)
def test_states_and_gradients_equal_autograd(family, states, hypers):
    assert_equals(family, states, hypers=hypers, tolerance=1e-11)


@pytest.mark.parametrize(("family", "states", "hypers"), CASES)
def test_fused_loops_equal_autograd(family, states, hypers):
    assert_equals(family, states, hypers=hypers, tolerance=1e-11, engine="cpu")


@pytest.mark.parametrize(
    ("momentum", "plain"),
    [(MomentumLstm, Lstm), (MomentumSrn, Srn), (MomentumScornn, Scornn)],
    ids=lambda c: c.__name__,
)
def test_without_momentum_it_is_the_plain_cell(momentum, plain):
    setups = [(Setup(family=cls(hidden=6), controllers={}), more) for cls, more in ((momentum, OFF), (plain, {}))]
    packs = [setup.pack([0, 1], **more) for setup, more in setups]
    ours, want = (pack.program.layout.view(pack.params) for pack in packs)
    if "b_rec" in ours:  # the LSTM's one bias stands for both; one update, as two biases move twice as far
        want["b"] += ours["b_rec"]
    results = [train_rung(pack, 1, 1)[1]["train/loss"] for pack in packs]
    assert results[0] == pytest.approx(results[1], rel=1e-12)
    for name in want.keys() - {"b"}:
        torch.testing.assert_close(ours[name], want[name], rtol=1e-10, atol=1e-12)


OFF = {"family__mu": 0.0, "family__s": 1.0}


def test_rmsprop_is_adam_without_momentum():
    adam = Setup(family=AdamLstm(hidden=6)).pack([0], family__mu=0.0, family__s=0.4, family__beta=0.8)
    rmsprop = Setup(family=RmspropLstm(hidden=6)).pack([0], family__s=0.4, family__beta=0.8)
    for pack in (adam, rmsprop):
        train_rung(pack, 4, 1)
    assert torch.equal(adam.params, rmsprop.params)


def test_the_nesterov_sequence_restarts_at_each_rows_own_start():
    kappa = restarting(torch.tensor([3.0, 4.0]), torch.tensor([6, 4]), 6)[:, :, 0, 0]
    assert kappa[0].tolist() == pytest.approx([0, 1 / 4, 2 / 5, 0, 1 / 4, 2 / 5])
    assert kappa[1, 2:].tolist() == pytest.approx([0, 1 / 4, 2 / 5, 3 / 6])


def difference(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
    H = len(parts["w_rec"])
    h = c = torch.zeros(inputs.shape[1], H, dtype=torch.float64)
    before, found = torch.zeros(inputs.shape[1], 4 * H, dtype=torch.float64), []
    for t, u in enumerate(inputs):
        k = t % int(own["restart"]) + 1
        v = h @ parts["w_rec"] + parts["b_rec"] - own["s"] * (u @ parts["w_in"] + parts["b"])
        i, f, g, o = (v + (k - 1) / (k + 2) * (v - before)).split(H, 1)
        before = v
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        found.append(h)
    return torch.stack(found)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_the_second_published_form_equals_autograd(engine):
    hypers = [{"s": 1.0, "restart": 2}, {"s": 0.4, "restart": 40}]
    assert_equals(NesterovLstmDiff(hidden=6), difference, hypers=hypers, tolerance=1e-11, engine=engine)
