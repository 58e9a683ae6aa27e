"""SnAp against a plain masked recursion of hand-written steps, whose pattern is that of their own Jacobians."""

from __future__ import annotations

import warnings

import pytest
import torch

from rnnsweep.app.config.load import load
from rnnsweep.core.families.indrnn import IndRnn
from rnnsweep.core.families.sbo import Sbo
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.learners.influence import Whole, collected
from rnnsweep.core.learners.narrow import Narrow, plan_of
from rnnsweep.core.learners.rtrl import Rtrl
from rnnsweep.core.learners.snap import Snap, reached
from rnnsweep.core.recurrence.local import LocalSteps
from rnnsweep.core.recurrence.reach import reach_of
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.errors import ConfigWarning
from tests.kit import forward_rules
from tests.kit.networks import Setup, context_of

LAST, EVERY = TemporalOrder(length=(10, 14)), Copying(length=3)


def pack_of(family, learner, task=LAST, sparse: bool = False):
    setup = Setup(family=family, task=task, learner=learner, controllers={}, batch=2, sigma=0.5)
    pack = setup.pack([0, 1], **({"family__leak": family.leak} if family.leaky else {}))
    if sparse:
        w = pack.program.layout.view(pack.params)["w_rec"]
        # A ring in one row: a unit hears of its neighbour only; the other row keeps all but one entry.
        w[0] *= torch.eye(len(w[0])).roll(1, 1).repeat(1, w.shape[2] // w.shape[1]).to(w)
        w[1, 0, 2] = 0
    return pack


def pattern(step, w, states: int, inputs: int, order: int) -> torch.Tensor:
    """Where J can be other than 0 after so many steps: of Jacobians at points in general position."""
    generator = torch.Generator().manual_seed(3)
    i, d = False, False
    for _ in range(16):
        s, u = (torch.randn(n, generator=generator).double() for n in (states, inputs))
        now = forward_rules.jacobians(step, w, s, u)
        i, d = i | (now.i != 0), d | (now.d != 0)
    mask = i
    for _ in range(order - 1):
        mask = i | ((d.double() @ mask.double()) > 0)
    return mask


@pytest.mark.parametrize("name", forward_rules.FAMILIES)
def test_order_1_is_the_masked_recursion(name):
    family, step = forward_rules.FAMILIES[name]
    check(family, step, EVERY if name in ("leaky", "lstm") else LAST, 1, sparse=False)


@pytest.mark.parametrize(("name", "order"), [("tanh", 2), ("tanh", 3), ("leaky", 2), ("lstm", 2)])
def test_further_orders_follow_the_zeros_of_the_matrix(name, order):
    family, step = forward_rules.FAMILIES[name]
    check(family, step, LAST, order, sparse=True)


def check(family, step, task, order: int, *, sparse: bool) -> None:
    context = context_of(pack_of(family, Snap(order=order), task, sparse))[1]
    exact = context_of(pack_of(family, Rtrl(), task, sparse))[1].gradients
    found = context.layout.view(context.gradients)
    for row in range(2):
        states, inputs = context.trace.record.h.shape[-1], context.batch.inputs.shape[-1]
        mask = pattern(step, forward_rules.weights_of(context, row), states, inputs, order)

        def carry(j, now, mask=mask):
            return now.i * mask if j is None else (now.d @ j + now.i) * mask

        for key, value in forward_rules.gradient(context, row, step, carry).items():
            torch.testing.assert_close(found[key][row], value, rtol=1e-10, atol=1e-13, msg=key)
    # The ring's first row is an approximation; so is order 1 in every row.
    assert not torch.allclose(context.gradients[0], exact[0], rtol=1e-3)


@pytest.mark.parametrize("name", ["tanh", "oplu", "lstm", "gru"])
def test_order_2_of_a_dense_matrix_is_rtrl(name):
    family, _ = forward_rules.FAMILIES[name]
    found, exact = (context_of(pack_of(family, rule))[1].gradients for rule in (Snap(order=2), Rtrl()))
    assert torch.equal(found, exact)


def test_units_that_see_themselves_only_have_nothing_beyond_order_1():
    found, exact = (context_of(pack_of(IndRnn(6), rule))[1].gradients for rule in (Snap(), Bptt()))
    torch.testing.assert_close(found, exact, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", forward_rules.FAMILIES)
def test_the_narrow_form_is_the_masked_matrix(name):
    family, _ = forward_rules.FAMILIES[name]
    pack = pack_of(family, Snap())
    context = context_of(pack)[1]
    record, direct = context.trace.record, context.trace.direct
    steps = LocalSteps(record, pack.program.activation, family.cell, trained_start=False)
    reach = reach_of(steps)
    plan = plan_of(reach, steps.sources)
    assert plan is not None, "few entries per weight"
    mask = reached(reach.of_sources(steps.sources), reach, record.weights.w_rec, 1)
    narrow, whole = (collected(steps, direct, each) for each in (Narrow(steps, plan), Whole(steps, mask)))
    torch.testing.assert_close(narrow, whole, rtol=1e-11, atol=1e-14)


def test_a_cell_whose_units_are_not_apart_takes_the_whole_matrix():
    context = context_of(pack_of(Sbo(6), Snap()))[1]
    steps = LocalSteps(context.trace.record, context.activation, context.family.cell, trained_start=False)
    assert plan_of(reach_of(steps), steps.sources) is None
    assert torch.isfinite(context.gradients).all()


@pytest.mark.parametrize(
    ("order", "family", "warned"), [(2, "srn", True), (1, "srn", False), (2, "gru", True), (1, "indrnn", True)]
)
def test_a_config_is_warned_where_it_is_rtrl(order, family, warned):
    typed = ["name=t", "learner=snap", f"learner.order={order}", f"family={family}", "family.hidden=6"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load(None, typed)
    lines = [str(each.message) for each in caught if each.category is ConfigWarning]
    assert any("learner=rtrl" in line for line in lines) == warned, lines


def test_the_mask_of_a_ring_grows_by_one_unit_per_order():
    """Unit j feeds unit j + 1 only: a weight into unit 0 arrives at units 0..n-1 within n steps."""
    context = context_of(pack_of(Srn(6), Snap(), sparse=True))[1]
    steps = LocalSteps(context.trace.record, context.activation, None, trained_start=False)
    reach, w = reach_of(steps), context.values["w_rec"]
    first = reach.of_sources(steps.sources)
    for order in range(1, 7):
        assert reached(first, reach, w, order)[0, :, 0].nonzero().flatten().tolist() == list(range(order))
