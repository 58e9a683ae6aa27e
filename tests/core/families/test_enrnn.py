"""Spectral radius at most 1, exact gradients for real and complex leaders, ties, the latch; a network by autograd."""

from __future__ import annotations

import math

import pytest
import torch

from rnnsweep.core import rng
from rnnsweep.core.families.enrnn import Enrnn
from rnnsweep.core.families.spectral import divided, divided_pullback, divided_step, leading
from rnnsweep.core.inits.cayley import Cayley
from rnnsweep.core.inits.normal import Normal
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.pack import Pack
from rnnsweep.core.training import train_rung
from rnnsweep.errors import ConfigError
from tests.kit.gradients import Parts, assert_equals
from tests.kit.networks import Setup

REAL = torch.tensor([[2.0, 0.3, 0.1], [0.2, -0.5, 0.4], [0.1, 0.2, 0.7]], dtype=torch.float64)
PAIR = torch.tensor([[0.5, 1.9, 0.1], [-1.7, 0.4, 0.2], [0.3, 0.1, 0.6]], dtype=torch.float64)
ON = torch.tensor([True, True])


def test_leaders_are_what_the_test_wants():
    assert torch.linalg.eigvals(REAL).abs().argmax() == torch.linalg.eigvals(REAL).real.abs().argmax()
    values = torch.linalg.eigvals(PAIR)
    assert abs(float(values[values.abs().argmax()].imag)) > 1


def test_radius_is_one_after_division():
    t = torch.stack([REAL, PAIR])
    w = divided(t, leading(t), ON)
    assert torch.linalg.eigvals(w).abs().amax(1).tolist() == pytest.approx([1.0, 1.0], abs=1e-12)


def test_gradient_and_step_against_differences():
    t = torch.stack([REAL, PAIR])
    lead = leading(t)
    assert not bool(lead.tied.any())
    g, step = torch.sin(t * 7), torch.cos(t * 5)
    moved = [divided(t + sign * 1e-6 * step, leading(t + sign * 1e-6 * step), ON) for sign in (1, -1)]
    difference = (moved[0] - moved[1]) / 2e-6
    torch.testing.assert_close(divided_step(t, lead, ON, step), difference, rtol=1e-6, atol=1e-8)
    ours = (divided_pullback(t, lead, ON, g) * step).flatten(1).sum(1)
    torch.testing.assert_close(ours, (g * difference).flatten(1).sum(1), rtol=1e-6, atol=1e-8)
    off = divided_pullback(t, lead, ~ON, g)
    assert torch.equal(off, g)


def test_tied_leaders_are_flagged_and_detached():
    t = torch.diag(torch.tensor([2.0, -2.0, 0.5], dtype=torch.float64))[None]
    lead = leading(t)
    assert lead.tied.tolist() == [True]
    g = torch.ones_like(t)
    torch.testing.assert_close(divided_pullback(t, lead, ON[:1], g), g / 2)


def mixed(n: int, sizes: torch.Tensor, seed: int) -> torch.Tensor:
    """A normal matrix with complex pairs of the given sizes in a random orthonormal basis, float64."""
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator))
    blocks = []
    for size, t in zip(sizes, torch.rand(n // 2, dtype=torch.float64, generator=generator) + 0.3, strict=True):
        blocks.append(size * torch.stack((torch.stack((t.cos(), -t.sin())), torch.stack((t.sin(), t.cos())))))
    return q @ torch.block_diag(*blocks) @ q.T


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [4, 20, 64])
def test_ties_are_found_in_the_types_own_rounding(n, dtype):
    """Equal in exact arithmetic, parted by rounding: 20 matrices each; in float32 by more than float64's tolerance."""
    tied = torch.stack([mixed(n, torch.full((n // 2,), 1.25), seed) for seed in range(20)]).to(dtype)
    sizes = torch.linalg.eigvals(tied.double()).abs()
    assert dtype is torch.float64 or float((sizes.amax(1) / sizes.amin(1) - 1).max()) > 1e-9
    assert bool(leading(tied).tied.all())


@pytest.mark.parametrize("n", [4, 20, 64])
def test_what_float32_can_tell_apart_is_no_tie(n):
    """The leader 1e-4 above the others: 26 times the tolerance at n = 64."""
    sizes = torch.full((n // 2,), 1.25).double()
    sizes[0] *= 1 + 1e-4
    lead = leading(torch.stack([mixed(n, sizes, seed) for seed in range(20)]).float())
    assert not bool(lead.tied.any())
    assert bool((lead.slope.abs().amax((1, 2)) > 0).all())


def test_a_non_finite_matrix_gives_nan_alone():
    t = torch.stack([REAL, PAIR * torch.nan])
    assert leading(t).rho.isnan().tolist() == [False, True]


def states(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
    upper = parts["a_skew"].triu(1)
    L, a, eye = len(upper), upper - upper.T, torch.eye(len(upper), dtype=torch.float64)
    negative = round(own["negatives"] * L)
    long = torch.inverse(eye + a) @ (eye - a)
    long = torch.cat((long[:, : L - negative], -long[:, L - negative :]), 1)
    rho = torch.linalg.eigvals(parts["w_short"]).abs().max()
    short = parts["w_short"] / rho if rho > 1 else parts["w_short"]
    h, k = (torch.zeros(inputs.shape[1], n, dtype=torch.float64) for n in (L, len(short)))
    found = []
    for u in inputs:
        z = u @ parts["w_in"] + parts["b"]
        h, k = torch.tanh(z[:, :L] + h @ long + k @ parts["w_cross"]), torch.tanh(z[:, L:] + k @ short)
        found.append(torch.cat((h, k), 1))
    return torch.stack(found)


def test_the_authors_start():
    """T = rotations by U(0, pi/2) times diag U(-1, 1), W_C Glorot; 96 long and 64 short units as in their script."""
    family = Enrnn(hidden=160, short=0.4)
    specs, keys = family.parameters(2, 1), torch.tensor([rng.key(7, replica, "init") for replica in range(40)])
    hypers = {"bound": torch.full((40,), 0.01, dtype=torch.float64)}
    drawn = Cayley().draw(specs, keys, hypers, 1.0)
    drawn |= family.initial(drawn, specs, keys)
    assert {spec.name for spec in specs if spec.role == "bias"} == {"act_bias", "b_out"}
    values = torch.linalg.eigvals(drawn["w_short"])
    assert not bool(leading(drawn["w_short"].float()).tied.any())
    # The largest of 32 |U(-1, 1)|: 32 / 33 on average, .03 apart; 40 of them within 4 standard errors (6e-5).
    largest = values.abs().amax(1)
    assert float(largest.max()) < 1
    assert float(largest.mean()) == pytest.approx(32 / 33, abs=4 * 0.03 / 40**0.5)
    # d e^{it} and its conjugate: 32 pairs of U(-1, 1) times a turn in the first quadrant.
    turns = (values / values.abs()).real.abs().acos()
    assert 0 <= float(turns.min()) <= float(turns.max()) <= math.pi / 2
    bound = math.sqrt(6 / (64 + 96))
    assert float(drawn["w_cross"].abs().max()) <= bound
    assert float(drawn["w_cross"].std()) == pytest.approx(bound / 3**0.5, rel=0.01)


def test_other_inits_draw_both_matrices_as_any_weight():
    family, keys = Enrnn(hidden=8), torch.tensor([1])
    specs = family.parameters(2, 1)
    drawn = Normal().draw(specs, keys, {"sigma": torch.ones(1).double()}, 1.0)
    assert set(family.initial(drawn, specs, keys)) == {"a_skew"}


def test_the_start_does_not_latch_at_once_and_its_gradient_reaches_rho():
    """Exactly orthogonal T: tied and latched by the first update, in float32 as in float64."""
    family = Enrnn(hidden=8, short=0.5)
    specs, keys = family.parameters(6, 4), torch.tensor([rng.key(7, 0, "init")])
    drawn = Cayley().draw(specs, keys, {"bound": torch.full((1,), 0.01).double()}, 1.0)
    theirs = family.initial(drawn, specs, keys)["w_short"]
    for short, count in ((drawn["w_short"] * 1.001, 1), (theirs / leading(theirs).rho * 1.001, 0)):
        for dtype in (torch.float32, torch.float64):
            slots = {name: torch.zeros(1, dtype=dtype) for name in family.slots}
            found = family.advance({"w_short": short.to(dtype)}, slots)
            assert (found["latched"].tolist(), found["tied"].tolist()) == ([1], [count])


@pytest.mark.parametrize("short", [REAL, PAIR, 0.3 * REAL], ids=["real", "pair", "inside"])
def test_network_equals_autograd(short):
    """torch differentiates eigvals(T).abs().max() itself."""
    family = Enrnn(hidden=8, short=0.375, activation="tanh")
    assert_equals(family, states, fixed={"w_short": short}, tolerance=1e-10)


def test_the_latch_stays_and_without_it_normalisation_follows_the_radius():
    big, small = {"w_short": REAL[None]}, {"w_short": 0.1 * REAL[None]}
    for latch in (True, False):
        family = Enrnn(hidden=8, short=0.375, latch=latch)
        slots = {name: torch.zeros(1, dtype=torch.float64) for name in family.slots}
        assert family.advance(small, slots)["latched"].tolist() == [0]
        after = family.advance(big, slots)
        assert after["latched"].tolist() == [float(latch)]
        _, on = family._normalised(small, after)
        assert on.tolist() == [latch]


def test_radius_stays_at_most_one_through_training_and_the_latch_travels_with_the_row():
    setup = Setup(family=Enrnn(hidden=8), sigma=0.8)
    pack = setup.pack([0, 1])
    train_rung(pack, 8, 1)
    assert pack.slots["family.latched"].tolist() == [1, 1]
    assert float(pack.row(0).slots["family.latched"]) == 1
    hypers = {
        name: pack.hypers.get(f"family.{name}", pack.slots.get(f"family.{name}")) for name in ("negatives", "latched")
    }
    family = pack.program.family
    w = family.weights(pack.program.layout.view(pack.params), hypers).w_rec[:, family.n_long :, family.n_long :]
    assert float(torch.linalg.eigvals(w).abs().max()) <= 1 + 1e-12


def test_steps_with_tied_eigenvalues_are_reported():
    """T = 2 I has four equal leading eigenvalues: no gradient through rho, and T / rho = I stays as it is."""
    setup = Setup(family=Enrnn(hidden=8, short=0.5), optimizer=Sgd(lr=0.0), sigma=0.3)
    pack = Pack(setup.program())
    states = [setup.state(pack.program, replica) for replica in (0, 1)]
    states[0].params["w_short"] = 2 * torch.eye(4, dtype=torch.float64)
    pack.join([(setup.member(replica), state) for replica, state in enumerate(states)])
    found = [[row["weights/tied"] for row in train_rung(pack, 3, 1)] for _ in range(2)]
    assert found == [[3, 0], [6, 0]]


def test_an_empty_state_is_refused():
    with pytest.raises(ConfigError, match=r"family\.short"):
        Enrnn(hidden=4, short=0.05)
