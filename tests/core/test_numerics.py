"""Products and sums of a row are the same bits alone and in a pack, on whatever processor this runs."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core import numerics
from rnnsweep.core.controllers.omega import Omega, full_gradient
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.recurrence.cells import _Product
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from tests.kit.networks import Setup, context_of

SIZES = (1, 2, 3, 4, 9, 12, 16, 36, 50, 100, 208)


def rows(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    numbers = torch.linspace(-3, 3, torch.Size(shape).numel(), dtype=torch.float64)
    return (numbers * 37.1).sin().view(shape).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("M", [1, 2, 4, 10, 36])
@pytest.mark.parametrize("name", ["matmul", "product"])
def test_a_product_is_the_same_bits_alone_and_in_a_pack(name, M, dtype):
    def multiply(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return numerics.matmul(left, right) if name == "matmul" else _Product(right)(left)

    for K in SIZES:
        for N in (1, 4, 16, 50, 100):
            left, right = rows(3, M, K, dtype=dtype), rows(3, K, N, dtype=dtype)
            # The other order of memory too; for one line both are legal strides of the same contiguous numbers.
            other = left.as_strided(left.shape, (K, 1, 1)) if M == 1 else left.mT.contiguous().mT
            for same in (left, other):
                pack = multiply(same, right)
                for row in range(3):
                    alone = multiply(same[row : row + 1], right[row : row + 1])
                    assert torch.equal(pack[row], alone[0]), (M, K, N, row)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_are_the_same_bits_alone_and_in_a_pack(dtype):
    for M in SIZES:
        for N in SIZES:
            x = rows(3, M, N, dtype=dtype)
            for row in range(3):
                alone = x[row : row + 1]
                assert torch.equal(numerics.row_sum(x)[row], numerics.row_sum(alone)[0]), (M, N)
                assert torch.equal(numerics.square_sum(x[:, 0])[row], numerics.square_sum(alone[:, 0])[0]), N
                assert torch.equal(numerics.row_norm(x[:, 0])[row], numerics.row_norm(alone[:, 0])[0]), N


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_plain_sums_are_the_same_bits_alone_and_in_a_pack(dtype):
    """Sums of torch's own that the core relies on: over the mini-batch of [P, B, H], and over what follows the row.

    They are sums of vectors, entry by entry, in an order that the summed sizes alone decide.
    """
    for B in (*SIZES, 64, 1000):
        for H in (*SIZES, 7, 17):
            # As the loops hand them over: without gaps, a step of a longer record, the units of a padded record.
            whole = rows(3, B, H, dtype=dtype)
            step = rows(3, 2, B, H, dtype=dtype)[:, 0]
            gaps = rows(3, B, H + 5, dtype=dtype)[..., :H]
            for x in (whole, step, gaps):
                sums = x.sum(1), x.sum(-1), x.flatten(1).sum(1)
                for row in range(3):
                    one = x[row : row + 1]
                    alone = one.sum(1), one.sum(-1), one.flatten(1).sum(1)
                    assert all(torch.equal(a[row], b[0]) for a, b in zip(sums, alone, strict=True)), (B, H, row)


def derivatives(left: torch.Tensor, right: torch.Tensor) -> list[torch.Tensor]:
    """Of a product weighted by its own size, and of the size of these."""
    live = [left.clone().requires_grad_(), right.clone().requires_grad_()]
    out = numerics.matmul(*live)
    first = torch.autograd.grad(out, live, out.detach(), create_graph=True)
    second = torch.autograd.grad(first, live, [part.detach() for part in first])
    return [*(part.detach() for part in first), *second]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("M", [1, 2, 10, 36])
def test_derivatives_of_a_product_are_the_same_bits_alone_and_in_a_pack(M, dtype):
    for K in SIZES:
        for N in (1, 4, 50):
            left, right = rows(3, M, K, dtype=dtype), rows(3, K, N, dtype=dtype)
            pack = derivatives(left, right)
            for row in range(3):
                alone = derivatives(left[row : row + 1], right[row : row + 1])
                assert all(torch.equal(a[row], b[0]) for a, b in zip(pack, alone, strict=True)), (M, K, N, row)


def test_a_product_in_a_graph_never_reaches_torchs_own_derivative() -> None:
    """So that the bits above do not depend on which sizes a processor's library rounds differently."""
    left, right = (x.requires_grad_() for x in (rows(2, 3, 5, dtype=torch.float64), rows(2, 5, 7, dtype=torch.float64)))
    assert numerics.matmul(left, right).grad_fn.name() == "_RowwiseMatmulBackward"  # type: ignore[union-attr]
    assert torch.autograd.gradcheck(numerics.matmul, (left, right))
    assert torch.autograd.gradgradcheck(numerics.matmul, (left, right))
    with torch.no_grad():
        assert numerics.matmul(left, right).grad_fn is None


@pytest.mark.parametrize("state", ["post", "pre"])
def test_omegas_full_gradient_is_the_same_bits_alone_and_in_a_pack(state):
    def gradients(members: list[int]) -> dict[str, torch.Tensor]:
        omega = Omega(1.0, state=state, gradient="full")
        setup = Setup(family=Srn(7), task=TemporalOrder(length=10), controllers={"omega": omega}, batch=5, sigma=0.5)
        _, context = context_of(setup.pack(members), "controllers.omega")
        return full_gradient(omega, context)

    pack = gradients([0, 1, 2])
    for row in range(3):
        alone = gradients([row])
        assert all(torch.equal(alone[name][0], pack[name][row]) for name in pack), row


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_inverse_is_the_same_bits_alone_and_in_a_pack(dtype):
    for N in SIZES[:-1]:
        x = rows(3, N, N, dtype=dtype) + 4 * torch.eye(N, dtype=dtype)
        pack = numerics.inverse(x)
        torch.testing.assert_close(pack @ x, torch.eye(N, dtype=dtype).expand(3, N, N), rtol=0, atol=1e-4)
        sick = x.clone()
        sick[1] = 0  # singular
        beside = numerics.inverse(sick)
        for row in range(3):
            assert torch.equal(pack[row], numerics.inverse(x[row : row + 1])[0]), (N, row)
            assert row == 1 or torch.equal(pack[row], beside[row]), (N, row)
        assert torch.isnan(beside[1]).all()


def test_an_inverse_can_be_differentiated_twice():
    x = (rows(2, 3, 3, dtype=torch.float64) / 3 + 2 * torch.eye(3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(numerics.inverse, x)
    assert torch.autograd.gradgradcheck(numerics.inverse, x)
