"""Singular values of products of Jacobians against numpy's of powers of one matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnnsweep.core.analyses.jacobian_spectra import JacobianSpectra, product_singular_values, spaced_lags
from rnnsweep.core.families.srn import Srn
from tests.kit.networks import Setup
from tests.kit.trained import linear, no_drive, orthogonal, rows_of


def test_a_linear_map_has_those_of_its_powers():
    matrices = torch.stack([orthogonal(3) + 0.2, 0.1 * orthogonal(3, 1)])
    drives, states = no_drive(2, 9, 2, 3), torch.zeros(2, 10, 2, 3)
    found = product_singular_values(linear(matrices), states, drives, [1, 2, 9])
    for row in range(2):
        for place, lag in enumerate((1, 2, 9)):
            expected = np.log10(np.linalg.svd(np.linalg.matrix_power(matrices[row].numpy(), lag), compute_uv=False))
            assert found[row, place, 1].numpy() == pytest.approx(expected, abs=1e-9)


def test_products_that_leave_the_range_of_floats_do_not():
    found = product_singular_values(
        linear(1e-8 * torch.eye(2)[None].double()), torch.zeros(1, 101, 1, 2), no_drive(1, 100, 1, 2), [100]
    )
    assert found.flatten().tolist() == pytest.approx([-800, -800])


def test_an_orthogonal_network_has_only_ones():
    rows = rows_of(Setup(family=Srn(hidden=5, activation="identity")), w_rec=orthogonal(5))
    table = JacobianSpectra(sequences=2, lags=4).measure(rows)["singular_values"]
    for column in ("largest", "median", "rms"):
        assert table[column] == pytest.approx(0, abs=1e-12)
    assert table["lag"].tolist() == spaced_lags(rows.batch(1).inputs.shape[1], 4) * 3


def test_what_float64_cannot_tell_is_left_open():
    """diag(1, 1e-3, 1e-3)^6: the median is 1e-18 of the largest."""
    rows = rows_of(
        Setup(family=Srn(hidden=3, activation="identity")), w_rec=torch.diag(torch.tensor([1.0, 1e-3, 1e-3]))
    )
    table = JacobianSpectra(sequences=2, lags=100).measure(rows)["singular_values"]
    short, long = table["lag"] == 4, table["lag"] == 6
    assert table["median"][short] == pytest.approx(-12)
    assert np.isnan(table["median"][long]).all()


@pytest.mark.parametrize("steps", [1, 2, 30, 1000])
def test_lags_are_inside_and_have_both_ends(steps):
    lags = spaced_lags(steps, 12)
    assert lags[0] == 1 and lags[-1] == steps and len(lags) <= 12
    assert lags == sorted(set(lags))
