"""The look-up of symbols and its transpose against torch.nn.functional.embedding."""

from __future__ import annotations

import math

import pytest
import torch

from rnnsweep.core.embedding import collected, look_up

P, T, B, V, E = 3, 6, 4, 5, 7


def made(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(2)
    table = torch.randn(P, V, E, generator=draw, dtype=torch.float64).to(dtype)
    codes = torch.randint(-1, V, (P, T, B), generator=draw)
    return table, codes, torch.randn(P, T, B, E, generator=draw, dtype=torch.float64).to(dtype)


def test_vectors_and_sums_are_torchs() -> None:
    table, codes, g = made()
    found, sums = look_up(table, codes), collected(g, codes, V)
    for p in range(P):
        live = table[p].clone().requires_grad_()
        there = codes[p] >= 0
        true = torch.nn.functional.embedding(codes[p].clamp(min=0), live) * there[..., None]
        true.backward(g[p])
        assert torch.equal(found[p], true.detach())
        torch.testing.assert_close(sums[p], live.grad, rtol=1e-14, atol=1e-14)
    assert (codes < 0).any()


def test_derivatives_of_every_order() -> None:
    table, codes, _ = made()
    live = table.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: look_up(x, codes), (live,))
    assert torch.autograd.gradgradcheck(lambda x: look_up(x, codes).sin(), (live,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_of_a_row_are_to_the_bit_those_of_the_row_alone(dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(4)
    codes = torch.randint(0, 3, (9, 40, 13), generator=draw)  # some 170 places per code: any other order rounds
    g = torch.randn(9, 40, 13, 33, generator=draw, dtype=torch.float64).to(dtype)
    whole = collected(g, codes, 3)
    for p in (0, 4, 8):
        assert torch.equal(collected(g[p : p + 1], codes[p : p + 1], 3), whole[p : p + 1])
    one_after_another = torch.zeros(3, 33, dtype=dtype)
    for code, part in zip(codes[2].flatten().tolist(), g[2].flatten(0, 1), strict=True):
        one_after_another[code] += part
    assert torch.equal(whole[2], one_after_another)


def test_a_broken_row_stays_alone() -> None:
    table, codes, g = made()
    before = look_up(table, codes), collected(g, codes, V)
    table[1], g[1] = math.nan, math.inf
    after = look_up(table, codes), collected(g, codes, V)
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old[[0, 2]], new[[0, 2]])
    assert (after[0][1][codes[1] < 0] == 0).all()  # no symbol: zeros, whatever the table holds
