"""The loops of all families as one map: the states of training, and its derivatives against autograd's own."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from rnnsweep.core import families as package
from rnnsweep.core.families.base import Family, Feed
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.nesterov_lstm import NesterovLstm
from rnnsweep.core.families.own import family_of
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.state_map import LoopMap, jacobian, pushed, spectral_norms
from rnnsweep.errors import ConfigError
from tests.kit import own_cells
from tests.kit.networks import Setup
from tests.kit.trained import rows_of
from tests.kit.units import concrete

FAMILIES = [kind(hidden=8) for kind in concrete(package, Family)]
VARIANTS = [Srn(hidden=8, leak=0.3), Srn(hidden=8, activation="oplu"), NesterovLstm(hidden=8, restart=3)]


@pytest.mark.parametrize("family", FAMILIES + VARIANTS, ids=repr)
def test_states_are_those_of_the_training_engine(family):
    rows = rows_of(Setup(family=family, sigma=0.5), (0, 1))
    program, batch = rows.program, rows.batch(3)
    feed = family.feed(rows.values, rows.hypers, batch.inputs, batch.lengths, rows.program.engine)
    weights = family.weights(rows.values, rows.hypers)
    h = program.engine.forward(feed.inputs, weights, program.activation, batch.lengths).whole().h
    with torch.no_grad():
        states = rows.loop.states(rows.loop.drives(batch.inputs))
    torch.testing.assert_close(states[..., : rows.loop.loop_size], h, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", [Srn(hidden=7), Gru(hidden=5), NesterovLstm(hidden=4, restart=3)], ids=repr)
def test_jacobians_are_those_of_autograd(family):
    rows = rows_of(Setup(family=family, sigma=0.5), (0, 1))
    step = rows.loop
    drive = step.drives(rows.batch(3).inputs)[:, 4]
    state = 0.3 * torch.randn(2, 3, step.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = jacobian(step, state, drive)
    whole = torch.autograd.functional.jacobian(lambda s: step(s, drive), state)  # P B S P B S
    for p in range(2):
        for b in range(3):
            torch.testing.assert_close(found[p, b], whole[p, b, :, p, b], rtol=1e-12, atol=1e-13)  # type: ignore[index]
    tangent = torch.randn(state.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    new, moved = pushed(step, state, drive, tangent)
    torch.testing.assert_close(new, step(state, drive))
    torch.testing.assert_close(moved, (found @ tangent[..., None])[..., 0], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("family", [Srn(hidden=7), Lstm(hidden=5)], ids=repr)
def test_a_row_alone_gives_the_bits_that_it_gives_in_a_pack(family):
    rows = rows_of(Setup(family=family))
    drives = rows.loop.drives(rows.batch(3).inputs)
    together = jacobian(rows.loop, rows.loop.states(drives)[:, 5], drives[:, 5])
    for p in range(3):
        alone = rows.part(p, p + 1)
        drives = alone.loop.drives(alone.batch(3).inputs)
        assert torch.equal(together[p : p + 1], jacobian(alone.loop, alone.loop.states(drives)[:, 5], drives[:, 5]))


@pytest.mark.parametrize("cell", [own_cells.Mixed, own_cells.Plain], ids=lambda cell: cell.__name__)
def test_cells_of_ones_own(cell):
    kind = family_of(cell)
    assert kind is not None
    rows = rows_of(Setup(family=kind(hidden=5)), (0, 1))
    inputs = rows.batch(2).inputs
    states = rows.loop.states(rows.loop.drives(inputs))
    family = rows.program.family
    record = rows.program.engine.forward(
        inputs, family.weights(rows.values, rows.hypers), rows.program.activation, rows.batch(2).lengths
    )
    torch.testing.assert_close(states, record.h, rtol=1e-12, atol=1e-12)
    assert jacobian(rows.loop, states[:, 2], inputs[:, 2]).isfinite().all()


def test_a_map_that_ignores_its_state_has_the_jacobian_0():
    def constant(state, drive):
        return drive + 1

    state = torch.ones(1, 2, 3)
    assert not jacobian(lambda s, d: d + 0 * s, state, torch.zeros(1, 2, 3)).any()
    assert constant(state, state).shape == state.shape


@dataclass(frozen=True)
class Halved(Srn):
    """A family with a filter of its own over whole sequences."""

    def feed(self, values, hypers, inputs, lengths, engine):
        return Feed(inputs / 2)


def test_a_family_without_a_step_is_refused():
    rows = rows_of(Setup(family=Halved(hidden=4)))
    with pytest.raises(ConfigError, match="Halved filters whole sequences"):
        LoopMap(rows.program.family, rows.values, rows.hypers)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_spectral_norms_are_the_largest_singular_values(dtype, tolerance):
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(40, 21, 21, generator=rng, dtype=torch.float64)
    x = x * torch.logspace(-12, 12, 40, dtype=torch.float64)[:, None, None]
    true = torch.linalg.matrix_norm(x, ord=2)
    found = spectral_norms(x.to(dtype)).double()
    # two values that nearly tie: between them
    assert bool((found <= true * (1 + tolerance)).all())
    assert bool((found >= true * 21 ** (-1 / 1000)).all())
    values = torch.linalg.svdvals(x)
    apart = values[:, 1] < 0.98 * values[:, 0]
    assert int(apart.sum()) > 10
    torch.testing.assert_close(found[apart], true[apart], rtol=tolerance, atol=0)


def test_spectral_norms_of_what_has_none():
    x = torch.zeros(4, 5, 5, dtype=torch.float64)
    x[1] = 2 * torch.eye(5, dtype=torch.float64)  # all tie
    x[2, 0, 0], x[3, 4, 2] = torch.nan, -3.0
    found = spectral_norms(x)
    assert found[[0, 1, 3]].tolist() == [0, 2, 3]
    assert not bool(torch.isfinite(found[2]))
    assert torch.equal(spectral_norms(x[1:2]), found[1:2])
