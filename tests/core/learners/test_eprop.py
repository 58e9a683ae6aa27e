"""E-prop against a plain recursion of traces with hand-written steps; of simple cells it is RFLO."""

from __future__ import annotations

import math

import pytest
import torch

from rnnsweep.core import readout, rng
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.mingru import MinGru
from rnnsweep.core.families.rate import Rate
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.learners.eprop import Eprop
from rnnsweep.core.learners.rflo import Rflo
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from tests.kit import forward_rules
from tests.kit.networks import Setup, context_of

LAST, EVERY = TemporalOrder(length=(10, 14)), Copying(length=3)


def pack_of(family, learner, task=LAST, engine: str = "reference"):
    setup = Setup(family=family, task=task, learner=learner, controllers={}, batch=2, sigma=0.5, engine=engine)
    return setup.pack([0, 1], **({"family__leak": family.leak} if family.leaky else {}))


def errors_of(context) -> torch.Tensor:
    """dC/dy_t by autograd, [P, T, B, O]."""
    visible, values = context.family.visible(context.trace.record.h)[:, 1:], context.values
    shift = torch.zeros(*visible.shape[:3], values["w_out"].shape[2], dtype=torch.float64, requires_grad=True)
    eye = torch.eye(shift.shape[-1]).double().expand(len(visible), -1, -1)
    wide = {"w_out": torch.cat((values["w_out"], eye), 1), "b_out": values["b_out"]}
    loss = readout.loss(context.task, wide, torch.cat((visible, shift), -1), context.batch)
    return torch.autograd.grad(loss.sum(), shift)[0]


@pytest.mark.parametrize(("align", "task"), [("symmetric", LAST), ("random", EVERY)], ids=["last", "every"])
@pytest.mark.parametrize("name", ["leaky", "oplu", "lstm", "gru", "cornn"])
def test_it_is_the_recursion_of_traces(name, align, task):
    family, step = forward_rules.FAMILIES[name]
    tile, context = context_of(pack_of(family, Eprop(align=align), task))
    found, w_out = context.layout.view(context.gradients), context.values["w_out"]
    back = w_out.transpose(1, 2)
    if align == "random":
        shape = w_out.shape[2], w_out.shape[1]
        drawn = rng.normals(tile.keys["learner"], math.prod(shape), rng.stream_of("feedback"))
        back = drawn.unflatten(1, shape) / math.sqrt(shape[0])
    sent = torch.einsum("ptbo,poh->ptbh", errors_of(context), back)
    for row in range(2):
        want = forward_rules.gradient(
            context, row, step, lambda j, now: now.i if j is None else now.local @ j + now.i, sent
        )
        for key, value in want.items():
            torch.testing.assert_close(found[key][row], value, rtol=1e-10, atol=1e-13, msg=key)


@pytest.mark.parametrize("align", ["symmetric", "random"])
@pytest.mark.parametrize("family", [Srn(6), Srn(6, "oplu", leak=0.4), Rate(6)], ids=["srn", "oplu", "rate"])
def test_of_simple_cells_it_is_rflo(family, align):
    found, want = (context_of(pack_of(family, rule(align=align)))[1].gradients for rule in (Eprop, Rflo))
    assert torch.equal(found, want)


@pytest.mark.parametrize("family", [Lstm(6), Gru(6)])
def test_fused_loops_give_the_same(family):
    found, want = (context_of(pack_of(family, Eprop(), engine=engine))[1] for engine in ("cpu", "reference"))
    torch.testing.assert_close(found.gradients, want.gradients, rtol=1e-11, atol=1e-14)
    assert torch.isfinite(found.trace.x).all()


def test_without_a_recurrent_matrix_it_is_exact():
    found, want = (context_of(pack_of(MinGru(6), rule))[1].gradients for rule in (Eprop(), Bptt()))
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-15)
