"""Schedules of Omega's weight: values, units, errors; constant is bit for bit none."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.controllers.schedules import Schedule, schedule
from rnnsweep.core.training import train_rung
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup, context_of

WEIGHT = torch.tensor([2.0, 3.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("made", "steps", "want"),
    [
        (Schedule("constant"), (0, 9), (2.0, 3.0)),
        (Schedule("inverse"), (0, 3), (2.0, 0.75)),
        (Schedule("half_inverse"), (0, 3), (1.0, 0.375)),
        (Schedule("inverse", "epoch", 50), (49, 50), (2.0, 1.5)),
        (Schedule("half_inverse", "epoch", 50), (149, 150), (1 / 3, 0.375)),
        (Schedule("inverse", "update", 50), (49, 1), (2 / 50, 1.5)),
    ],
)
def test_values_follow_each_rows_own_clock(made, steps, want):
    assert made.at(WEIGHT, torch.tensor(steps)).tolist() == pytest.approx(want, rel=1e-15)


def test_a_block_becomes_a_schedule_and_part_of_the_shape_key():
    omega = Omega(1.0, schedule={"kind": "inverse", "unit": "epoch", "epoch": 20})  # type: ignore[arg-type]
    assert omega.schedule == Schedule("inverse", "epoch", 20)
    assert omega.structure()["schedule"] != Omega().structure()["schedule"]


@pytest.mark.parametrize(
    ("block", "key"),
    [
        ({"kind": "invers"}, "controllers.omega.schedule.kind"),
        ({"epochs": 3}, "controllers.omega.schedule.epochs"),
        ({"epoch": 0}, "controllers.omega.schedule.epoch"),
        ("inverse", "controllers.omega.schedule"),
    ],
)
def test_errors_name_the_key(block, key):
    with pytest.raises(ConfigError) as caught:
        schedule(block, "controllers.omega.schedule")
    assert caught.value.key == key


def test_omega_adds_the_scheduled_share_of_its_gradient():
    pack = Setup(controllers={"omega": Omega(4.0)}).pack([0, 1], controllers__omega__weight=4.0)
    _, context = context_of(pack, "controllers.omega")
    plain = context.gradients.clone()
    full = Omega(4.0).add(context) - plain
    context.step = torch.tensor([0, 3])
    scheduled = Omega(4.0, schedule=Schedule("inverse")).add(context) - plain
    torch.testing.assert_close(scheduled[0], full[0])
    torch.testing.assert_close(scheduled[1], full[1] / 4)


def test_the_first_update_of_an_inverse_schedule_is_the_constant_one():
    packs = [
        Setup(controllers={"omega": Omega(4.0, schedule=made)}).pack([0], controllers__omega__weight=4.0)
        for made in (Schedule(), Schedule("inverse"))
    ]
    for pack in packs:
        train_rung(pack, 1, 1)
    assert torch.equal(packs[0].params, packs[1].params)
    for pack in packs:
        train_rung(pack, 1, 1)
    assert not torch.equal(packs[0].params, packs[1].params)
