"""Families beyond the sources against plain autograd networks, and the identity that each promises."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import kstest, uniform

from rnnsweep.core.families.cornn import CoRnn
from rnnsweep.core.families.exprnn import ExpRnn
from rnnsweep.core.families.indrnn import IndRnn
from rnnsweep.core.families.lipschitz import Lipschitz
from rnnsweep.core.families.lru import Lru
from rnnsweep.core.families.mingru import MinGru
from rnnsweep.errors import ConfigError
from tests.kit.gradients import Parts, assert_equals

H = 6
KEYS = torch.arange(3)


def zeros(inputs: torch.Tensor, width: int = H) -> torch.Tensor:
    return torch.zeros(inputs.shape[1], width, dtype=torch.float64)


def exprnn(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
    a, h, found = parts["a_skew"].triu(1), zeros(inputs), []
    w = torch.matrix_exp(a - a.T)
    for u in inputs:
        z = u @ parts["w_in"] + h @ w
        h = torch.sign(z) * torch.relu(z.abs() + parts["act_bias"])
        found.append(h)
    return torch.stack(found)


def indrnn(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
    h, found = zeros(inputs), []
    for u in inputs:
        h = torch.relu(u @ parts["w_in"] + h * parts["w_diagonal"] + parts["b"])
        found.append(h)
    return torch.stack(found)


def mingru(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
    h, found = zeros(inputs), []
    for u in inputs:
        z, n = (u @ parts["w_in"] + parts["b"]).split(H, 1)
        h = h + z.sigmoid() * (n - h)
        found.append(h)
    return torch.stack(found)


def cornn(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
    y, z, found = zeros(inputs), zeros(inputs), []
    for u in inputs:
        force = torch.tanh(y @ parts["w_rec"][:H] + z @ parts["w_rec"][H:] + u @ parts["w_in"] + parts["b"])
        z = z + own["dt"] * (force - own["gamma"] * y - own["epsilon"] * z)
        y = y + own["dt"] * z
        found.append(y)
    return torch.stack(found)


def lipschitz(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
    h, found = zeros(inputs), []
    eye = torch.eye(H, dtype=torch.float64)
    a, w = (
        (1 - own[f"beta_{n}"]) * (m + m.T) + own[f"beta_{n}"] * (m - m.T) - own[f"gamma_{n}"] * eye
        for n, m in (("a", parts["m_a"]), ("w", parts["m_w"]))
    )
    for u in inputs:
        h = h + own["step"] * (h @ a + torch.tanh(h @ w + u @ parts["w_in"] + parts["b"]))
        found.append(h)
    return torch.stack(found)


def lru(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
    eigenvalues = torch.exp(torch.complex(-parts["nu_log"].exp(), parts["theta_log"].exp()))
    gamma = (1 - eigenvalues.abs() ** 2).sqrt()
    b = torch.complex(parts["w_in"][:, :H], parts["w_in"][:, H:])
    x, found = zeros(inputs).to(b.dtype), []
    for u in inputs:
        x = x * eigenvalues + gamma * (u.to(b.dtype) @ b)
        found.append(torch.cat((x.real, x.imag), 1))
    return torch.stack(found)


CASES = [
    (ExpRnn(hidden=H), exprnn, None),
    (IndRnn(hidden=H), indrnn, None),
    (MinGru(hidden=H), mingru, None),
    (CoRnn(hidden=H), cornn, [{"dt": 0.1, "gamma": 2.0}, {"dt": 0.5, "epsilon": 1.0}]),
    (Lipschitz(hidden=H), lipschitz, [{"step": 0.3, "beta_a": 0.6}, {"beta_w": 1.0, "gamma_w": 0.1}]),
    (Lru(hidden=H), lru, None),
]


@pytest.mark.parametrize(("family", "states", "hypers"), CASES, ids=lambda x: type(x).__name__)
def test_states_and_gradients_equal_autograd(family, states, hypers):
    assert_equals(family, states, hypers=hypers, tolerance=1e-11)


@pytest.mark.parametrize(
    "family", [ExpRnn(hidden=H), Lru(hidden=H), Lipschitz(hidden=H)], ids=lambda x: type(x).__name__
)
def test_the_change_of_the_matrix_against_differences(family):
    generator = torch.Generator().manual_seed(0)
    specs = family.parameters(3, 2)
    values = {s.name: torch.randn(2, *s.shape, dtype=torch.float64, generator=generator) for s in specs}
    step = {name: torch.cos(3 * value) for name, value in values.items()}
    hypers = {name: torch.full((2,), float(getattr(family, name)), dtype=torch.float64) for name in family.rows}
    moved = [
        family.weights({k: v + sign * 1e-6 * step[k] for k, v in values.items()}, hypers).w_rec for sign in (1, -1)
    ]
    ours = family.recurrent_step(values, hypers, step)
    torch.testing.assert_close(ours, (moved[0] - moved[1]) / 2e-6, rtol=1e-6, atol=1e-8)


def test_exprnn_starts_orthogonal_with_the_angles_of_its_init():
    family = ExpRnn(hidden=H)
    start = family.initial({}, (), KEYS)["a_skew"]
    w = family.weights({"a_skew": start, "w_in": start, "act_bias": start[:, 0]}, {}).w_rec
    assert (w.transpose(1, 2) @ w - torch.eye(H, dtype=torch.float64)).abs().max() <= 1e-12
    assert float(start.abs().max()) > math.pi / 2
    cayley = torch.zeros(1, H, H, dtype=torch.float64)
    cayley[0, 0, 1] = math.tan(0.7 / 2)
    assert float(family.initial({"a_skew": cayley}, (), KEYS[:1])["a_skew"][0, 0, 1]) == pytest.approx(0.7)


def test_lru_starts_on_its_ring():
    found = Lru(hidden=50, r_min=0.8, r_max=0.9, max_phase=1.0).initial({}, (), KEYS)
    size, angle = torch.exp(-torch.exp(found["nu_log"])), torch.exp(found["theta_log"])
    assert 0.8 <= float(size.min()) < float(size.max()) <= 0.9
    assert float(angle.max()) <= 1.0
    with pytest.raises(ConfigError, match=r"family\.r_max"):
        Lru(r_min=0.9, r_max=0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lru_takes_the_papers_ring_up_to_one(dtype):
    """Orvieto et al. (2023), eq. 8: the default of theirs is the whole disk, r_min = 0, r_max = 1."""
    family = Lru(hidden=2000, r_min=0.0, r_max=1.0)
    values = {name: value.to(dtype) for name, value in family.initial({}, (), KEYS).items()}
    values["w_in"] = torch.ones(len(KEYS), 1, 4000, dtype=dtype)
    weights = family.weights(values, {})
    size = (
        weights.w_rec.diagonal(dim1=1, dim2=2)[:, :2000] ** 2
        + weights.w_rec[:, :2000, 2000:].diagonal(dim1=1, dim2=2) ** 2
    )
    # |lambda|^2 is uniform: 2000 draws per row, false alarm 1e-6
    assert kstest(size[0].double().numpy(), uniform(0, 1).cdf).pvalue > 1e-6
    assert weights.w_in is not None
    assert float(weights.w_in.min()) > 0 and bool(torch.isfinite(values["nu_log"]).all())


def test_lipschitz_with_beta_one_is_skew_and_damped():
    family = Lipschitz(hidden=H)
    m = torch.randn(1, H, H, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one = torch.ones(1, dtype=torch.float64)
    hypers = {"beta_a": one, "beta_w": one, "gamma_a": 0.2 * one, "gamma_w": 0 * one, "step": one}
    a = family.weights({"m_a": m, "m_w": m, "w_in": m, "b": m[:, 0]}, hypers).w_rec[0, :, :H]
    torch.testing.assert_close(a + a.T, -0.4 * torch.eye(H, dtype=torch.float64))
