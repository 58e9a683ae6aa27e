"""Initialisations against torch.nn.init, their definitions, and each other across sigmas.

Draws are fixed by their keys; `ALARM` is the probability of a false alarm of one statistical check over the choice of
keys.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from rnnsweep.core import rng
from rnnsweep.core.families.cornn import CoRnn
from rnnsweep.core.inits.cayley import Cayley
from rnnsweep.core.inits.glorot import Glorot
from rnnsweep.core.inits.he import He
from rnnsweep.core.inits.identity import Identity
from rnnsweep.core.inits.normal import Normal
from rnnsweep.core.inits.orthogonal import Orthogonal
from rnnsweep.core.inits.smart_tanh import SmartTanh
from rnnsweep.core.types import ParameterSpec
from rnnsweep.errors import ConfigError

ALARM = 1e-6
H = 50
IN = ParameterSpec("w_in", (30, H), "input")
REC = ParameterSpec("w_rec", (H, H), "recurrent")
OUT = ParameterSpec("w_out", (H, 40), "output")
SPECS = (IN, REC, OUT)


def keys(P):
    return torch.tensor([rng.key(7, p, "init") for p in range(P)])


def draw(init, P=4, specs=SPECS, gain=1.0, **hypers):
    given = {name: getattr(init, name) for name in init.rows if getattr(init, name) is not None} | hypers
    rows = {name: torch.as_tensor(value, dtype=torch.float64).expand(P) for name, value in given.items()}
    return init.draw(specs, keys(P), rows, gain)


def assert_normal(values, deviation):
    assert stats.kstest(values.flatten().numpy() / deviation, "norm").pvalue > ALARM


def test_normal_has_the_stated_deviations():
    values = draw(Normal(sigma=0.3, sigma_rec=0.02), sigma_out=[0.5, math.nan, 2.0, math.nan])
    assert_normal(values["w_in"], 0.3)
    assert_normal(values["w_rec"], 0.02)
    for p, deviation in enumerate([0.5, 0.3, 2.0, 0.3]):
        assert_normal(values["w_out"][p], deviation)


def test_a_bound_makes_the_read_out_uniform_where_a_row_has_one():
    values = draw(Normal(sigma=0.3), bound_out=[0.1, math.nan, 2.0, 0.0])["w_out"]
    for row, bound in ((0, 0.1), (2, 2.0)):
        law = stats.uniform(-bound, 2 * bound)
        assert stats.kstest(values[row].flatten().numpy(), law.cdf).pvalue > ALARM
    assert torch.equal(values[1], draw(Normal(sigma=0.3))["w_out"][1])
    assert not values[3].any()
    with pytest.raises(ConfigError, match=r"init\.bound_out"):
        Normal(sigma_out=0.1, bound_out=0.1)


def test_normal_scales_one_shared_draw():
    one, other = draw(Normal(sigma=1.0)), draw(Normal(sigma=0.25))
    for name, value in one.items():
        assert torch.equal(0.25 * value, other[name])
    assert all((value == 0).all() for value in draw(Normal(sigma=0.0)).values())


def test_parameters_and_rows_are_uncorrelated():
    values = draw(Normal(sigma=1.0), specs=(REC, ParameterSpec("u_rec", (H, H), "recurrent")))
    a, b = values["w_rec"], values["u_rec"]
    for product in (a * b, a[:-1] * a[1:]):
        z = float(product.mean()) * math.sqrt(product.numel())
        assert abs(z) < stats.norm.isf(ALARM / 2)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize(
    ("init", "reference"),
    [
        (Glorot("uniform"), torch.nn.init.xavier_uniform_),
        (Glorot("normal"), torch.nn.init.xavier_normal_),
        (He(), torch.nn.init.kaiming_normal_),
    ],
    ids=["xavier_uniform", "xavier_normal", "kaiming_normal"],
)
def test_same_distribution_as_torch(init, reference, spec):
    ours = draw(init, P=20, specs=[spec], gain=1.0)[spec.name].flatten()
    generator = torch.Generator().manual_seed(0)
    options = {"nonlinearity": "linear"} if init.__class__ is He else {}
    theirs = [
        reference(torch.empty(spec.shape[::-1], dtype=torch.float64), generator=generator, **options) for _ in range(20)
    ]
    assert stats.ks_2samp(ours.numpy(), torch.stack(theirs).flatten().numpy()).pvalue > ALARM


@pytest.mark.parametrize("init", [Glorot("uniform"), Glorot("normal"), He(), Orthogonal()], ids=str)
def test_gain_is_the_activations_unless_given_and_spares_the_read_out(init):
    plain, activation = draw(init, gain=1.0), draw(init, gain=2.0)
    given = init.draw(SPECS, keys(4), {"gain": torch.full((4,), 4.0, dtype=torch.float64)}, 2.0)
    for name in ("w_in", "w_rec"):
        assert torch.allclose(activation[name], 2 * plain[name], rtol=1e-15)
        assert torch.allclose(given[name], 4 * plain[name], rtol=1e-15)
    assert torch.equal(activation["w_out"], plain["w_out"])
    assert torch.equal(given["w_out"], plain["w_out"])


def test_he_with_relus_gain_is_torchs_for_relu():
    generator = torch.Generator().manual_seed(0)
    ours = draw(He(), P=20, specs=[IN], gain=math.sqrt(2))["w_in"].flatten()
    theirs = [
        torch.nn.init.kaiming_normal_(torch.empty(H, 30, dtype=torch.float64), nonlinearity="relu", generator=generator)
        for _ in range(20)
    ]
    assert stats.ks_2samp(ours.numpy(), torch.stack(theirs).flatten().numpy()).pvalue > ALARM


def test_orthogonal_is_orthogonal_times_gain():
    gates = ParameterSpec("w_gates", (2, 8, 24), "recurrent")
    values = draw(Orthogonal(), specs=(*SPECS, gates), gain=1.5)
    eye = torch.eye(H, dtype=torch.float64)
    assert torch.allclose(values["w_rec"].mT @ values["w_rec"], 2.25 * eye, atol=1e-13)
    assert torch.allclose(values["w_in"] @ values["w_in"].mT, 2.25 * eye[:30, :30], atol=1e-13)  # wide: rows
    assert torch.allclose(values["w_out"].mT @ values["w_out"], eye[:40, :40], atol=1e-13)  # tall: columns; gain 1
    for block in values["w_gates"].split(8, dim=-1):
        assert torch.allclose(block.mT @ block, 2.25 * torch.eye(8, dtype=torch.float64), atol=1e-13)


def test_orthogonal_is_uniform_over_the_group():
    # under the Haar measure on O(3), entries are uniform in -1..1 (Archimedes) and both determinants are as likely
    values = draw(Orthogonal(), P=4000, specs=[ParameterSpec("w", (3, 3), "recurrent")])["w"]
    for i in range(3):
        for j in range(3):
            assert stats.kstest(values[:, i, j].numpy(), stats.uniform(-1, 2).cdf).pvalue > ALARM
    positive = int((torch.linalg.det(values) > 0).sum())
    assert stats.binomtest(positive, 4000).pvalue > ALARM


@pytest.mark.parametrize("axis", ["out", "in"])
@pytest.mark.parametrize("nonzeros", [1, 15, 200])
def test_smart_tanh_has_its_non_zeros_along_the_axis(axis, nonzeros):
    values = draw(SmartTanh(sparse_axis=axis, nonzeros=nonzeros))["w_rec"]
    counts = (values != 0).sum(2 if axis == "out" else 1)  # W[from, to]: out counts along `to`
    assert (counts == min(nonzeros, H)).all()


def test_smart_tanh_has_its_spectral_radius_in_every_row_and_matrix():
    gates = ParameterSpec("w_gates", (2, 30, 60), "recurrent")
    rho = [0.0, 0.5, 0.95, 1.2]
    values = draw(SmartTanh(), specs=(REC, gates), rho=rho)
    for p in range(4):
        assert np.abs(np.linalg.eigvals(values["w_rec"][p].numpy())).max() == pytest.approx(rho[p], rel=1e-10)
        for block in values["w_gates"][p].split(30, dim=-1):
            for matrix in block:
                assert np.abs(np.linalg.eigvals(matrix.numpy())).max() == pytest.approx(rho[p], rel=1e-10)


def test_smart_tanh_sparsity_is_uniform_and_values_are_gaussian():
    values = draw(SmartTanh(nonzeros=5), P=400, specs=[ParameterSpec("w", (20, 20), "recurrent")])["w"]
    assert stats.chisquare((values != 0).sum((0, 1)).numpy()).pvalue > ALARM
    one = draw(SmartTanh(nonzeros=H), P=1)["w_rec"].flatten().numpy()
    assert stats.kstest(one / np.sqrt((one**2).mean()), "norm").pvalue > ALARM


def test_smart_tanh_recurrent_weights_do_not_depend_on_sigma():
    one, other = draw(SmartTanh(sigma=1.0)), draw(SmartTanh(sigma=0.25))
    assert torch.equal(one["w_rec"], other["w_rec"])
    assert torch.equal(0.25 * one["w_in"], other["w_in"])
    assert_normal(one["w_out"], 1.0)


@pytest.mark.parametrize("axis", ["out", "in"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_smart_tanh_always_has_a_cycle_to_scale(axis, size):
    spec = ParameterSpec("w", (size, size), "recurrent")
    values = draw(SmartTanh(nonzeros=1, sparse_axis=axis), P=200, specs=[spec])["w"]
    radius = torch.linalg.eigvals(values).abs().amax(1)
    assert torch.allclose(radius, torch.full_like(radius, 0.95), rtol=1e-9)


def test_identity_is_the_scaled_identity():
    values = draw(Identity(), specs=(*SPECS, ParameterSpec("g", (4, 8), "recurrent")), scale=[1.0, 0.5, -1.0, 0.0])
    assert torch.equal(values["w_rec"][1], 0.5 * torch.eye(H, dtype=torch.float64))
    assert torch.equal(values["g"][2], -torch.eye(4, dtype=torch.float64).repeat(1, 2))
    assert_normal(values["w_in"], 0.001)
    assert_normal(values["w_out"], 0.001)


@pytest.mark.parametrize("init", [Identity(), SmartTanh()], ids=str)
def test_square_matrices_are_asked_for_by_name(init):
    with pytest.raises(ConfigError, match="w_odd is 4 x 6"):
        draw(init, specs=[ParameterSpec("w_odd", (4, 6), "recurrent")])


class TestCoRnn:
    """Its recurrent matrix is two of them, W above V, and inits of recurrent weights reach each."""

    SPECS = CoRnn(hidden=20).parameters(3, 2)

    def parts(self, init, **hypers):
        drawn = draw(init, specs=self.SPECS, **hypers)
        return drawn, (drawn["w_rec"][:, :20], drawn["w_rec"][:, 20:])

    def test_sigma_rec(self):
        small, _ = self.parts(Normal(0.1, sigma_rec=1e-3))
        plain, _ = self.parts(Normal(0.1))
        torch.testing.assert_close(small["w_rec"], plain["w_rec"] * 0.01, rtol=1e-12, atol=0)
        assert torch.equal(small["w_in"], plain["w_in"])

    def test_identity(self):
        _, parts = self.parts(Identity(0.5))
        for part in parts:
            assert torch.equal(part, 0.5 * torch.eye(20, dtype=torch.float64).expand(4, -1, -1))

    def test_smart_tanh(self):
        _, parts = self.parts(SmartTanh(rho=0.7, nonzeros=5))
        for part in parts:
            radius = torch.linalg.eigvals(part).abs().amax(-1)
            assert radius.tolist() == pytest.approx([0.7] * 4, rel=1e-9)
            assert ((part != 0).sum(2) == 5).all()

    def test_orthogonal(self):
        _, parts = self.parts(Orthogonal(1.0))
        for part in parts:
            torch.testing.assert_close(part @ part.mT, torch.eye(20).double().expand(4, -1, -1), rtol=0, atol=1e-12)

    def test_rotations(self):
        _, parts = self.parts(Cayley())
        assert not torch.equal(*parts)
        for part in parts:
            torch.testing.assert_close(part @ part.mT, torch.eye(20).double().expand(4, -1, -1), rtol=0, atol=1e-12)
            assert (part[:, 0, 2:] == 0).all()
