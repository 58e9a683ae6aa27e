"""Products and sums of a row are the same bits alone and in a pack, on whatever processor this runs."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core import numerics
from rnnsweep.core.recurrence.cells import _Product

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
