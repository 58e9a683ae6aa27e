"""Fixed points against closed forms: the pitchfork of tanh at gain 1, a rotation, the ghost of a saddle-node."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from rnnsweep.core.analyses.fixed_points import FixedPoints
from rnnsweep.core.families.srn import Srn
from tests.kit.networks import Setup
from tests.kit.trained import linear, rows_of

SEARCH = FixedPoints()


def grid(rows: int, size: float = 1.5) -> torch.Tensor:
    """49 starts in the plane, the same ones for every row."""
    line = torch.linspace(-size, size, 7, dtype=torch.float64) + 0.013  # not on a symmetry axis
    return torch.cartesian_prod(line, line).expand(rows, -1, -1)


def test_the_pitchfork_of_two_tanh_units_at_gain_1():
    """h_i = tanh(g h_i): 0 alone for g <= 1, else 0 and +-a; two units have all pairs, with eigenvalues g (1 - h^2)."""
    gains = torch.tensor([0.9, 1.1, 2.0], dtype=torch.float64)

    def step(state, drive):
        return torch.tanh(gains[:, None, None] * state) + 0 * drive

    found = SEARCH.search(step, grid(3), torch.zeros(3, 1, 2, dtype=torch.float64))
    assert found.exists.sum(1).tolist() == [1, 9, 9]
    assert (found.exists & (found.unstable == 0)).sum(1).tolist() == [1, 4, 4]
    assert (found.exists & (found.unstable == 2)).sum(1).tolist() == [0, 1, 1]
    for row, g in ((1, 1.1), (2, 2.0)):
        a = brentq(lambda h, g=g: math.tanh(g * h) - h, 0.1, 1.0, xtol=1e-15)
        points = found.states[row][found.exists[row]].numpy()
        assert sorted(set(np.round(points.ravel(), 9) + 0.0)) == pytest.approx([-a, 0, a], abs=1e-9)
        slopes = np.sort(g * (1 - points**2), axis=1)[:, ::-1]
        values = found.eigenvalues[row][found.exists[row]].real.numpy()
        assert values == pytest.approx(slopes, abs=1e-8)
    assert found.arrived.sum(1).tolist() == pytest.approx([1, 1, 1])


def test_a_rotation_that_shrinks_has_one_point_and_its_own_eigenvalues():
    angle, size = 0.7, 0.9
    turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    drive = torch.tensor([[[0.3, -0.2]]], dtype=torch.float64)
    found = SEARCH.search(linear(size * turn[None]), grid(1), drive)
    assert found.exists.sum() == 1
    expected = torch.linalg.solve(torch.eye(2, dtype=torch.float64) - size * turn.T, drive[0, 0])  # h = h M + d
    torch.testing.assert_close(found.states[0, 0], expected, rtol=0, atol=1e-12)
    values = sorted(found.eigenvalues[0, 0].tolist(), key=lambda z: z.imag)
    assert values == pytest.approx([cmath.rect(size, -angle), cmath.rect(size, angle)], abs=1e-12)


def test_the_ghost_of_a_saddle_node_is_a_slow_point():
    """h + h^2 + e has no fixed point for e > 0; its speed is least at 0, where q = e^2 / 2."""
    e = 1e-4
    starts = torch.linspace(-0.2, 0.2, 5, dtype=torch.float64)[None, :, None]
    found = SEARCH.search(lambda h, d: h + h * h + e + 0 * d, starts, torch.zeros(1, 1, 1, dtype=torch.float64))
    assert found.exists.sum() == 1
    assert float(found.speed[0, 0]) == pytest.approx(e**2 / 2, rel=1e-3)
    assert float(found.states[0, 0, 0]) == pytest.approx(0, abs=1e-3)
    assert float(found.speed[0, 0]) > SEARCH.tolerance


def test_a_row_that_has_diverged_changes_no_other():
    matrices = torch.stack([0.5 * torch.eye(2), torch.full((2, 2), math.nan)]).double()
    found = SEARCH.search(linear(matrices), grid(2), torch.zeros(2, 1, 2, dtype=torch.float64))
    alone = SEARCH.search(linear(matrices[:1]), grid(1), torch.zeros(1, 1, 2, dtype=torch.float64))
    assert found.exists.sum(1).tolist() == [1, 0]
    assert torch.equal(found.states[0], alone.states[0])


def test_tables_of_a_network_whose_points_are_known():
    """w_rec = 2 and no other weights: every unit by itself is at -a, 0 or a; from 0 no search moves."""
    H = 3
    rows = rows_of(Setup(family=Srn(hidden=H)), (0, 1), w_rec=2 * torch.eye(H), b=torch.zeros(H))
    tables = FixedPoints(starts=16, sequences=4).measure(rows)
    points = tables["points"]
    assert set(points["kind"]) == {"fixed"}
    assert set(points["row"]) == {0, 1}
    values = tables["eigenvalues"]
    assert len(values["row"]) == H * len(points["row"])
    a = brentq(lambda h: math.tanh(2 * h) - h, 0.5, 1.0, xtol=1e-15)
    allowed = np.array([2.0, 2 * (1 - a * a)])
    assert np.abs(values["modulus"][:, None] - allowed).min(1) == pytest.approx(0, abs=1e-7)
    counted = points["norm"] ** 2 / a**2  # units that are at +-a
    assert points["unstable"] == pytest.approx(H - counted, abs=1e-6)
