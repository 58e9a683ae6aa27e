"""Families that discretise differential equations against their sources' formulas under autograd; their promises."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.families.antisymmetric import Antisymmetric
from rnnsweep.core.families.lem import Lem
from rnnsweep.core.families.linoss import LinOss
from rnnsweep.core.families.unicornn import UnICoRnn
from tests.kit.gradients import Parts, assert_equals

H = 6
Own = dict[str, float]


def zeros(inputs: torch.Tensor) -> torch.Tensor:
    return torch.zeros(inputs.shape[1], H, dtype=torch.float64)


def antisymmetric(parts: Parts, inputs: torch.Tensor, own: Own) -> torch.Tensor:
    h, found = zeros(inputs), []
    a = parts["m"] - parts["m"].T - own["gamma"] * torch.eye(H, dtype=torch.float64)
    for u in inputs:
        h = h + own["step"] * torch.tanh(h @ a + u @ parts["w_in"] + parts["b"])
        found.append(h)
    return torch.stack(found)


def gated_antisymmetric(parts: Parts, inputs: torch.Tensor, own: Own) -> torch.Tensor:
    h, found = zeros(inputs), []
    a = parts["m"] - parts["m"].T - own["gamma"] * torch.eye(H, dtype=torch.float64)
    (v_z, v_h), (b_z, b_h) = parts["w_in"].split(H, 1), parts["b"].split(H)
    for u in inputs:
        z = torch.sigmoid(h @ a + u @ v_z + b_z)
        h = h + own["step"] * z * torch.tanh(h @ a + u @ v_h + b_h)
        found.append(h)
    return torch.stack(found)


def lem(parts: Parts, inputs: torch.Tensor, own: Own) -> torch.Tensor:
    y, z, found = zeros(inputs), zeros(inputs), []
    w_1, w_2, w_z = parts["w_rec"].split(H, 1)
    v_1, v_2, v_z, v_y = parts["w_in"].split(H, 1)
    b_1, b_2, b_z, b_y = parts["b"].split(H)
    for u in inputs:
        t = own["dt"] * torch.sigmoid(y @ w_1 + u @ v_1 + b_1)
        bar = own["dt"] * torch.sigmoid(y @ w_2 + u @ v_2 + b_2)
        z = (1 - t) * z + t * torch.tanh(y @ w_z + u @ v_z + b_z)
        y = (1 - bar) * y + bar * torch.tanh(z @ parts["w_y"] + u @ v_y + b_y)
        found.append(y)
    return torch.stack(found)


def unicornn(parts: Parts, inputs: torch.Tensor, own: Own) -> torch.Tensor:
    y, z, found = zeros(inputs), zeros(inputs), []
    for u in inputs:
        pace = own["dt"] * (0.5 + 0.5 * torch.tanh(parts["c"] / 2))
        z = z - pace * (torch.tanh(parts["w"] * y + u @ parts["w_in"] + parts["b"]) + own["alpha"] * y)
        y = y + pace * z
        found.append(y)
    return torch.stack(found)


def implicit(parts: Parts, inputs: torch.Tensor, own: Own) -> torch.Tensor:
    """x_t solves (I + dt [[0, A], [-I, 0]]) [z_t, y_t] = [z_{t-1}, y_{t-1}] + dt [B u_t, 0], unit by unit."""
    a, dt = torch.relu(parts["a"]), torch.sigmoid(parts["pace"])
    one, zero = torch.ones_like(a), torch.zeros_like(a)
    system = torch.stack((torch.stack((one, dt * a), 1), torch.stack((-dt, one), 1)), 1)  # H 2 2
    x, found = torch.zeros(inputs.shape[1], H, 2, dtype=torch.float64), []
    for u in inputs:
        right = x + torch.stack((dt * (u @ parts["w_in"]), (zero * x[..., 0])), 2)
        x = torch.linalg.solve(system, right[..., None])[..., 0]
        found.append(x[..., 1])
    return torch.stack(found)


def implicit_explicit(parts: Parts, inputs: torch.Tensor, own: Own) -> torch.Tensor:
    """x_t = M x_{t-1} + F_t with M = [[I, -dt A], [dt I, I - dt^2 A]], F_t = [dt B u_t, dt^2 B u_t]."""
    a, dt = torch.relu(parts["a"]), torch.sigmoid(parts["pace"])
    z, y, found = zeros(inputs), zeros(inputs), []
    for u in inputs:
        drive = u @ parts["w_in"]
        z, y = z - dt * a * y + dt * drive, dt * z + (1 - dt**2 * a) * y + dt**2 * drive
        found.append(y)
    return torch.stack(found)


CASES = {
    "antisymmetric": (Antisymmetric(H), antisymmetric, [{"step": 0.3}, {"step": 1.0, "gamma": 0.5}]),
    "gated": (Antisymmetric(H, gated=True), gated_antisymmetric, [{"step": 0.3}, {"step": 1.0, "gamma": 0.5}]),
    "lem": (Lem(H), lem, [{"dt": 1.0}, {"dt": 0.3}]),
    "unicornn": (UnICoRnn(H), unicornn, [{"dt": 0.3}, {"dt": 0.5, "alpha": 0.7}]),
    "linoss im": (LinOss(H, scheme="im"), implicit, None),
    "linoss imex": (LinOss(H, scheme="imex"), implicit_explicit, None),
}


@pytest.mark.parametrize("name", CASES)
def test_states_and_gradients_equal_autograd(name):
    family, states, hypers = CASES[name]
    assert_equals(family, states, hypers=hypers, tolerance=1e-11)


def test_oscillators_with_a_stiffness_below_zero_are_free_and_their_stiffness_is_not_trained():
    free = torch.linspace(-1, 1, H, dtype=torch.float64)
    assert_equals(LinOss(H, scheme="im"), implicit, fixed={"a": free}, tolerance=1e-11)


def test_the_antisymmetric_matrix_has_the_real_parts_that_its_damping_says():
    values = {"m": torch.randn(3, H, H, dtype=torch.float64), "w_in": torch.zeros(3, 1, H, dtype=torch.float64)}
    gamma = torch.tensor([0.0, 0.3, 2.0], dtype=torch.float64)
    a = Antisymmetric(H).weights(values, {"gamma": gamma, "step": gamma}).w_rec
    real = torch.linalg.eigvals(a).real
    torch.testing.assert_close(real, -gamma[:, None].expand(3, H), rtol=0, atol=1e-13)


@pytest.mark.parametrize("stiffness", [0.25, 1.0, 3.9])
def test_imex_conserves_and_im_loses(stiffness):
    """The eigenvalues of one step without inputs: on the unit circle, or 1 / (1 + dt^2 A) its squared modulus."""
    values = {"a": torch.full((1, H), stiffness), "pace": torch.linspace(-3, 3, H)[None]}
    values = {name: value.double() for name, value in values.items()} | {"w_in": torch.zeros(1, 1, H).double()}
    for scheme in ("im", "imex"):
        family = LinOss(H, scheme=scheme)
        own = {name: value[:, None] for name, value in family.weights(values, {}).cell.items()}
        eye = torch.eye(2 * H, dtype=torch.float64)[None]
        step = family.cell.step(eye[..., :0], torch.zeros(1, 2 * H, H, dtype=torch.float64), eye, own)[0]
        size = torch.linalg.eigvals(step).abs() ** 2
        dt = torch.sigmoid(values["pace"][0])
        wanted = 1 / (1 + dt**2 * stiffness) if scheme == "im" else torch.ones(H, dtype=torch.float64)
        torch.testing.assert_close(size.sort()[0], wanted.repeat(2).sort()[0], rtol=1e-12, atol=1e-12)


def test_the_first_values_are_those_of_the_sources():
    keys = torch.arange(3)
    found = UnICoRnn(hidden=400).initial({}, (), keys)
    assert 0 <= float(found["w"].min()) < 0.05 < 0.95 < float(found["w"].max()) <= 1
    assert -0.1 <= float(found["c"].min()) < -0.09 < 0.09 < float(found["c"].max()) <= 0.1
    found = LinOss(hidden=400, stiffness=2.0).initial({}, (), keys)
    assert 0 <= float(found["a"].min()) < 0.1 < 1.9 < float(found["a"].max()) <= 2
    assert 0 <= float(found["pace"].min()) < 0.05 < 0.95 < float(found["pace"].max()) <= 1
