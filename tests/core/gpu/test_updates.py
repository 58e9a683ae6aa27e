"""Whole updates with all kernels beside torch's operations, and replayed as a device's graph would be."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest
import torch

from rnnsweep.core import rng
from rnnsweep.core.controllers.clip import GlobalNormClip
from rnnsweep.core.controllers.l1_proximal import L1Proximal
from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.pack import Pack
from rnnsweep.core.replay import Repeated
from rnnsweep.core.tasks.adding import Adding
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tile import tiles, update
from rnnsweep.core.training import train_rung
from tests.kit.networks import Setup, assert_same_row
from tests.kit.replayed import as_on_a_device, recorded_launches, without_host
from tests.kit.steps import UNFUSED


@pytest.fixture(scope="module")
def device(triton_interpreter: str) -> str:
    if triton_interpreter != "cpu":
        pytest.skip("packs of these tests are on the CPU, where kernels are interpreted")
    return triton_interpreter


@pytest.fixture
def switch(device: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Switches the kernels on or off, on this device as on a GPU."""
    words = importlib.import_module("rnnsweep.core.gpu.random_numbers")
    return lambda on: monkeypatch.setattr(rng, "kernels_on", lambda device: words if on else None)


def pack_of(setup: Setup, **changes: float) -> Pack:
    """Rows of different budgets and clipping; the last one leaves the numbers."""
    pack = Pack(setup.program())
    rows = []
    for row, own in enumerate(({}, {"controllers__clip__threshold": 0.05}, {"optimizer__lr": torch.inf})):
        own = {key: value for key, value in own.items() if "clip" not in key or "clip" in setup.controllers}
        rows.append((setup.member(row, 5 - row, **changes, **own), setup.state(pack.program, row)))
    pack.join(rows)
    return pack


SETUPS = {
    "temporal order": Setup(),
    "adding": Setup(task=Adding(length=12), optimizer=Adam(lr=0.01)),
    "every step": Setup(task=Copying(length=3), family=Lstm(hidden=6)),
    "omega and sampling": Setup(
        controllers={"omega": Omega(weight=0.5), "clip": GlobalNormClip(), "sampling": Sampling(-0.5, 0.5, r0=1e-3)}
    ),
    "nothing clipped": Setup(controllers={}, optimizer=Sgd(lr=0.05, momentum=0.5, nesterov=True, schedule="cosine")),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", SETUPS)
def test_rungs_with_kernels_are_those_of_torch(switch, name):
    setup, found = SETUPS[name], []
    for on in (True, False):
        switch(on)
        pack = pack_of(setup)
        with as_on_a_device():
            assert (tiles(pack)[0][1].at_once is not None) == on
            metrics = [train_rung(pack, 3, 1) for _ in range(2)]
        found.append((metrics, pack))
    (mine, with_kernels), (plain, by_torch) = found
    for name in ("status", "step", "taken", "diverged_at", "solved_at"):
        assert torch.equal(getattr(with_kernels, name), getattr(by_torch, name)), name
    if "sampling" in setup.controllers:  # which also refuses a step out of the numbers
        assert 0 < int(with_kernels.taken.sum()) < int(with_kernels.step.sum())
    else:
        assert (with_kernels.diverged_at > 0).any()
    torch.testing.assert_close(with_kernels.params, by_torch.params, rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(mine, plain, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert list(one) == list(other)
            assert one == pytest.approx(other, rel=1e-9, abs=1e-12)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["temporal order", "adding", "omega and sampling"])
def test_replayed_updates_are_the_same_bits(switch, name):
    """The host is asked nothing, and what lasts stays where it was: what is recorded once can be repeated."""
    switch(True)
    plain, replayed = pack_of(SETUPS[name]), pack_of(SETUPS[name])
    ((_, tile),) = tiles(replayed)
    launched: list[list[str]] = []

    def record(work: Callable[[], object]) -> Callable[[], object]:
        with without_host() as recorded, recorded_launches(recorded) as names:
            work()
        launched.append(names)
        return recorded.replay

    with as_on_a_device():
        tile.once_more = Repeated(lambda: update(tile, tile.tally), record)
        found = [train_rung(replayed, 5, 1), train_rung(replayed, 5, 1)]
        wanted = [train_rung(plain, 5, 1), train_rung(plain, 5, 1)]
    assert found == wanted
    for row in range(3):
        assert_same_row(replayed.row(row), plain.row(row))
    write = {"adding": "marked_kernel"}.get(name, "order_kernel")
    step = ["propose_kernel", "step_kernel"] if "sampling" in name else ["step_kernel"]
    assert launched == [["place_kernel", write, "read_out_kernel", "gather_kernel", *step]]


def test_a_controller_that_moves_parameters_goes_the_general_way_where_a_row_has_it_on(switch):
    switch(True)
    setup = Setup(controllers={"clip": GlobalNormClip(), "l1_proximal": L1Proximal(weight=0.1)})
    assert tiles(setup.pack([0, 1]))[0][1].at_once is None
    assert tiles(setup.pack([0, 1], controllers__l1_proximal__weight=0.0))[0][1].at_once is not None


@pytest.mark.parametrize("setup", UNFUSED.values(), ids=UNFUSED)
def test_what_the_kernel_does_not_know_goes_the_general_way(switch, setup):
    switch(True)
    assert tiles(setup.pack([0, 1]))[0][1].at_once is None


def test_a_subclass_that_changes_the_step_has_no_formula():
    class Half(Sgd):
        def propose(self, gradients, slots, hypers, taken):
            step, new = super().propose(gradients, slots, hypers, taken)
            return step / 2, new

    class Slower(Sgd):
        """Only another default."""

    assert Half().fused_formula is None
    assert Sgd().fused_formula is Sgd().formula
    assert Slower(lr=0.001).fused_formula is Sgd().formula
