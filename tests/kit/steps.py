"""Tiles whose rows meet every fate of a step, and the two ways that an update goes on from its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from rnnsweep.core.controllers.clip import GlobalNormClip
from rnnsweep.core.controllers.sampling import Sampling
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
from tests.kit.networks import Setup

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


def by_kernel(case: Case) -> None:
    assert case.tile.at_once is not None
    _, context = learn(case.tile, case.tile.tally, Wanted())
    for learned in case.learned:
        context.gradients = learned.gradients
        _step_at_once(case.tile, case.tile.at_once, context, learned)


class Remembering(Sampling):
    """A gate whose state goes with accepted steps."""

    def slot_shapes(self):
        return {"seen": ()}


UNFUSED = {
    "shrinks": Setup(controllers={"clip": GlobalNormClip(non_finite="shrink")}),
    "velocity begins anew": Setup(optimizer=Sgd(lr=0.1, momentum_reset=3)),
    "clips twice": Setup(controllers={"clip": GlobalNormClip(), "again": GlobalNormClip()}),
    "a gate with a state": Setup(controllers={"gate": Remembering(q_min=-1.0)}),
}
"""What no step kernel does, on any device."""
