"""Sums, norms and roots in compiled lanes, beside float64 and torch."""

from __future__ import annotations

import math

import pytest
import torch

from rnnsweep.core import kernels, numerics
from rnnsweep.core.cpu import numbers
from rnnsweep.core.optimizers import base

SIZES = (1, 2, 63, 64, 65, 128, 1000, 11136)
DTYPES = [torch.float32, torch.float64]


def rows(P: int, N: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(P, N, generator=torch.Generator().manual_seed(N), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N", SIZES)
def test_sums_are_right_and_those_of_the_row_alone(N, dtype):
    x = rows(5, 2 * N, dtype)[:, N:]  # with gaps, as a parameter of a slab
    found, exact = numerics.square_sum(x), (x.double() ** 2).sum(1)
    # a lane adds N / 64 squares, six halvings follow, and each square is rounded: |error| <= n eps sum, n the additions
    bound = (N / numbers.LANES + 8) * torch.finfo(dtype).eps
    assert ((found.double() - exact).abs() <= bound * exact).all()
    assert torch.equal(numerics.row_norm(x), found.double().sqrt().to(dtype))
    for p in range(5):
        assert torch.equal(numerics.square_sum(x[p : p + 1].clone()), found[p : p + 1])


@pytest.mark.parametrize("power", [-140, -100, 80, 127])
def test_norms_at_the_ends_of_float32(power):
    x = rows(3, 100, torch.float32) / 16
    scaled = (x.double() * 2.0**power).float()
    wanted = (scaled.double() ** 2).sum(1).sqrt()
    # or as near as subnormal numbers lie
    torch.testing.assert_close(numerics.row_norm(scaled).double(), wanted, rtol=1e-6, atol=2.0**-149)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_in_its_row(bad):
    x = rows(3, 100, torch.float32)
    x[1, 70] = bad
    assert torch.isfinite(numerics.row_norm(x)).tolist() == [True, False, True]
    assert numerics.rows_finite(x).tolist() == [True, False, True]
    assert numerics.rows_finite(torch.full((2, 100), 3e38)).all(), "their sum is not, and is not asked for"
    assert numerics.row_norm(torch.zeros(2, 3)).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_roots_are_rounded_once(dtype):
    x = rows(4, 1000, dtype).abs()
    found = base.root(x)
    assert found.tolist() == torch.tensor([[math.sqrt(v) for v in row] for row in x.tolist()]).to(dtype).tolist()


def test_corrections_are_those_of_torch_but_for_their_last_bit():
    beta = torch.tensor([[0.0], [0.9], [0.999], [1 - 2.0**-24]], dtype=torch.float64)
    taken = torch.tensor([[0.0], [3.0], [100.0], [7.0]], dtype=torch.float64)
    wanted = 1 - beta ** (taken + 1)
    torch.testing.assert_close(base.correction(beta, taken), wanted, rtol=1e-8, atol=0)
    assert base.correction(beta, taken)[0] == 1


def test_without_kernels_torch_does_it(monkeypatch):
    x = rows(3, 1000, torch.float32)
    found = numerics.row_norm(x)
    monkeypatch.setattr(kernels, "_compiled", lambda what: None)
    torch.testing.assert_close(numerics.row_norm(x), found, rtol=1e-6, atol=0)
    assert torch.equal(numerics.square_sum(x), (x * x).sum(1))


def test_what_has_a_derivative_or_another_type_is_torchs():
    x = rows(3, 10, torch.float64).requires_grad_()
    assert numerics.row_norm(x).requires_grad
    assert numerics.row_norm(x.half().detach()).dtype == torch.float16
