"""A row trains to the bit alike whether its tile goes the kernel's way or, for a neighbour's sake, the general one."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core import kernels
from rnnsweep.core.controllers.clip import GlobalNormClip
from rnnsweep.core.controllers.l1_proximal import L1Proximal
from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.optimizers.rmsprop import RmsProp
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.pack import Pack
from rnnsweep.core.tasks.adding import Adding
from rnnsweep.core.tile import tiles
from rnnsweep.core.training import train_rung
from tests.kit.networks import Setup, assert_same_row
from tests.kit.steps import UNFUSED

MOVING = {"l1_proximal": L1Proximal(weight=0.0)}
SETUPS = {
    "momentum": Setup(controllers={"clip": GlobalNormClip(), **MOVING}),
    "Adam": Setup(optimizer=Adam(lr=0.01, weight_decay=0.01), controllers={"clip": GlobalNormClip(), **MOVING}),
    "single": Setup(optimizer=RmsProp(lr=0.01), controllers=MOVING, dtype=torch.float32, engine="cpu"),
    "values": Setup(task=Adding(length=12), controllers={"clip": GlobalNormClip(non_finite="diverge"), **MOVING}),
    "scheduled": Setup(optimizer=Sgd(lr=0.05, momentum=0.5, nesterov=True, schedule="cosine"), controllers=MOVING),
    "omega and sampling": Setup(
        controllers={
            "omega": Omega(weight=0.5),
            "clip": GlobalNormClip(),
            **MOVING,
            "sampling": Sampling(-0.5, 0.5, r0=1e-3),
        }
    ),
}


def pack_of(setup: Setup, weight: float) -> Pack:
    """Rows of different budgets and clipping; one leaves the numbers, and of the last one parameters may be moved."""
    pack = Pack(setup.program())
    changes: list[dict[str, float]] = [
        {},
        {"controllers__clip__threshold": 0.05},
        {"optimizer__lr": torch.inf},
        {"controllers__l1_proximal__weight": weight},
    ]
    rows = []
    for row, own in enumerate(changes):
        own = {key: value for key, value in own.items() if "clip" not in key or "clip" in setup.controllers}
        rows.append((setup.member(row, 7 - row, **own), setup.state(pack.program, row)))
    pack.join(rows)
    return pack


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", SETUPS)
def test_a_neighbours_controller_changes_no_bit(name):
    at_once, general = pack_of(SETUPS[name], 0.0), pack_of(SETUPS[name], 0.1)
    assert tiles(at_once)[0][1].at_once is not None
    assert tiles(general)[0][1].at_once is None
    for _ in range(3):
        assert train_rung(at_once, 3, 1)[:3] == train_rung(general, 3, 1)[:3]
    for row in range(3):
        assert_same_row(at_once.row(row), general.row(row))
    assert not torch.equal(at_once.params[3], general.params[3])


@pytest.mark.parametrize("setup", UNFUSED.values(), ids=UNFUSED)
def test_what_the_kernel_does_not_know_goes_the_general_way(setup):
    assert tiles(setup.pack([0, 1]))[0][1].at_once is None


def test_without_numba_it_is_the_general_way(monkeypatch):
    monkeypatch.setattr(kernels, "_compiled", lambda what: None)
    assert tiles(Setup().pack([0, 1]))[0][1].at_once is None
