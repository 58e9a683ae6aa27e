"""Exponents against closed forms and published values: linear maps, the logistic map, Hénon's map."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rnnsweep.core.analyses.lyapunov import Lyapunov, kaplan_yorke, largest_exponent, spectrum
from rnnsweep.core.families.srn import Srn
from tests.kit.networks import Setup
from tests.kit.trained import henon, linear, logistic, no_drive, orthogonal, rows_of


def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return low + (high - low) * drawn


def test_a_linear_map_grows_by_the_logarithms_of_its_eigenvalues():
    basis = torch.eye(3) + 0.4 * orthogonal(3)
    sizes = torch.tensor([[1.2, -0.8, 0.3], [0.9, 0.5, -0.1]], dtype=torch.float64)
    matrices = torch.linalg.inv(basis) @ torch.diag_embed(sizes) @ basis
    found = spectrum(linear(matrices), no_drive(2, 160, 2, 3), uniform(2, 2, 3), 3, warmup=80)
    # after 80 steps the directions are off by at most (0.8 / 1.2)^80 = 8e-15 of themselves
    torch.testing.assert_close(found, sizes.abs().log()[:, None].expand(-1, 2, -1), rtol=0, atol=1e-9)


def test_a_rotation_neither_grows_nor_shrinks():
    found = spectrum(linear(orthogonal(4)[None]), no_drive(1, 50, 1, 4), uniform(1, 1, 4), 4)
    assert found.abs().max() < 1e-14


def test_the_logistic_map():
    """ln 2 at r = 4 (Ulam, von Neumann); at r = 3.2 the cycle's multiplier is 4 + 2 r - r^2 = 0.16 in two steps."""
    step, start = logistic([4.0, 3.2]), uniform(2, 400, 1, low=0.1, high=0.9)
    found = spectrum(step, no_drive(2, 300, 400, 1), start, 1, warmup=100)[..., 0].mean(1)
    # r = 4: an orbit's sum of log|f'| telescopes but for its ends, so 400 means over 200 steps are good to some 1e-3
    assert float(found[0]) == pytest.approx(math.log(2), abs=5e-3)
    assert float(found[1]) == pytest.approx(math.log(0.16) / 2, abs=1e-9)
    again = largest_exponent(step, no_drive(2, 1, 400, 1)[:, 0], start, 200, warmup=100).mean(1)
    torch.testing.assert_close(again, found, rtol=0, atol=1e-10)


def test_henons_map_has_the_published_spectrum():
    """a = 1.4, b = 0.3: 0.41922 and -1.62319 (Sprott 2003, appendix A): D_KY = 1.25827."""
    start = uniform(1, 400, 2, low=-0.1, high=0.1)
    found = spectrum(henon, no_drive(1, 500, 400, 2), start, 2, warmup=200).mean(1)
    assert float(found.sum()) == pytest.approx(math.log(0.3), abs=1e-12)  # |det J| = 0.3 everywhere
    assert float(found[0, 0]) == pytest.approx(0.41922, abs=3e-3)  # 120 000 steps of sd some 0.7: se 2e-3 or less
    assert float(kaplan_yorke(found)) == pytest.approx(1.25827, abs=3e-3)


def test_dimensions_at_the_edges():
    cases = torch.tensor(
        [[-0.1, -1.0], [0.5, 0.2], [0.0, -2.0], [1.0, -math.inf], [math.nan, -1.0]], dtype=torch.float64
    )
    assert kaplan_yorke(cases).tolist() == pytest.approx([0, 2, 1, 1, math.nan], nan_ok=True)


def test_directions_that_die_out_exactly():
    found = spectrum(
        linear(torch.diag(torch.tensor([0.5, 0.0])).double()[None]), no_drive(1, 4, 1, 2), uniform(1, 1, 2), 2
    )
    assert float(found[0, 0, 0]) == pytest.approx(math.log(0.5), abs=0.3)  # four steps, from a random direction
    assert float(found[0, 0, 1]) < -8  # rounding keeps it from -inf


@pytest.mark.parametrize("drive", ["task", "zero"])
def test_an_orthogonal_linear_network_has_exponents_0(drive):
    rows = rows_of(Setup(family=Srn(hidden=6, activation="identity")), (0, 1), w_rec=orthogonal(6))
    tables = Lyapunov(drive=drive, steps=40, sequences=3).measure(rows)
    assert np.abs(tables["spectrum"]["exponent"]).max() < 1e-13
    assert tables["spectrum"]["index"].tolist() == [1, 2, 3, 4, 5, 6] * 2
    assert np.abs(tables["summary"]["sum"]).max() < 1e-12


def test_some_exponents_are_the_first_ones_of_all():
    rows = rows_of()
    every, some = Lyapunov().measure(rows), Lyapunov(exponents=3).measure(rows)
    assert some["spectrum"]["exponent"].reshape(3, 3) == pytest.approx(
        every["spectrum"]["exponent"].reshape(3, 12)[:, :3], abs=0.4
    )  # over eleven steps a direction still depends on those beside it
    assert "dimension" not in some["summary"]
