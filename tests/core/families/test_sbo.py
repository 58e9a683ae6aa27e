"""grad F against autograd, the three inner optimisers against an autograd network, what is trained and what is not."""

from __future__ import annotations

import math

import pytest
import torch

from rnnsweep.core.families.sbo import Sbo
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.pack import Pack
from rnnsweep.core.recurrence import descent
from rnnsweep.core.recurrence.descent import GradientDescentCell
from rnnsweep.core.training import train_rung
from rnnsweep.errors import ConfigError
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
    own = {"eta": torch.ones(2, 1, 1, dtype=torch.float64), "w_back": w}
    moved = GradientDescentCell(5).step(h @ w, drive, h, own)
    torch.testing.assert_close(h - moved, want, rtol=1e-12, atol=1e-12)


def states(parts: Parts, inputs: torch.Tensor, own: dict[str, float], method: str = "") -> torch.Tensor:
    H = parts["w_in"].shape[1]
    eye = torch.eye(H, dtype=torch.float64)
    w = eye + parts["u"] @ parts["v"] if "u" in parts else parts["w"] * eye
    h = torch.zeros(inputs.shape[1], H, dtype=torch.float64, requires_grad=True)
    v, found = torch.zeros(inputs.shape[1], H, dtype=torch.float64), []
    eta = parts["log_eta"].exp() if "log_eta" in parts else own["eta"]
    for x in inputs:
        (gradient,) = torch.autograd.grad(energy(h, x @ parts["w_in"] + parts["b"], w), h, create_graph=True)
        if method == "sgd":
            h = h - eta * gradient
        elif method == "heavy_ball":
            v = parts["mu"] * v - eta * gradient
            h = h + v
        else:
            before, v = v, h - eta * gradient
            h = v + parts["mu"] * (v - before)
        found.append(h)
    return torch.stack(found)


@pytest.mark.parametrize("coupling", ["sparse", "dense"])
@pytest.mark.parametrize("method", ["sgd", "heavy_ball", "nesterov"])
@pytest.mark.parametrize("step_size", ["frozen", "trained"])
def test_network_equals_autograd(method, coupling, step_size):
    family = Sbo(hidden=6, method=method, coupling=coupling, rank=2, step_size=step_size)
    rows = [{"eta": 0.3}, {"eta": 0.02}]
    assert_equals(family, lambda *args: states(*args, method=method), hypers=rows, tolerance=1e-11)


@pytest.mark.parametrize("step_size", ["frozen", "trained"])
@pytest.mark.parametrize("coupling", ["sparse", "dense"])
def test_every_parameter_is_trained(coupling, step_size):
    pack = Setup(family=Sbo(hidden=6, coupling=coupling, rank=2, step_size=step_size), sigma=0.5).pack([0])
    assert ("log_eta" in pack.row(0).params) == (step_size == "trained")
    before = pack.row(0).params
    train_rung(pack, 3, 1)
    after = pack.row(0).params
    assert [name for name in before if torch.equal(before[name], after[name])] == []


def test_initial_numbers_are_the_configured_ones():
    found = Sbo(hidden=6, eta=0.01, mu=0.3).initial({}, (), torch.arange(2))
    assert {name: value.tolist() for name, value in found.items()} == {"mu": [[0.3]] * 2}
    found = Sbo(hidden=6, eta=0.01, mu=0.3, step_size="trained").initial({}, (), torch.arange(2))
    assert found["log_eta"].exp().tolist() == [[pytest.approx(0.01, rel=1e-14)]] * 2


def step_sizes(family: Sbo, updates: int) -> tuple[float, float]:
    """The step size that the loop uses, before and after some updates of the preset's optimiser."""
    setup = Setup(family=family, optimizer=Adam(lr=0.01), controllers={}, sigma=0.3)
    pack = Pack(setup.program())
    state = setup.state(pack.program, 0)
    state.params |= {name: value[0] for name, value in family.initial({}, (), torch.arange(1)).items()}
    pack.join([(setup.member(0, family__eta=0.001), state)])
    hypers = {"eta": pack.hypers["family.eta"]}

    def now() -> float:
        return float(pack.program.family.weights(pack.program.layout.view(pack.params), hypers).cell["eta"])

    before = now()
    train_rung(pack, updates, 1)
    return before, now()


def test_a_frozen_step_size_stays_and_a_trained_one_stays_positive():
    """Adam moves a parameter by its rate at first: 1e-3 - 1e-2 was negative after one update."""
    assert step_sizes(Sbo(hidden=6, rank=2), 5) == (0.001, 0.001)
    before, after = step_sizes(Sbo(hidden=6, rank=2, step_size="trained"), 1)
    assert before == pytest.approx(0.001, rel=1e-12)
    assert abs(math.log(after / before)) == pytest.approx(0.01, rel=1e-2)


@pytest.mark.parametrize("step_size", ["frozen", "trained"])
def test_rows_of_other_step_sizes_are_strangers(step_size):
    setup = Setup(family=Sbo(hidden=6, rank=2, step_size=step_size), sigma=0.3)
    etas = [0.001, 0.3, 0.05]

    def trained(rows: list[int]) -> torch.Tensor:
        pack = Pack(setup.program())
        pack.join([(setup.member(p, family__eta=etas[p]), setup.state(pack.program, p)) for p in rows])
        train_rung(pack, 4, 1)
        return pack.params

    together = trained([0, 1, 2])
    assert all(torch.equal(together[p], trained([p])[0]) for p in range(3))


@pytest.mark.parametrize("bad", [0.0, -0.001])
def test_a_step_size_is_positive(bad):
    with pytest.raises(ConfigError, match=r"family\.eta"):
        Sbo(eta=bad)


def test_a_cell_offers_itself_by_its_method() -> None:
    assert [*descent.descent_cells()] == ["sgd", "heavy_ball", "nesterov"]
    assert Sbo.fixed["method"] == ("sgd", "heavy_ball", "nesterov")
    cell = type("SignCell", (descent.DescentCell,), {"method": "sign", "__module__": descent.__name__})
    assert descent.descent_cells()["sign"] is cell
