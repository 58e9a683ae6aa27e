"""All that follows the gradient, in one launch, beside torch's operations: every optimiser, rows of every fate."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from rnnsweep.core import rng
from rnnsweep.core.controllers.clip import GlobalNormClip
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.loops import Learned
from rnnsweep.core.optimizers.adagrad import Adagrad
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.optimizers.base import Optimizer
from rnnsweep.core.optimizers.rmsprop import RmsProp
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.pack import Pack
from rnnsweep.core.tile import Tile, _step, _step_at_once, learn, tiles
from rnnsweep.core.types import RowStatus, Wanted
from tests.kit.networks import Setup, assert_same_row
from tests.kit.replayed import as_on_a_device

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, where the interpreter's numbers overflow

OPTIMIZERS: list[Optimizer] = [
    Sgd(lr=0.1),
    Sgd(lr=0.1, momentum=0.9),
    Sgd(lr=0.1, momentum=0.9, nesterov=True, schedule="inverse", span=2.0),
    Adam(lr=0.1),
    Adam(lr=0.1, beta1=0.0),
    RmsProp(lr=0.1, momentum=0.5, initial=1.0),
    RmsProp(lr=0.1, epsilon_inside=True),
    Adagrad(lr=0.1, initial=0.1),
]
FATES = {
    # what happens to the row, its hyperparameters, gradient and loss
    "clipped": ({}, 1.0, 1.0),
    "not clipped": ({"controllers__clip__threshold": 1e3}, 1.0, 1.0),
    "never clipped": ({"controllers__clip__threshold": torch.inf}, 1.0, 1.0),
    "tiny": ({}, 1e-32, 1.0),
    "denormal": ({"controllers__clip__threshold": 1e-44}, 1e-42, 1.0),
    "huge": ({}, 1e30, 1.0),
    "zero": ({}, 0.0, 1.0),
    "nan": ({}, torch.nan, 1.0),
    "inf": ({}, torch.inf, 1.0),
    "lost": ({}, 1.0, torch.nan),
    "lost to inf": ({}, 1.0, torch.inf),
    "decays": ({"optimizer__weight_decay": 0.25}, 1.0, 1.0),
    "leaves the numbers": ({"optimizer__lr": 3e38, "controllers__clip__threshold": 3e38}, 1e3, 1.0),
    "ended": ({}, 1.0, 1.0),
    "diverged before": ({}, 1.0, 1.0),
}
ENDED, DIVERGED = list(FATES).index("ended"), list(FATES).index("diverged before")


@pytest.fixture(scope="module")
def device(triton_interpreter: str) -> str:
    return triton_interpreter


@pytest.fixture
def steps(device: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`core.gpu.steps`, used on this device as it is on a GPU."""
    module, words = (importlib.import_module(f"rnnsweep.core.gpu.{name}") for name in ("steps", "random_numbers"))
    monkeypatch.setattr(rng, "kernels_on", lambda at: words if at.type == device else None)
    return module


@dataclass
class Case:
    """A tile, with what a learning rule gave for each of three updates."""

    pack: Pack
    tile: Tile
    learned: list[Learned]


def case_of(optimizer: Optimizer, clip: dict[str, Any], dtype: torch.dtype, device: str = "cpu") -> Case:
    # so many units that a row is more than one block
    family, place = Srn(hidden=70), torch.device(device)
    setup = Setup(family=family, optimizer=optimizer, controllers=clip, dtype=dtype, device=place)
    pack = Pack(setup.program())
    rows = []
    for row, (changes, _, _) in enumerate(FATES.values()):
        own = {key: value for key, value in changes.items() if clip or "clip" not in key}
        rows.append((setup.member(row, 3, **own), setup.state(pack.program, row)))
    pack.join(rows)
    learned = [gradients_of(pack, update) for update in range(3)]
    pack.step[ENDED] = 3
    pack.status[DIVERGED] = RowStatus.DIVERGED
    ((_, tile),) = tiles(pack)
    return Case(pack, tile, learned)


def gradients_of(pack: Pack, update: int) -> Learned:
    """Gradients of norm about 10 but for the row's fate, of which one entry of the second update is the carrier."""
    N, generator = pack.params.shape[1], torch.Generator().manual_seed(update)
    gradients = torch.randn(len(pack), N, generator=generator, dtype=torch.float64) * 10 / N**0.5
    loss = torch.ones(len(pack), dtype=torch.float64)
    for row, (_, size, cost) in enumerate(FATES.values()):
        if torch.isfinite(torch.tensor(size)):
            gradients[row] *= size
        elif update == 1:
            gradients[row, N // 3] = size
        if update == 1:
            loss[row] = cost
    # drawn on the CPU, so that every device has the same
    return Learned(loss.to(pack.params), gradients.to(pack.params))


def by_torch(case: Case) -> None:
    _, context = learn(case.tile, case.tile.tally, Wanted())
    for learned in case.learned:
        context.gradients, context.fresh = learned.gradients.clone(), {}
        _step(case.tile, context, learned)


def by_kernel(case: Case, steps: Any) -> None:
    _, context = learn(case.tile, case.tile.tally, Wanted())
    for learned in case.learned:
        context.gradients = learned.gradients
        _step_at_once(case.tile, steps, context, learned)


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
    by_kernel(mine, steps)
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
    by_kernel(mine, steps)
    for fate in ("not clipped", "never clipped", "tiny", "zero", "lost", "ended"):
        row = list(FATES).index(fate)
        assert_same_row(mine.pack.row(row), plain.pack.row(row))


def test_a_row_is_the_same_in_every_pack(steps, device):
    whole = case_of(Adam(lr=0.1), {"clip": GlobalNormClip()}, torch.float32, device)
    by_kernel(whole, steps)
    alone = case_of(Adam(lr=0.1), {"clip": GlobalNormClip()}, torch.float32, device)
    row = list(FATES).index("clipped")
    others = [other for other in range(len(FATES)) if other != row]
    learned = [Learned(one.loss[row : row + 1], one.gradients[row : row + 1]) for one in alone.learned]
    alone.pack.leave(others)
    ((_, tile),) = tiles(alone.pack)
    by_kernel(Case(alone.pack, tile, learned), steps)
    assert_same_row(alone.pack.row(0), whole.pack.row(row))
