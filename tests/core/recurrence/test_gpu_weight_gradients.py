"""Gradients of weights by the gpu engine's kernel: float64's products, at sizes with edges of every kind."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.recurrence.gpu.weight_gradients import WantedWeights, weight_gradients

SIZES = [
    # P, T, B, entries of a state, of which are read, inputs, errors, of which count
    (2, 7, 10, 100, 100, 6, 100, 100),
    (1, 9, 5, 40, 20, 3, 24, 12),
    (2, 4, 3, 7, 7, 1, 7, 7),
    (1, 13, 10, 210, 210, 6, 60, 60),  # two tiles of rows
    (1, 40, 10, 16, 16, 4, 130, 130),  # three of columns
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_are_products_of_states_inputs_and_ones_with_errors(triton_interpreter, size, dtype):
    P, T, B, S, R, I, X, N = size  # noqa: E741
    rng = torch.Generator().manual_seed(0)
    h, u, errors = (
        torch.randn(P, steps, B, width, generator=rng, dtype=torch.float64).to(dtype)
        for steps, width in ((T + 1, S), (T, I), (T, X))
    )
    on_device = (h.to(triton_interpreter), u.to(triton_interpreter), errors.to(triton_interpreter))
    found = weight_gradients(*on_device, WantedWeights(R, N, bias=True))
    right = errors[..., :N].flatten(1, 2).double()
    wanted = [left.flatten(1, 2).double().transpose(1, 2) @ right for left in (h[:, :-1, :, :R], u)]
    wanted.append(right.sum(1))
    for mine, true in zip(found, wanted, strict=True):
        off = 4 * torch.finfo(dtype).eps * (T * B) ** 0.5 * float(true.abs().max())
        torch.testing.assert_close(mine.cpu().double(), true, rtol=0, atol=off)


def test_what_is_not_wanted_is_none(triton_interpreter):
    h, errors = (torch.ones(1, steps, 2, 4).to(triton_interpreter) for steps in (4, 3))
    w_rec, w_in, bias = weight_gradients(h, None, errors, WantedWeights(4, 4))
    assert (w_rec == 6).all()
    assert w_in is None
    assert bias is None


def test_sums_of_a_row_are_the_same_in_every_pack(triton_interpreter):
    h, errors = (torch.randn(3, steps, 5, 33).to(triton_interpreter) for steps in (8, 7))
    wanted = WantedWeights(33, 33, bias=True)
    whole = weight_gradients(h, None, errors, wanted)
    for p in range(3):
        alone = weight_gradients(h[p : p + 1].contiguous(), None, errors[p : p + 1].contiguous(), wanted)
        assert torch.equal(alone[0][0], whole[0][p])
        assert torch.equal(alone[2][0], whole[2][p])


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tiles_change_no_sum(triton_interpreter, size, monkeypatch):
    """Few rows are cut into more tiles."""
    P, T, B, S, R, I, X, N = size  # noqa: E741
    rng = torch.Generator().manual_seed(1)
    given = [torch.randn(P, *shape, generator=rng) for shape in ((T + 1, B, S), (T, B, I), (T, B, X))]
    given, wanted = [tensor.to(triton_interpreter) for tensor in given], WantedWeights(R, N, bias=True)
    whole = weight_gradients(*given, wanted)
    for multiprocessors in (6, 40):
        monkeypatch.setattr("rnnsweep.core.recurrence.gpu.layout.MULTIPROCESSORS", multiprocessors)
        assert all(map(torch.equal, weight_gradients(*given, wanted), whole))
