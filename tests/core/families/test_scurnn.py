"""Unitarity, gradients against an autograd network in complex arithmetic and against differences."""

from __future__ import annotations

import math

import torch

from rnnsweep.core.families.scurnn import Scurnn
from rnnsweep.core.families.unitary_map import UnitaryParameters
from rnnsweep.core.families.unitary_map import unitary as mapped_unitary
from tests.kit.gradients import Parts, assert_equals

H = 6


def values(rows: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"a_skew": (H, H), "a_symmetric": (H, H), "theta": (H,)}
    return {k: torch.randn(rows, *s, dtype=torch.float64, generator=generator) for k, s in shapes.items()}


def unitary(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    return mapped_unitary(UnitaryParameters(**parts))


def plain(parts: Parts) -> torch.Tensor:
    s, y = parts["a_skew"].triu(1), parts["a_symmetric"].triu(1)
    a = torch.complex(s - s.T, y + y.T + torch.diag(parts["a_symmetric"].diagonal()))
    eye = torch.eye(H, dtype=a.dtype)
    return torch.inverse(eye + a) @ (eye - a) @ torch.diag(torch.exp(1j * parts["theta"]))


def states(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
    w = plain(parts)
    h = torch.complex(parts["h0"][:H], parts["h0"][H:]).expand(inputs.shape[1], H)
    w_in, found = torch.complex(parts["w_in"][:, :H], parts["w_in"][:, H:]), []
    for u in inputs:
        z = u.to(w_in.dtype) @ w_in + h @ w
        size = (z.real**2 + z.imag**2 + 1e-5).sqrt()
        h = z * torch.relu(size + parts["act_bias"]) / (size + 1e-5)
        found.append(torch.cat((h.real, h.imag), 1))
    return torch.stack(found)


def test_w_is_unitary_and_its_real_form_acts_as_it():
    mapped = unitary(values())
    for row in range(2):
        w = plain({k: v[row] for k, v in values().items()})
        assert (w.mH @ w - torch.eye(H)).abs().max() <= 1e-12
        z = torch.complex(torch.ones(H, dtype=torch.float64), torch.arange(H, dtype=torch.float64))
        ours = torch.cat((z.real, z.imag)) @ mapped[row]
        torch.testing.assert_close(torch.complex(ours[:H], ours[H:]), z @ w, rtol=0, atol=1e-12)
    gram = mapped.transpose(1, 2) @ mapped
    assert (gram - torch.eye(2 * H, dtype=torch.float64)).abs().max() <= 1e-12


def test_network_equals_complex_autograd():
    assert_equals(Scurnn(hidden=H), states, tolerance=1e-11)


def test_the_maps_derivative_against_differences():
    family, at = Scurnn(hidden=H), values()
    step = {k: torch.cos(v) for k, v in at.items()}
    ours = family.recurrent_step(at, {}, step)
    moved = [unitary({k: v + sign * 1e-6 * step[k] for k, v in at.items()}) for sign in (1, -1)]
    torch.testing.assert_close(ours, (moved[0] - moved[1]) / 2e-6, rtol=1e-6, atol=1e-8)


def test_initial_phases_and_states():
    found = Scurnn(hidden=200).initial({}, (), torch.arange(3))
    assert float(found["h0"].abs().max()) <= 0.01
    assert float(found["theta"].min()) >= 0 and float(found["theta"].max()) <= 2 * math.pi
    # mean of 600 uniforms on (0, 2 pi): deviation 0.074; 5 sigma, false alarm 6e-7
    assert abs(float(found["theta"].mean()) - math.pi) < 0.37
