"""Omega in the fused backward loop: against docs/maths.md#omega over whole tensors, and row by row to the bit."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch

from rnnsweep.core.recurrence.base import NormRatio, TermResult
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from tests.contract.test_engines import F64, Case

FORMS = [NormRatio(squared, mean, 1e-20) for squared, mean in product((True, False), repeat=2)]
SHAPES = [(3, 7, 4, 6, 2), (2, 25, 10, 9, 1), (2, 5, 1, 16, 2), (2, 6, 97, 5, 2)]  # the last: blocks of one step


@pytest.fixture(scope="module")
def engine() -> CpuEngine:
    found = CpuEngine(threads=1)
    case = Case()
    reason = found.refuses(case.act, F64)
    if reason:
        pytest.skip(f"engine cpu: {reason}")
    return found


def fused(engine: CpuEngine, case: Case, form: NormRatio, rows=None, keep=False):
    record = engine.forward(case.inputs, case.weights, case.act, case.lengths)
    rows = torch.ones(len(case.inputs), dtype=torch.bool) if rows is None else rows
    return engine.backward_with(record, case.direct, case.act, form, rows, keep=keep)


def written_out(engine: CpuEngine, case: Case, form: NormRatio) -> TermResult:
    """Value, active share and the immediate gradient, by autograd on the trailing matrix alone."""
    trace = case.run(engine)[1]
    own = (torch.arange(case.T) >= (case.T - case.lengths)[:, None])[..., None]
    g, delta = trace.totals(), trace.delta
    w = case.weights.w_rec.clone().requires_grad_()
    x = torch.einsum("ptbj,pij->ptbi", delta, w)
    if case.weights.leak is not None:
        x = x + (1 - case.weights.leak)[:, None, None, None] * g
    below = g.square().sum(-1)
    active = (below >= form.bound) & own
    ratio = x.square().sum(-1) / torch.where(active, below, torch.ones_like(below))
    term = (ratio - 1).square() if form.squared else (torch.where(active, ratio, 1.0).sqrt() - 1).square()
    total = torch.where(active, term, torch.zeros_like(term)).sum((1, 2)) / case.B
    share = active.double().sum((1, 2)) / case.B
    value = total / torch.where(share > 0, share, torch.ones_like(share)) if form.mean else total
    (gradient,) = torch.autograd.grad(value.sum(), w)
    return TermResult(value.detach(), share / case.lengths, gradient)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("leak", "steps"), [(False, False), (True, False), (False, True), (True, True)])
def test_value_share_and_gradient(engine, form, shape, leak, steps):
    case = Case(shape=shape, leak=leak, steps=steps)
    want, found = written_out(engine, case, form), fused(engine, case, form)[2]
    for name in ("value", "share", "w_rec"):
        torch.testing.assert_close(getattr(found, name), getattr(want, name), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("keep", [True, False])
def test_the_plain_gradients_are_the_same_to_the_bit(engine, shape, keep):
    case = Case(shape=shape, dtype=torch.float32, steps=True)
    record = engine.forward(case.inputs, case.weights, case.act, case.lengths)
    want, trace = engine.backward(record, case.direct, case.act)
    found, kept, term = fused(engine, case, FORMS[0], keep=keep)
    for name in ("w_rec", "w_in", "bias", "h0"):
        assert torch.equal(getattr(found, name), getattr(want, name)), name
    assert (kept is not None) == keep
    if kept is not None and trace is not None:
        assert torch.equal(kept.delta, trace.delta)
        assert torch.equal(kept.x, trace.x)
    again = fused(engine, case, FORMS[0], keep=not keep)[2]
    assert torch.equal(term.w_rec, again.w_rec)
    assert torch.equal(term.value, again.value)


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_are_alone_to_the_bit_beside_a_broken_row(threads):
    engine = CpuEngine(threads)
    case = Case(shape=(5, 12, 10, 20, 3), dtype=torch.float32)
    broken = case.rows(torch.arange(5))
    broken.weights = replace(case.weights, w_rec=case.weights.w_rec.clone())
    broken.weights.w_rec[2] = torch.nan
    whole = fused(engine, broken, FORMS[1])[2]
    assert bool(torch.isnan(fused(engine, broken, FORMS[1])[0].w_rec[2]).all())
    for p in (0, 1, 3, 4):
        alone = fused(engine, case.rows([p]), FORMS[1])[2]
        for name in ("value", "share", "w_rec"):
            assert torch.equal(getattr(whole, name)[p], getattr(alone, name)[0]), (p, name)


def test_rows_that_do_not_want_it_cost_nothing_and_get_zero(engine):
    case = Case()
    found = fused(engine, case, FORMS[0], rows=torch.tensor([True, False, True]))[2]
    want = fused(engine, case, FORMS[0])[2]
    assert torch.equal(found.w_rec[[0, 2]], want.w_rec[[0, 2]])
    assert not bool(found.w_rec[1].any())
    assert float(found.value[1]) == float(found.share[1]) == 0.0


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_nothing_active_gives_zero_and_no_nan(engine, form):
    case = Case()
    found = fused(engine, case, replace(form, bound=1e30))[2]
    assert not bool(found.w_rec.any() | found.value.any() | found.share.any())
    case.direct = replace(case.direct, last=torch.zeros_like(case.direct.last))
    assert not bool(fused(engine, case, form)[2].w_rec.any())
