"""All that follows the gradient, in one launch, beside torch's operations: every optimiser, rows of every fate."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch

from rnnsweep.core import rng
from rnnsweep.core.controllers.clip import GlobalNormClip
from rnnsweep.core.loops import Learned
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.tile import tiles
from rnnsweep.core.types import RowStatus
from tests.kit.networks import assert_same_row
from tests.kit.replayed import as_on_a_device
from tests.kit.steps import FATES, OPTIMIZERS, Case, by_kernel, by_torch, case_of

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, where the interpreter's numbers overflow


@pytest.fixture(scope="module")
def device(triton_interpreter: str) -> str:
    return triton_interpreter


@pytest.fixture
def steps(device: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`core.gpu.steps`, used on this device as it is on a GPU."""
    module, words = (importlib.import_module(f"rnnsweep.core.gpu.{name}") for name in ("steps", "random_numbers"))
    monkeypatch.setattr(rng, "kernels_on", lambda at: words if at.type == device else None)
    return module


def assert_close_rows(mine: Case, plain: Case, tolerance: float) -> None:
    for name in ("step", "taken", "status", "diverged_at"):
        assert torch.equal(getattr(mine.pack, name).cpu(), getattr(plain.pack, name)), name
    assert_rows_agree(mine.pack.params.cpu(), plain.pack.params, tolerance)
    for name, value in plain.pack.slots.items():
        assert_rows_agree(mine.pack.slots[name].cpu(), value, tolerance)
    told, wanted = mine.tile.tally.values(), plain.tile.tally.values()
    assert list(told) == list(wanted)
    for key, value in wanted.items():
        torch.testing.assert_close(told[key].cpu(), value, rtol=tolerance, atol=0, equal_nan=True, msg=key)


def assert_rows_agree(mine: torch.Tensor, plain: torch.Tensor, tolerance: float) -> None:
    """Up to rounding of a row's largest entry: parameters and steps may cancel."""
    apart = torch.where(mine == plain, 0.0, mine - plain).abs()  # infinite squares are equal
    assert (apart.amax(1) <= tolerance * plain.abs().amax(1)).all()


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("optimizer", "clip"),
    [
        *((one, "skip") for one in OPTIMIZERS),
        (OPTIMIZERS[1], "diverge"),
        (OPTIMIZERS[1], "none"),
        (OPTIMIZERS[3], "none"),
    ],
    ids=lambda one: one if isinstance(one, str) else type(one).__name__,
)
def test_rows_of_every_fate_are_those_of_torch(steps, device, optimizer, clip, dtype):
    controllers = {} if clip == "none" else {"clip": GlobalNormClip(non_finite=clip)}
    mine, plain = (case_of(optimizer, controllers, dtype, place) for place in (device, "cpu"))
    with as_on_a_device():
        by_torch(plain)
    by_kernel(mine)
    # sums of squares run in another order; rounding of the factor, of root and quotient add to it
    assert_close_rows(mine, plain, 64 * torch.finfo(dtype).eps)
    fates = dict(zip(FATES, mine.pack.status.tolist(), strict=True))
    assert fates["lost"] == fates["lost to inf"] == RowStatus.DIVERGED
    assert fates["clipped"] == fates["ended"] == RowStatus.ACTIVE
    assert torch.isfinite(mine.pack.params).all()
    taken = dict(zip(FATES, mine.pack.taken.tolist(), strict=True))
    assert taken["clipped"] == taken["not clipped"] == 3
    assert taken["lost"] == 1
    assert taken["ended"] == taken["diverged before"] == 0
    if clip == "skip":
        assert fates["nan"] == RowStatus.ACTIVE
        assert taken["nan"] == taken["inf"] == 2  # the others of three
    if dtype == torch.float32 and isinstance(optimizer, Sgd):
        assert fates["leaves the numbers"] == RowStatus.DIVERGED


@pytest.mark.parametrize("optimizer", OPTIMIZERS[:3], ids=str)
def test_rows_that_are_not_clipped_are_the_same_bits(steps, device, optimizer):
    """Their factor is 1 whatever order a sum runs in, and entries are rounded as torch rounds them."""
    mine, plain = (case_of(optimizer, {"clip": GlobalNormClip()}, torch.float32, place) for place in (device, "cpu"))
    with as_on_a_device():
        by_torch(plain)
    by_kernel(mine)
    for fate in ("not clipped", "never clipped", "tiny", "zero", "lost", "ended"):
        row = list(FATES).index(fate)
        assert_same_row(mine.pack.row(row), plain.pack.row(row))


def test_a_row_is_the_same_in_every_pack(steps, device):
    whole = case_of(Adam(lr=0.1), {"clip": GlobalNormClip()}, torch.float32, device)
    by_kernel(whole)
    alone = case_of(Adam(lr=0.1), {"clip": GlobalNormClip()}, torch.float32, device)
    row = list(FATES).index("clipped")
    others = [other for other in range(len(FATES)) if other != row]
    learned = [Learned(one.loss[row : row + 1], one.gradients[row : row + 1]) for one in alone.learned]
    alone.pack.leave(others)
    ((_, tile),) = tiles(alone.pack)
    by_kernel(Case(alone.pack, tile, learned))
    assert_same_row(alone.pack.row(0), whole.pack.row(row))
