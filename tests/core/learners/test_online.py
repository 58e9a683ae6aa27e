"""Rules that go forward: a row is the same alone and in a pack, to the bit; who cannot be served is refused."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.app.config.load import load
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.sbo import Sbo
from rnnsweep.core.families.scurnn import Scurnn
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.learners.eprop import Eprop
from rnnsweep.core.learners.rtrl import Rtrl
from rnnsweep.core.learners.snap import Snap
from rnnsweep.core.learners.uoro import Uoro
from rnnsweep.core.pack import Pack
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup, context_of

RULES = [Rtrl(), Snap(), Snap(order=2), Uoro(), Eprop()]
FAMILIES = [Srn(10, "oplu"), Srn(9, "modrelu", leak=0.3), Lstm(5), Gru(7), Scurnn(3), Sbo(4)]


SERVED = [
    (rule, family) for rule in RULES for family in FAMILIES if not (isinstance(rule, Eprop) and isinstance(family, Sbo))
]
"""Eprop refuses cells whose units see each other past the recurrent matrix: see its own test."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rule", "family"), SERVED, ids=repr)
def test_a_row_is_the_same_alone_and_in_a_pack(rule, family, dtype):
    task = TemporalOrder(length=(10, 13))
    setup = Setup(family, task, learner=rule, controllers={}, batch=3, sigma=0.5, dtype=dtype)
    hypers = {"family__leak": family.leak} if family.leaky else {}
    wide, alone = setup.pack([0, 1, 2, 3], **hypers), setup.pack([2], **hypers)
    assert torch.equal(context_of(alone)[1].gradients[0], context_of(wide)[1].gradients[2])


def test_a_row_that_is_not_finite_stays_alone():
    for rule in RULES:
        setup = Setup(Srn(6), TemporalOrder(length=(10, 13)), learner=rule, controllers={}, batch=2)
        found = context_of(setup.pack([0, 1, 2]))[1].gradients
        pack: Pack = setup.pack([0, 1, 2])
        pack.program.layout.view(pack.params)["w_rec"][1, 0, 0] = torch.nan
        broken = context_of(pack)[1].gradients
        assert not torch.isfinite(broken[1]).all()
        assert torch.equal(broken[[0, 2]], found[[0, 2]])


@pytest.mark.parametrize(
    ("overrides", "key", "words"),
    [
        (["learner=rtrl", "family=momentum_lstm"], "learner", "filters its inputs"),
        (["learner=eprop", "family=momentum_srn"], "learner", "filters its inputs"),
        (["learner=eprop", "family=sbo"], "learner", "see each other without w_rec"),
        (["learner=snap", "family=esn"], "learner", "derivatives of single steps"),
        (["learner=uoro", "readout=attention"], "learner", "derivatives of single steps"),
        (["learner=snap", "learner.order=0"], "learner.order", "out of range"),
        (["learner=rtrl", "family.hidden=6000"], "family.hidden", "one row takes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_served_is_refused_with_its_key(overrides, key, words):
    with pytest.raises(ConfigError) as caught:
        load(None, ["name=t", *overrides])
    assert caught.value.key == key
    assert words in caught.value.problem


@pytest.mark.parametrize("overrides", [["learner=snap", "family.hidden=6000"], ["learner=rtrl", "+controllers=omega"]])
def test_what_fits_is_accepted(overrides):
    assert load(None, ["name=t", *overrides]).plan.seed == 0
