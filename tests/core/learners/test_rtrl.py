"""RTRL is backpropagation, differences, and a plain forward recursion of hand-written steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rnnsweep.core import families as package
from rnnsweep.core.families.base import Family
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.learners.rtrl import Rtrl
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import tiles, train_batch
from rnnsweep.core.types import Capability, Wanted
from tests.kit import forward_rules
from tests.kit.networks import Setup, context_of, loss_at
from tests.kit.units import concrete

LAST, EVERY = TemporalOrder(length=(10, 14)), Copying(length=3)
SERVED = [
    unit for unit in concrete(package, Family) if Capability.LOCAL in unit.capabilities and unit.feed is Family.feed
]


def setup_of(family: Family, task, learner, **more) -> Setup:
    return Setup(family=family, task=task, learner=learner, controllers={}, batch=2, sigma=0.5, **more)


def assert_close(found: torch.Tensor, want: torch.Tensor) -> None:
    """To 1e-12 of each row's largest entry."""
    size = want.abs().flatten(1).amax(1, keepdim=True)
    assert bool(((found - want).abs() <= 1e-12 * size).all())


def test_most_families_are_served():
    assert {unit.__name__ for unit in SERVED} >= {
        "Srn",
        "Rate",
        "Lstm",
        "Gru",
        "Scornn",
        "Scurnn",
        "CoRnn",
        "Sbo",
        "Lru",
    }


@pytest.mark.parametrize("task", [LAST, EVERY], ids=["last", "every"])
@pytest.mark.parametrize("unit", SERVED)
def test_it_is_backpropagation(unit, task):
    family = unit(hidden=8)
    found, want = (context_of(setup_of(family, task, rule()).pack([0, 1])) for rule in (Rtrl, Bptt))
    assert_close(found[1].gradients, want[1].gradients)
    assert torch.equal(found[1].trace.delta, want[1].trace.delta), "the record is that of backpropagation"


@pytest.mark.parametrize("family", [Srn(6), Srn(6, "oplu"), Srn(6, leak=0.4), Lstm(6), Gru(6)])
def test_it_is_backpropagation_on_fused_loops(family):
    found = context_of(setup_of(family, LAST, Rtrl(), engine="cpu").pack([0, 1]))[1].gradients
    assert_close(found, context_of(setup_of(family, LAST, Bptt()).pack([0, 1]))[1].gradients)


@pytest.mark.parametrize("name", forward_rules.FAMILIES)
def test_it_is_the_forward_recursion(name):
    family, step = forward_rules.FAMILIES[name]
    pack = setup_of(family, LAST, Rtrl()).pack([0, 1], family__leak=family.leak) if name == "leaky" else None
    context = context_of(pack or setup_of(family, LAST, Rtrl()).pack([0, 1]))[1]
    found = context.layout.view(context.gradients)
    for row in range(2):
        want = forward_rules.gradient(context, row, step, lambda j, now: now.i if j is None else now.d @ j + now.i)
        for key, value in want.items():
            torch.testing.assert_close(found[key][row], value, rtol=1e-10, atol=1e-13, msg=key)


@pytest.mark.parametrize("family", [Srn(5), Lstm(5)])
def test_it_is_finite_differences(family):
    pack = setup_of(family, EVERY, Rtrl()).pack([0, 1])
    tile, context = context_of(pack)
    found, size = pack.program.layout.view(context.gradients), 1e-6
    for name, place in (("w_rec", (0, 1)), ("w_rec", (3, 3)), ("w_in", (1, 2)), ("b", (4,)), ("w_out", (2, 0))):
        ends = []
        for sign in (1, -1):
            params = tile.params.clone()
            pack.program.layout.view(params)[name][(slice(None), *place)] += sign * size
            ends.append(loss_at(pack, tile, params))
        got = found[name][(slice(None), *place)]
        torch.testing.assert_close((ends[0] - ends[1]) / (2 * size), got, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("family", [Srn(5), Lstm(5)])
def test_a_state_that_goes_on_is_a_constant(family):
    (_, tile), *_ = tiles(setup_of(family, EVERY, Rtrl()).pack([0, 1]))
    program, generator = tile.program, torch.Generator().manual_seed(0)
    batch = train_batch(tile)
    size = 5 if family.cell is None else family.cell.state
    batch = replace(batch, state=torch.randn(2, 2, size, generator=generator).double())
    found, want = (
        rule.learn(program, tile.params, tile.unit_hypers("family"), batch, Wanted(), tile.learner_own())
        for rule in (Rtrl(), Bptt())
    )
    assert_close(found.gradients, want.gradients)
    assert found.state is not None and torch.equal(found.state, want.state)


def test_what_it_holds_counts():
    """J of 20 units and 3 inputs: 20 x 20 (20 + inputs + 1) numbers, three times, per sequence."""
    held, plain = (setup_of(Srn(20), LAST, rule).program() for rule in (Rtrl(), Bptt()))
    numbers = 20 * 20 * (20 + LAST.n_inputs + 1)
    assert held.record_bytes - plain.record_bytes == 2 * 3 * numbers * 8
    assert held.tile_rows < plain.tile_rows
