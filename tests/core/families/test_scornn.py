"""Identities of the scaled Cayley map, and scoRNN against an autograd network."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.families import orthogonal_maps
from rnnsweep.core.families.scornn import Scornn
from tests.kit.gradients import Parts, assert_equals

H = 9


def stored(rows: int = 3) -> torch.Tensor:
    return torch.randn(rows, H, H, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def signs(*shares: float) -> torch.Tensor:
    return orthogonal_maps.signs(torch.tensor(shares, dtype=torch.float64), H)


def test_w_is_orthogonal_with_the_sign_of_d():
    d = signs(0.0, 0.4, 1.0)
    assert (d < 0).sum(1).tolist() == [0, 4, 9]  # round(0.4 * 9) = 4
    w = orthogonal_maps.cayley(stored(), d)
    gram = w.transpose(1, 2) @ w
    assert (gram - torch.eye(H, dtype=torch.float64)).abs().max() <= 1e-12
    assert torch.linalg.det(w).round().tolist() == d.prod(1).tolist()  # det of a Cayley map is 1


def test_w_is_torchs_cayley_map_of_minus_2a_times_d():
    """torch.nn.utils.parametrizations.orthogonal(..., 'cayley') computes (I - X/2)^{-1} (I + X/2)."""
    d = signs(0.0, 0.4, 1.0)
    ours = orthogonal_maps.cayley(stored(), d)
    for row in range(3):
        layer = torch.nn.Linear(H, H, bias=False, dtype=torch.float64)
        torch.nn.utils.parametrizations.orthogonal(layer, orthogonal_map="cayley", use_trivialization=False)
        # its parametrisation takes X = tril - tril^T
        layer.parametrizations.weight.original.data.copy_((-2 * orthogonal_maps.skew(stored())[row]).tril(-1))
        torch.testing.assert_close(ours[row], layer.weight.detach() * d[row], rtol=0, atol=1e-12)


def test_gradient_is_autograd_and_the_step_is_the_derivative():
    d, a = signs(0.0, 0.4, 1.0), stored()
    g = torch.randn(3, H, H, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    live = a.clone().requires_grad_()
    w = orthogonal_maps.cayley(live, d)
    (want,) = torch.autograd.grad((w * g).sum(), live)
    torch.testing.assert_close(orthogonal_maps.cayley_pullback(d, w.detach(), g), want, rtol=1e-12, atol=1e-12)
    change = orthogonal_maps.cayley_step(d, w.detach(), g)
    difference = (orthogonal_maps.cayley(a + 1e-6 * g, d) - orthogonal_maps.cayley(a - 1e-6 * g, d)) / 2e-6
    torch.testing.assert_close(change, difference, rtol=1e-6, atol=1e-8)


def states(parts: Parts, inputs: torch.Tensor, own: dict[str, float], f=None) -> torch.Tensor:
    upper = parts["a_skew"].triu(1)
    a, eye = upper - upper.T, torch.eye(len(upper), dtype=torch.float64)
    negative = round(own["negatives"] * len(upper))
    d = torch.diag(torch.cat((torch.ones(len(upper) - negative), -torch.ones(negative))).double())
    w = torch.inverse(eye + a) @ (eye - a) @ d
    h, found = torch.zeros(inputs.shape[1], len(upper), dtype=torch.float64), []
    for u in inputs:
        z = u @ parts["w_in"] + h @ w
        h = torch.sign(z) * torch.relu(z.abs() + parts["act_bias"]) if f is None else f(z + parts["b"])
        found.append(h)
    return torch.stack(found)


def test_network_equals_autograd():
    assert_equals(Scornn(hidden=H), states, hypers=[{"negatives": 0.3}, {"negatives": 0.8}])
    assert_equals(Scornn(hidden=H, activation="tanh"), lambda *args: states(*args, f=torch.tanh))


def test_initial_angles_lie_in_the_first_quadrant():
    keys = torch.arange(4)
    family = Scornn(hidden=7)
    a = family.initial({}, (), keys)["a_skew"]
    w = orthogonal_maps.cayley(a, torch.ones(4, 7, dtype=torch.float64))
    angles = torch.linalg.eigvals(w).angle().abs()
    assert float(angles.max()) <= torch.pi / 2
    assert float(angles.max()) > 0.5
    assert family.initial({"a_skew": a}, (), keys) == {}


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_w_stays_orthogonal_through_training(engine):
    from rnnsweep.core.training import train_rung
    from tests.kit.networks import Setup

    pack = Setup(family=Scornn(hidden=8), engine=engine).pack([0, 1])
    before = pack.params.clone()
    train_rung(pack, 10, 1)
    assert not torch.equal(before, pack.params)
    values = pack.program.layout.view(pack.params)
    w = pack.program.family.weights(values, {"negatives": pack.hypers["family.negatives"]}).w_rec
    assert (w.transpose(1, 2) @ w - torch.eye(8, dtype=torch.float64)).abs().max() <= 1e-12
