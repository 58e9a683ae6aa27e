"""The exponential of skew matrices against torch's, in value, gradient and second derivative."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rnnsweep.core import numerics
from rnnsweep.core.families import exponential_map
from rnnsweep.core.families.exponential_map import ProductSquares, by_products, exponential
from rnnsweep.core.recurrence.cpu.engine.skew_exponentials import skew_exponentials

SCALES = (0.0, 0.01, 0.3, 2.0, 30.0)
"""No halvings, some, many."""


def skew(scale: float, size: int = 21, rows: int = 3, dtype=torch.float64) -> torch.Tensor:
    x = torch.randn(rows, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * scale
    return (x - x.transpose(1, 2)).to(dtype)


def through(gradient: torch.Tensor) -> torch.Tensor:
    """What a skew matrix sees of it."""
    return gradient - gradient.transpose(1, 2)


WAYS = pytest.mark.parametrize("way", [exponential, by_products])
"""As a kernel, where there is one; and by torch's products."""


@WAYS
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [1, 5, 21])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_value_and_pullback_are_those_of_torchs_in_float64(scale, size, dtype, tolerance, way):
    a = skew(scale, size, dtype=dtype)
    g = torch.randn(a.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    live = a.double().requires_grad_()
    true = torch.linalg.matrix_exp(live)
    (want,) = torch.autograd.grad((true * g).sum(), live)
    found = way(a)
    # the norm of A is as much as rounding of A itself moves its exponential
    limit = tolerance * max(1.0, float(torch.linalg.matrix_norm(live.detach(), 2).max()))
    torch.testing.assert_close(found.value.double(), true.detach(), rtol=0, atol=limit)
    ours = through(found.pullback(g.to(dtype))).double()
    torch.testing.assert_close(ours, through(want), rtol=0, atol=limit * float(want.abs().max()))
    gram = found.value.transpose(1, 2) @ found.value
    assert (gram - torch.eye(size, dtype=dtype)).abs().max() <= limit


def test_the_graph_is_the_same_function_twice_over():
    a = skew(0.5, size=4, rows=2)
    a.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: exponential(x - x.transpose(1, 2)).value, a)
    assert torch.autograd.gradgradcheck(lambda x: exponential(x - x.transpose(1, 2)).value, a)


@WAYS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_bit_depends_on_neighbours(dtype, way):
    """Rows are halved a different number of times; one of them is not finite."""
    a = torch.cat([skew(scale, rows=1, dtype=dtype) for scale in SCALES])
    g = torch.randn(a.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    sick = a.clone()
    sick[2, 0, 1] = torch.inf
    whole, beside = way(a), way(sick)
    assert len(set(whole.halvings.tolist())) >= 3
    for p in range(len(a)):
        alone = way(a[p : p + 1])
        for pack in (whole, beside) if p != 2 else (whole,):
            assert torch.equal(pack.value[p], alone.value[0])
            assert torch.equal(pack.pullback(g)[p], alone.pullback(g[p : p + 1])[0])
    assert not torch.isfinite(beside.value[2]).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_halvings_that_nobody_may_count_change_no_bit(dtype, monkeypatch):
    """Where reading a number would wait for a device, all squarings are there, and each row keeps to its own."""
    a = torch.cat([skew(scale, rows=1, dtype=dtype) for scale in SCALES[:-1]])
    g = torch.randn(a.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    monkeypatch.setattr(exponential_map, "definite_inverse", numerics.inverse)  # a device's, both times
    read = by_products(a)
    monkeypatch.setattr(numerics, "readable", lambda x: False)
    unread = by_products(a)
    assert isinstance(read.squares, ProductSquares)
    assert isinstance(unread.squares, ProductSquares)
    assert len(unread.squares.results) > len(read.squares.results)
    assert torch.equal(unread.value, read.value)
    assert torch.equal(unread.pullback(g), read.pullback(g))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_beyond_the_last_halving_the_result_is_still_orthogonal(dtype):
    a = skew(1e3, dtype=dtype)
    value = exponential(a).value
    rounding = torch.finfo(dtype).eps * float(torch.linalg.matrix_norm(a.double(), 2).max())
    assert (value.mT @ value - torch.eye(21, dtype=dtype)).abs().max() <= 10 * rounding


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_whose_elimination_asks_for_pivots_goes_the_other_way_alone(dtype, monkeypatch):
    a = torch.cat([skew(scale, rows=1, dtype=dtype) for scale in SCALES])
    g = torch.randn(a.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    fused, products = exponential(a), by_products(a)
    launch = skew_exponentials()
    forward = launch.forward
    unsteady = torch.tensor([False, True, False, True, False])
    monkeypatch.setattr(launch, "forward", lambda *given: replace(forward(*given), steady=~unsteady))
    mixed = exponential(a)
    for found, own, other in (
        (mixed.value, fused.value, products.value),
        (mixed.pullback(g), fused.pullback(g), products.pullback(g)),
    ):
        assert torch.equal(found[~unsteady], own[~unsteady])
        assert torch.equal(found[unsteady], other[unsteady])
