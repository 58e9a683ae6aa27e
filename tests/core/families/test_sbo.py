"""grad F against autograd, the three inner optimisers against an autograd network, every parameter trained."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.families.sbo import Sbo
from rnnsweep.core.recurrence import descent
from rnnsweep.core.recurrence.descent import energy_gradient
from rnnsweep.core.training import train_rung
from tests.kit.gradients import Parts, assert_equals
from tests.kit.networks import Setup


def energy(h: torch.Tensor, drive: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return ((h - torch.relu(h @ w + drive)) ** 2).sum() / 2


def test_the_energys_gradient_is_autograd():
    generator = torch.Generator().manual_seed(0)
    h, drive = (torch.randn(2, 3, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    w = torch.randn(2, 5, 5, dtype=torch.float64, generator=generator)
    live = h.clone().requires_grad_()
    (want,) = torch.autograd.grad(energy(live, drive, w), live)
    torch.testing.assert_close(energy_gradient(h @ w + drive, h, w), want, rtol=1e-12, atol=1e-12)


def states(parts: Parts, inputs: torch.Tensor, own: dict[str, float], method: str = "") -> torch.Tensor:
    H = parts["w_in"].shape[1]
    eye = torch.eye(H, dtype=torch.float64)
    w = eye + parts["u"] @ parts["v"] if "u" in parts else parts["w"] * eye
    h = torch.zeros(inputs.shape[1], H, dtype=torch.float64, requires_grad=True)
    v, found = torch.zeros(inputs.shape[1], H, dtype=torch.float64), []
    for x in inputs:
        (gradient,) = torch.autograd.grad(energy(h, x @ parts["w_in"] + parts["b"], w), h, create_graph=True)
        if method == "sgd":
            h = h - parts["eta"] * gradient
        elif method == "heavy_ball":
            v = parts["mu"] * v - parts["eta"] * gradient
            h = h + v
        else:
            before, v = v, h - parts["eta"] * gradient
            h = v + parts["mu"] * (v - before)
        found.append(h)
    return torch.stack(found)


@pytest.mark.parametrize("coupling", ["sparse", "dense"])
@pytest.mark.parametrize("method", ["sgd", "heavy_ball", "nesterov"])
def test_network_equals_autograd(method, coupling):
    family = Sbo(hidden=6, method=method, coupling=coupling, rank=2)
    assert_equals(family, lambda *args: states(*args, method=method), tolerance=1e-11)


@pytest.mark.parametrize("coupling", ["sparse", "dense"])
def test_every_parameter_is_trained(coupling):
    pack = Setup(family=Sbo(hidden=6, coupling=coupling, rank=2), sigma=0.5).pack([0])
    before = pack.row(0).params
    train_rung(pack, 3, 1)
    after = pack.row(0).params
    assert [name for name in before if torch.equal(before[name], after[name])] == []


def test_initial_numbers_are_the_configured_ones():
    found = Sbo(hidden=6, eta=0.01, mu=0.3).initial({}, (), torch.arange(2))
    assert {name: value.tolist() for name, value in found.items()} == {"eta": [[0.01]] * 2, "mu": [[0.3]] * 2}


def test_a_cell_offers_itself_by_its_method() -> None:
    assert [*descent.descent_cells()] == ["sgd", "heavy_ball", "nesterov"]
    assert Sbo.fixed["method"] == ("sgd", "heavy_ball", "nesterov")
    cell = type("SignCell", (descent.DescentCell,), {"method": "sign", "__module__": descent.__name__})
    assert descent.descent_cells()["sign"] is cell
