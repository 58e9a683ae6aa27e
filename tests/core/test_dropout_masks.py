"""Masks of dropout: their rate, their independence, their addresses, and that no device changes one."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core import rng
from rnnsweep.core.dropout_masks import MaskDraws


def draws(rows: int = 3, *, step: int = 5, batch: int = 4, compiled: bool = True) -> MaskDraws:
    keys = torch.tensor([rng.key(0, p, "dropout") for p in range(rows)])
    return MaskDraws(keys, torch.full((rows,), step), batch, compiled=compiled)


def rates(*values: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("K", [1, 7, 8, 9, 100])
def test_the_compiled_loop_makes_the_numbers_of_plain_torch(K: int, dtype: torch.dtype) -> None:
    rate = rates(0.0, 0.3, 0.99, dtype=dtype)
    one, other = draws(), draws(compiled=False)
    assert torch.equal(one.steps("a", rate, 6, K), other.steps("a", rate, 6, K))
    assert torch.equal(one.sequences("a", rate, K), other.sequences("a", rate, K))
    assert torch.equal(one.weights("a", rate, (5, K)), other.weights("a", rate, (5, K)))
    assert torch.equal(one.zones("a", rate, 6, K), other.zones("a", rate, 6, K))
    assert one.steps("a", rate, 6, K).dtype == dtype


def test_rate_0_is_a_factor_of_exactly_1() -> None:
    none = rates(0.0, 0.0, 0.0)
    assert (draws().steps("a", none, 20, 50) == 1).all()
    assert (draws().zones("a", none, 20, 50) == 0).all()


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.9])
def test_as_many_entries_are_dropped_as_the_rate_says(rate: float) -> None:
    """360 000 decisions: the share lies within 5 standard deviations; a false alarm has probability 6e-7."""
    mask = draws().steps("a", rates(rate, rate, rate), 300, 100)
    share, n = (mask == 0).double().mean(), mask.numel()
    assert abs(share - rate) <= 5 * (rate * (1 - rate) / n) ** 0.5 + 2**-17
    assert torch.allclose(mask[mask != 0], rates(1 / (1 - rate)))


def test_neighbouring_decisions_are_independent() -> None:
    """Correlations along every axis, of 120 000 decisions each: within 5 / sqrt(n); a false alarm: 6e-7 each."""
    rate = rates(0.5, 0.5, 0.5)
    mask = draws(batch=8).steps("a", rate, 50, 100) - 1
    for axis in range(4):
        n = mask.shape[axis]
        left, right = mask.narrow(axis, 0, n - 1), mask.narrow(axis, 1, n - 1)
        assert abs((left * right).mean()) <= 5 / left.numel() ** 0.5, axis
    for other in (
        draws(batch=8, step=6).steps("a", rate, 50, 100),
        draws(batch=8).steps("b", rate, 50, 100),
        draws(batch=8).of_layer(2).steps("a", rate, 50, 100),
    ):
        assert abs((mask * (other - 1)).mean()) <= 5 / mask.numel() ** 0.5


def test_a_mask_is_a_function_of_its_address() -> None:
    """Of the row's key, update, place, step from the end and unit: not of neighbours, nor of the longest sequence."""
    rate = rates(0.4, 0.2, 0.6)
    whole = draws().steps("a", rate, 9, 13)
    one = draws()
    alone = MaskDraws(one.keys[1:2], one.step[1:2], one.batch)
    assert torch.equal(alone.steps("a", rate[1:2], 9, 13)[0], whole[1])
    assert torch.equal(draws().steps("a", rate, 4, 13), whole[:, -4:])
    assert torch.equal(draws().sequences("a", rate, 13)[:, 0], whole[:, -1])


def test_updates_do_not_share_sequences() -> None:
    """The last sequence of an update and the first of the next one have masks of their own."""
    rate = rates(0.5, 0.5, 0.5)
    before, after = draws(step=5).steps("a", rate, 9, 40), draws(step=6).steps("a", rate, 9, 40)
    assert all(not torch.equal(before[:, :, i], after[:, :, j]) for i in range(4) for j in range(4))
