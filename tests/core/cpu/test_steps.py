"""All that follows the gradient, in one compiled pass, beside torch's operations: rows of every fate, to the bit."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.controllers.clip import GlobalNormClip
from rnnsweep.core.loops import Learned
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.tile import tiles
from rnnsweep.core.types import RowStatus
from tests.kit.networks import assert_same_row
from tests.kit.steps import FATES, OPTIMIZERS, Case, by_kernel, by_torch, case_of


def assert_same(mine: Case, plain: Case) -> None:
    for name in ("step", "taken", "status", "diverged_at"):
        assert torch.equal(getattr(mine.pack, name), getattr(plain.pack, name)), name
    for row, fate in enumerate(FATES):
        assert torch.equal(mine.pack.params[row], plain.pack.params[row]), fate
        for name, value in plain.pack.slots.items():
            assert torch.equal(mine.pack.slots[name][row], value[row]), (fate, name)
    told, wanted = mine.tile.tally.values(), plain.tile.tally.values()
    assert list(told) == list(wanted)
    for key, value in wanted.items():
        torch.testing.assert_close(told[key], value, rtol=0, atol=0, equal_nan=True, msg=key)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("clip", ["skip", "diverge", "none"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_rows_of_every_fate_are_those_of_torch(optimizer, clip, dtype):
    controllers = {} if clip == "none" else {"clip": GlobalNormClip(non_finite=clip)}
    mine, plain = (case_of(optimizer, controllers, dtype) for _ in range(2))
    by_torch(plain)
    by_kernel(mine)
    assert_same(mine, plain)
    fates = dict(zip(FATES, mine.pack.status.tolist(), strict=True))
    assert fates["lost"] == fates["lost to inf"] == RowStatus.DIVERGED
    assert fates["clipped"] == fates["ended"] == RowStatus.ACTIVE
    assert torch.isfinite(mine.pack.params).all()
    taken = dict(zip(FATES, mine.pack.taken.tolist(), strict=True))
    assert taken["clipped"] == taken["not clipped"] == 3
    assert taken["ended"] == taken["diverged before"] == 0


def test_a_row_is_the_same_in_every_pack():
    whole, alone = (case_of(Adam(lr=0.1), {"clip": GlobalNormClip()}, torch.float32) for _ in range(2))
    by_kernel(whole)
    row = list(FATES).index("clipped")
    learned = [Learned(one.loss[row : row + 1], one.gradients[row : row + 1]) for one in alone.learned]
    alone.pack.leave([other for other in range(len(FATES)) if other != row])
    ((_, tile),) = tiles(alone.pack)
    by_kernel(Case(alone.pack, tile, learned))
    assert_same_row(alone.pack.row(0), whole.pack.row(row))
