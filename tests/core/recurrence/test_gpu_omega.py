"""Omega beside the gpu engine's backward loop: against autograd, and row by row to the bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rnnsweep.core.recurrence.base import BackwardTerm, NormRatio
from rnnsweep.core.recurrence.reference import ReferenceEngine
from tests.contract import test_sequence_lengths as lengths
from tests.contract.test_engines import Case
from tests.core.recurrence.test_cpu_omega import FORMS, fused, written_out

SHAPES = [(3, 7, 4, 6, 2), (2, 5, 1, 16, 2), (2, 3, 17, 40, 2)]  # the last: two batch tiles
PARTS = ("value", "share", "w_rec")


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize(
    ("shape", "flags"),
    [
        (SHAPES[0], {}),
        (SHAPES[0], {"leak": True, "steps": True}),
        (SHAPES[1], {"steps": True}),
        (SHAPES[2], {"leak": True}),
    ],
)
def test_value_share_and_gradient(gpu, form, shape, flags):
    case = Case(shape=shape, **flags)
    want, found = written_out(ReferenceEngine(), case, form), fused(gpu, case, form)[2]
    for name in PARTS:
        torch.testing.assert_close(getattr(found, name), getattr(want, name), rtol=1e-11, atol=1e-12)


def test_of_pairs_it_is_that_of_their_matrix(gpu):
    case = Case("oplu", (2, 4, 3, 6, 2))
    want = written_out(ReferenceEngine(), case, FORMS[0])
    found = fused(gpu, case, FORMS[0])[2]
    for name in PARTS:
        torch.testing.assert_close(getattr(found, name), getattr(want, name), rtol=1e-11, atol=1e-12)


def test_sequences_of_a_row_may_differ_in_length(gpu):
    """Each sample's own steps count: as many as its length, whatever its neighbours have."""
    case = lengths.differing(Case("tanh", (2, 5, 4, 6, 2), steps=True))
    found = fused(gpu, case, FORMS[1])[2]
    trace = case.run(ReferenceEngine())[1]
    own = torch.arange(case.T)[None, :, None] >= (case.T - case.lengths)[:, None]
    x, g = (v.square().sum(-1) for v in (trace.x, trace.totals()))
    term = torch.where(own, (x / g - 1).square(), 0.0)
    torch.testing.assert_close(found.value, term.sum((1, 2)) / case.B, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(found.share, torch.ones(case.P))


@pytest.mark.parametrize("keep", [True, False])
def test_the_plain_gradients_are_the_same_to_the_bit(gpu, keep):
    case = Case(shape=SHAPES[0], dtype=torch.float32, steps=True)
    record = gpu.forward(case.inputs, case.weights, case.act, case.lengths)
    want, trace = gpu.backward(record, case.direct, case.act)
    found, kept, _ = fused(gpu, case, FORMS[0], keep=keep)
    for name in ("w_rec", "w_in", "bias", "h0"):
        assert torch.equal(getattr(found, name), getattr(want, name)), name
    assert (kept is not None) == keep
    if kept is not None:
        assert torch.equal(kept.delta, trace.delta)
        assert torch.equal(kept.x, trace.x)


def test_rows_are_alone_to_the_bit_beside_a_broken_row(gpu):
    case = Case(shape=(3, 6, 5, 20, 3), dtype=torch.float32)
    broken = case.rows(torch.arange(3))
    broken.weights = replace(case.weights, w_rec=case.weights.w_rec.clone())
    broken.weights.w_rec[1] = torch.nan
    whole = fused(gpu, broken, FORMS[1])[2]
    for p in (0, 2):
        alone = fused(gpu, case.rows([p]), FORMS[1])[2]
        for name in PARTS:
            assert torch.equal(getattr(whole, name)[p], getattr(alone, name)[0]), (p, name)


def test_rows_that_do_not_want_it_get_zero_whatever_their_errors(gpu):
    case = Case()
    case.weights = replace(case.weights, w_rec=case.weights.w_rec.clone())
    case.weights.w_rec[1] = torch.inf
    found = fused(gpu, case, FORMS[0], rows=torch.tensor([True, False, True]))[2]
    want = fused(gpu, case, FORMS[0])[2]
    assert torch.equal(found.w_rec[[0, 2]], want.w_rec[[0, 2]])
    assert not bool(found.w_rec[1].any())
    assert float(found.value[1]) == float(found.share[1]) == 0.0


@pytest.mark.parametrize("form", FORMS[::2], ids=str)
def test_nothing_active_gives_zero_and_no_nan(gpu, form):
    case = Case()
    found = fused(gpu, case, replace(form, bound=1e30))[2]
    assert not bool(found.w_rec.any() | found.value.any() | found.share.any())
    case.direct = replace(case.direct, last=torch.zeros_like(case.direct.last))
    assert not bool(fused(gpu, case, form)[2].w_rec.any())


def test_it_takes_no_other_term(gpu):
    case, other = Case(), BackwardTerm()
    assert gpu.takes(NormRatio(True, True, 1e-20))
    assert not gpu.takes(other)
    with pytest.raises(TypeError, match="takes NormRatio along, not BackwardTerm"):
        fused(gpu, case, other)
