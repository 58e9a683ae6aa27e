"""Omega and sampling on steps of users' own, against finite differences of one step's Jacobian."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from rnnsweep.core.controllers.base import Tally
from rnnsweep.core.controllers.omega import Omega, full_gradient
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.families.base import Family
from rnnsweep.core.families.own import family_of
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.tile import learn
from rnnsweep.core.types import LoopGradients, Wanted
from tests.core.families.test_own import FAMILIES, stepped
from tests.kit.networks import Setup, context_of
from tests.kit.own_cells import linear


def context(family: Family, sigma: float = 0.5):
    setup = Setup(family=family, task=TemporalOrder(length=(10, 14)), controllers={}, batch=3, sigma=sigma)
    return context_of(setup.pack([0, 1]))


def handed_back(family, context, row: int, values: dict) -> torch.Tensor:
    """x_t of all own steps with other parameters: states and errors are those of the trace."""
    record, g = context.trace.record, context.trace.totals()
    hypers = context.family_hypers
    weights = family.weights(
        {name: value[None] for name, value in values.items()}, {k: v[row : row + 1] for k, v in hypers.items()}
    )
    step = family.cell.row(0, record.inputs[row : row + 1], weights.cell)
    T = g.shape[1]
    back = []
    for t in range(T - int(record.lengths[row]), T):
        pull = torch.func.vjp(partial(step, weights.w_rec[0, 0], record.inputs[row, t]), record.h[row, t])[1]
        back.append(pull(g[row, t])[0])
    return torch.stack(back)


@pytest.mark.parametrize("name", ["lstm", "gru", "mixed", "function"])
@pytest.mark.parametrize("form", ["ratio_sq", "ratio"])
def test_the_immediate_gradient_is_that_of_the_norms_with_states_and_errors_constant(name, form):
    family = FAMILIES[name]()
    _, at = context(family)
    omega = Omega(weight=1.0, form=form)
    total = omega._from_trace(at.passes[-1])
    ours = family.pullback(at.values, at.family_hypers, LoopGradients(total.w_rec))
    for row in range(2):
        g = at.trace.totals()[row][-int(at.batch.lengths[row]) :]

        def value(named, row=row, g=g):
            x = handed_back(family, at, row, named)
            ratio = x.square().sum(-1) / g.square().sum(-1)
            active = (g.square().sum(-1) >= omega.bound).double()
            bracket = ratio - 1 if form == "ratio_sq" else ratio.sqrt() - 1
            return (bracket.square() * active).sum() / active.sum()

        named = {key: part[row].clone() for key, part in at.values.items()}
        torch.testing.assert_close(value(named), total.value[row], rtol=1e-12, atol=0)
        generator = torch.Generator().manual_seed(row)
        for key in ours:
            way = torch.randn(named[key].shape, generator=generator).double()
            eps = 1e-6
            high, low = ({**named, key: named[key] + sign * eps * way} for sign in (1, -1))
            slope = (value(high) - value(low)) / (2 * eps)
            torch.testing.assert_close((ours[key][row] * way).sum(), slope, rtol=1e-5, atol=1e-7, msg=key)


def test_of_a_linear_step_it_is_the_papers():
    """Where f' = 1 nothing but the trailing W_rec is left: the simple network's own Omega, to rounding."""
    shapes = {"w": ["hidden", "hidden"], "v": ["inputs", "hidden"], "b": ["hidden"]}
    own, simple = family_of(linear)(hidden=6, shapes=shapes), Srn(hidden=6, activation="identity")
    _, first = context(own)
    _, second = context(simple)
    for ours, theirs in (("cell_w", "w_rec"), ("cell_v", "w_in"), ("cell_b", "b"), ("w_out", "w_out")):
        first.values[ours].copy_(second.values[theirs])
    setup = Setup(family=own, task=TemporalOrder(length=(10, 14)), controllers={}, batch=3)
    pack = setup.pack([0, 1])
    named = {"cell_w": "w_rec", "cell_v": "w_in", "cell_b": "b", "w_out": "w_out", "b_out": "b_out"}
    for ours, theirs in named.items():
        pack.program.layout.view(pack.params)[ours].copy_(second.values[theirs])
    _, first = context_of(pack)
    mine, papers = Omega(weight=1.0)._from_trace(first.passes[-1]), Omega(weight=1.0)._from_trace(second.passes[-1])
    torch.testing.assert_close(mine.value, papers.value, rtol=1e-10, atol=0)
    gradient = own.pullback(first.values, {}, LoopGradients(mine.w_rec))
    torch.testing.assert_close(gradient["cell_w"], papers.w_rec, rtol=1e-10, atol=1e-14)
    assert not gradient["cell_v"].any()


@pytest.mark.parametrize("name", ["lstm", "gru", "mixed", "function"])
def test_q_and_ds_are_those_of_the_errors_handed_back(name):
    family = FAMILIES[name]()
    _, at = context(family)
    generator = torch.Generator().manual_seed(3)
    step = {key: torch.randn(part.shape, generator=generator).double() for key, part in at.values.items()}
    change = family.recurrent_step(at.values, at.family_hypers, step)
    back = at.batch.lengths - 1
    tangent = at.engine.tangent(at.trace, change, back, at.activation)
    q, sign, log_ds, _ = Sampling().measures(at.trace.delta[:, -1], tangent)
    for row in range(2):
        T, h = at.trace.x.shape[1], int(back[row])
        record = at.trace.record

        def first(shift, row=row, h=h, T=T, record=record):
            named = {key: (part[row] + shift * step[key][row])[None] for key, part in at.values.items()}
            weights = family.weights(named, {k: v[row : row + 1] for k, v in at.family_hypers.items()})
            step_ = family.cell.row(0, record.inputs[row : row + 1], weights.cell)
            g = at.trace.totals()[row, -1]
            for t in range(T - 1, T - 1 - h, -1):
                g = torch.func.vjp(partial(step_, weights.w_rec[0, 0], record.inputs[row, t]), record.h[row, t])[1](g)[
                    0
                ]
            return g

        g, last = first(0.0), at.trace.totals()[row, -1]
        wanted = (last.norm(dim=-1).mean() / g.norm(dim=-1).mean()).log10()
        torch.testing.assert_close(q[row], wanted, rtol=1e-10, atol=1e-12)
        ds = (0.5 * first(1e-6).square().sum() - 0.5 * first(-1e-6).square().sum()) / 2e-6
        assert sign[row] == ds.sign()
        torch.testing.assert_close(log_ds[row], ds.abs().log10(), rtol=1e-4, atol=1e-4)


def test_the_constant_of_a_function_is_none_of_its_parameters():
    family = stepped()
    assert "rate" in family.rows
    assert {spec.name for spec in family.parameters(3, 2)} == {"cell_w", "cell_v", "cell_b", "w_out", "b_out"}


@pytest.mark.parametrize("name", ["lstm", "mixed", "function"])
@pytest.mark.parametrize("form", ["ratio_sq", "ratio"])
def test_the_full_gradient_is_the_derivative_of_a_rerun(name, form):
    family = FAMILIES[name]()
    setup = Setup(family=family, task=TemporalOrder(length=(10, 14)), controllers={}, batch=3)
    omega = Omega(weight=1.0, form=form, gradient="full")
    tile, at = context_of(setup.pack([0, 1]))
    named = full_gradient(omega, at)
    generator = torch.Generator().manual_seed(5)
    way = {key: torch.randn(part.shape, generator=generator).double() for key, part in at.values.items()}
    params, values = at.params.clone(), []
    for sign in (1, -1):
        tile.params.copy_(
            at.layout.flatten({k: v + sign * 1e-6 * way[k] for k, v in at.values.items()}, params.clone())
        )
        _, moved = learn(tile, Tally(), Wanted(trace=True))
        values.append(omega.norms(moved.passes[-1]).value)
        tile.params.copy_(params)
    ours = sum((named[key] * way[key]).flatten(1).sum(1) for key in named)
    torch.testing.assert_close(ours, (values[0] - values[1]) / 2e-6, rtol=1e-4, atol=1e-7)
